"""Judging scorers on people: metrics, intervals, baselines, and the protocol that ties them together."""

__all__: list[str] = []
