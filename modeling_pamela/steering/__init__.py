"""Steering a text-to-image model towards one person: proposers, guards, the search, the diffusers pipeline."""

__all__: list[str] = []
