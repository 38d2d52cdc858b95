"""Rewards: anything that scores pictures, for one person or for the average one, as steering, evaluation and trainers take it."""

__all__: list[str] = []
