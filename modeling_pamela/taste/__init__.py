"""One person's taste: learned from ratings, or mixed from like-minded people as in the paper."""

__all__: list[str] = []
