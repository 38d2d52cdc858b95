"""Personal taste as a step of a modular diffusers pipeline."""

from diffusers.modular_pipelines import (
    ComponentSpec,
    InputParam,
    ModularPipeline,
    ModularPipelineBlocks,
    OutputParam,
    PipelineState,
)
from PIL import Image
from torch import Tensor

from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor
from ..rewards.personal import PersonalReward
from ..rewards.pictures import to_pictures
from ..taste.groups import SharedTaste
from ..taste.profile import TasteProfile
from .base import SteeringError


__all__ = ["PamelaRankStep"]


class PamelaRankStep(ModularPipelineBlocks):
    """
    The last step of a modular pipeline that makes several pictures: it puts them in the order in which one person likes them.

    Components are `scorer`, a posterior model, and `scorer_processor`. Inputs are the pipeline's `images`, its `prompt`, and `profile`,
    without which the order is that of the population. Outputs are `images`, best first, and their `scores` and `stds` of shape `(n,)`.

    Raises:
        RewardError: The profile is another model's, or what the pipeline made are no pictures.
        SteeringError: There is not one prompt for all, or one for each picture or for equally many.

    Example:

    ```python
    blocks = StableDiffusionXLAutoBlocks()
    blocks.sub_blocks.insert("rank", PamelaRankStep(), len(blocks.sub_blocks))
    pipeline = blocks.init_pipeline("owner/model")
    pipeline.load_components()
    pipeline.update_components(scorer=model, scorer_processor=processor)
    best = pipeline(prompt="a lighthouse", num_images_per_prompt=8, profile=profile, output="images")[0]
    ```
    """

    @property
    def description(self) -> str:
        return "Step that puts pictures in the order in which one person likes them"

    @property
    def expected_components(self) -> list[ComponentSpec]:
        return [
            ComponentSpec("scorer", PamelaForPersonalizedScoring),
            ComponentSpec("scorer_processor", PamelaProcessor),
        ]

    @property
    def inputs(self) -> list[InputParam]:
        return [
            InputParam("images", type_hint=list[Image.Image], required=True, description="What the pipeline made."),
            InputParam("prompt", type_hint=str | list[str], description="What was asked for."),
            InputParam("profile", type_hint=TasteProfile | SharedTaste, description="Whose taste."),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [
            OutputParam("images", type_hint=list[Image.Image], description="Best first."),
            OutputParam("scores", type_hint=Tensor, description="Expected ratings, 0 to 1."),
            OutputParam("stds", type_hint=Tensor, description="How unsure the model is of each."),
        ]

    def __call__(self, components: ModularPipeline, state: PipelineState) -> tuple[ModularPipeline, PipelineState]:
        block_state = self.get_block_state(state)
        pictures = to_pictures(block_state.images)
        prompts = None
        if block_state.prompt is not None:
            asked = [block_state.prompt] if isinstance(block_state.prompt, str) else list(block_state.prompt)
            if not asked or len(pictures) % len(asked):
                raise SteeringError(
                    f"There are {len(asked)} prompts for {len(pictures)} pictures; expected equally many pictures of each."
                )
            # Pictures of one prompt follow each other.
            prompts = [prompt for prompt in asked for _ in range(len(pictures) // len(asked))]
        reward = PersonalReward(components.scorer, components.scorer_processor)
        mean, std = reward(pictures, prompts, block_state.profile)
        order = mean.argsort(descending=True, stable=True)
        block_state.images = [pictures[row] for row in order.tolist()]
        block_state.scores, block_state.stds = mean[order], None if std is None else std[order]
        self.set_block_state(state, block_state)
        return components, state
