"""A stand-in for a generator: painted scenes, whose true worth to a simulated person is known."""

from collections.abc import Sequence

from PIL import Image

from ..data.painting import Scene
from .base import SteeringError


__all__ = ["SceneRenderer"]


class SceneRenderer:
    """
    A [`~modeling_pamela.steering.base.Renderer`] that paints. **It stands in for a text-to-image model and is none.**

    It knows the words of [`~modeling_pamela.data.painting.ATTRIBUTES`] and no others: 12 subjects, and ways to light, colour,
    see, compose and paint them. What a prompt does not say is drawn from the seed, so that more words mean more control, as
    with a real generator. It needs no weights and takes tens of milliseconds a picture on one core.

    Args:
        size (`tuple[int, int]`): Width and height of the pictures in pixels.

    Example:

    ```python
    >>> renderer = SceneRenderer((96, 72))
    >>> renderer.scene("a castle on a hill, warm light", seed=3).caption
    'A photograph of a castle on a hill in a storm in warm colours, seen from below, with the subject in the centre.'
    >>> renderer.render(["a castle on a hill, warm light"], [3])[0].size
    (96, 72)

    ```
    """

    def __init__(self, size: tuple[int, int] = (384, 288)) -> None:
        self.size = size

    def scene(self, prompt: str, seed: int) -> Scene:
        """What is painted of a prompt and a seed; a simulated person's true opinion of the picture is `rater.utility(scene)`."""
        return Scene.from_prompt(prompt, seed)

    def render(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        """See [`~modeling_pamela.steering.base.Renderer`]."""
        if len(prompts) != len(seeds):
            raise SteeringError(
                f"There are {len(prompts)} prompts and {len(seeds)} seeds; expected a seed for each prompt."
            )
        return [self.scene(prompt, seed).render(self.size) for prompt, seed in zip(prompts, seeds, strict=True)]
