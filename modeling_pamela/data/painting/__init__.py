"""Generated pictures: scenes described by attributes, and the painter that draws them."""

from .scene import ATTRIBUTES, Scene, sample_scenes


__all__ = ["ATTRIBUTES", "Scene", "sample_scenes"]
