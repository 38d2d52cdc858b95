"""Reading public data sets in the form in which they are published, and writing them in the standard form."""

__all__: list[str] = []
