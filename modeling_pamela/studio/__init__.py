"""Pages on this machine alone, for a person to rate pictures and to see what was learned."""

__all__: list[str] = []
