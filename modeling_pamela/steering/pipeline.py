"""Steering as a diffusers pipeline: a text-to-image pipeline, a scorer and a proposer in one, saved and loaded as one."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from ..modeling_pamela import PamelaForPersonalizedScoring
from ..rewards.base import Person, Reward
from ..rewards.personal import PersonalReward, saved_people
from ..taste.groups import SharedTaste
from ..taste.profile import TasteProfile
from .base import Candidate, Proposer, SteeringError
from .defaults import check_prompt, content_for, guards_for, of_people
from .diffusers_renderer import DiffusersRenderer
from .guards import Guards
from .modifiers import ModifierProposer
from .search import SearchProgress, SearchSettings, search


__all__ = ["PamelaSteeringOutput", "PamelaSteeringPipeline"]

# Arguments of `from_pretrained` that say which files are meant, and where they come from.
_DOWNLOAD = {"revision", "token", "cache_dir", "force_download", "local_files_only", "proxies", "variant"}


@dataclass
class PamelaSteeringOutput(BaseOutput):
    """
    What a search found.

    Attributes:
        images (list of `PIL.Image.Image`, or `np.ndarray` `(n, H, W, 3)` or `torch.Tensor` `(n, 3, H, W)` in 0..1):
            The best pictures, at most `keep`, best first.
        prompt (`str`): Of the best picture.
        score (`float`): Its reward, larger is better.
        std (`float`, *optional*): How unsure the reward is of it.
        history (list of [`~modeling_pamela.steering.base.Candidate`]): Everything that was tried, in order.
    """

    images: list[Image.Image] | np.ndarray | Tensor
    prompt: str
    score: float
    std: float | None
    history: list[Candidate]


class PamelaSteeringPipeline(DiffusionPipeline):
    """
    Searches for the variant of a prompt whose picture one person likes best.

    What is saved is the inner pipeline and, where it is a model, the scorer with its processor. Rewards and proposers of other kinds
    are handed to `from_pretrained` again, and so are the tastes of people: they are personal data and do not travel along.

    Args:
        pipeline (`DiffusionPipeline`): Any text-to-image pipeline.
        scorer ([`PamelaForPersonalizedScoring`] or [`~modeling_pamela.rewards.base.Reward`]): Scores pictures for a person; a population
            reward steers towards what people like on average.
        processor ([`PamelaProcessor`], *optional*): Of a scorer that is a model.
        proposer ([`~modeling_pamela.steering.base.Proposer`], *optional*): Writes variants; by default a
            [`~modeling_pamela.steering.modifiers.ModifierProposer`].

    Raises:
        SteeringError: There is no scorer, or it is a model without a processor.

    Example:

    ```python
    from diffusers import AutoPipelineForText2Image
    from transformers import AutoModel, AutoProcessor

    inner = AutoPipelineForText2Image.from_pretrained("black-forest-labs/FLUX.2-dev", dtype=torch.bfloat16)
    steering = PamelaSteeringPipeline(inner, AutoModel.from_pretrained("runs/posterior"), AutoProcessor.from_pretrained("runs/posterior"))
    found = steering.to("cuda")("a lighthouse", profile=TasteProfile.from_pretrained("profiles/ann"), **paper_settings(inner))
    found.images[0], found.prompt, found.score, found.std
    ```
    """

    _optional_components = ["scorer", "processor", "proposer"]  # noqa: RUF012 (as diffusers has it)

    pipeline: DiffusionPipeline
    scorer: Any
    processor: Any
    proposer: Proposer | None

    def __init__(
        self, pipeline: DiffusionPipeline, scorer: Any = None, processor: Any = None, proposer: Any = None
    ) -> None:
        super().__init__()
        if scorer is None:
            raise SteeringError(
                "There is no scorer. Pass scorer=: a PAMELA model with its processor, or any reward. Rewards are not saved with a pipeline."
            )
        if isinstance(scorer, PamelaForPersonalizedScoring) and processor is None:
            raise SteeringError("The scorer is a model, which needs its processor: pass processor=.")
        self._reward: PersonalReward | None = None
        self.register_modules(pipeline=pipeline, scorer=scorer, processor=processor, proposer=proposer)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, *, dtype: torch.dtype | None = None, **kwargs: Any
    ) -> "PamelaSteeringPipeline":
        """
        Load what [`save_pretrained`] wrote: a folder or a Hub repo.

        Args:
            pretrained_model_name_or_path (`str` or `Path`): Folder or repo.
            dtype (`torch.dtype`, *optional*): Of the inner pipeline. The scorer keeps its precision, which saved profiles count on.
            kwargs: Components to use instead of saved ones, e.g. `proposer`, and what diffusers takes.

        Raises:
            SteeringError: The scorer was not saved, and none is given.
        """
        name = pretrained_model_name_or_path
        dtype = kwargs.pop("torch_dtype", dtype)  # as older code has it
        if dtype is not None and "pipeline" not in kwargs:
            folder = name
            if not Path(name).is_dir():
                folder = cls.download(name, **{key: value for key, value in kwargs.items() if key in _DOWNLOAD})
            kwargs["pipeline"] = DiffusionPipeline.from_pretrained(Path(folder) / "pipeline", dtype=dtype)
        return super().from_pretrained(name, **kwargs)

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, /, **components: Any) -> "PamelaSteeringPipeline":
        """
        A steering pipeline that shares the weights of another pipeline.

        Args:
            pipeline (`DiffusionPipeline`): A text-to-image pipeline, or a steering pipeline of which `components` replace some.
            components: As in the constructor.
        """
        given = pipeline.components if isinstance(pipeline, cls) else {"pipeline": pipeline}
        return cls(**{**given, **components})

    # Devices --------------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Of the inner pipeline."""
        return self.pipeline.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the inner pipeline."""
        return self.pipeline.dtype

    def to(self, *args: Any, **kwargs: Any) -> "PamelaSteeringPipeline":
        """
        Move the inner pipeline and the model of the scorer to a device; a reward that is neither a PAMELA model nor a module stays where it was made. A precision is the
        inner pipeline's: the scorer keeps its own, which saved profiles count on. Arguments as of any pipeline's `to`.
        """
        self.pipeline.to(*args, **kwargs)
        self._move_scorer(self.pipeline.device)
        return self

    def enable_model_cpu_offload(self, gpu_id: int | None = None, device: Any = None) -> None:
        """Offload the inner pipeline's models, one after the other. The scorer, small beside them, stays on the device."""
        self.pipeline.enable_model_cpu_offload(gpu_id, device)
        self._move_scorer(self.pipeline._execution_device)

    def enable_sequential_cpu_offload(self, gpu_id: int | None = None, device: Any = None) -> None:
        """Offload the inner pipeline layer by layer. The scorer, small beside it, stays on the device."""
        self.pipeline.enable_sequential_cpu_offload(gpu_id, device)
        self._move_scorer(self.pipeline._execution_device)

    def _move_scorer(self, device: torch.device) -> None:
        scorer, _ = of_people(self.scorer, None)
        model = scorer.model if isinstance(scorer, PersonalReward) else scorer
        if isinstance(model, torch.nn.Module):
            model.to(device)

    # The search -----------------------------------------------------------------------------------------------------

    @property
    def reward(self) -> Reward:
        """The scorer as a reward; that of a model knows the people who were saved with it."""
        if not isinstance(self.scorer, PamelaForPersonalizedScoring):
            return self.scorer
        if self._reward is None or self._reward.model is not self.scorer:
            # Asked for once: the people of a Hub repo are downloaded.
            people = saved_people(self.scorer.name_or_path, self.scorer)
            self._reward = PersonalReward(self.scorer, self.processor, people)
        return self._reward

    def check_inputs(
        self,
        prompt: str,
        profile: TasteProfile | SharedTaste | None,
        user_id: str | None,
        demographics: Mapping[str, Any] | None,
        output_type: str,
    ) -> None:
        """
        Raises:
            SteeringError: An input makes no sense.
        """
        if not isinstance(prompt, str):
            raise SteeringError(
                f"The prompt is a {type(prompt).__name__}; expected one text. Call it for each prompt."
            )
        check_prompt(prompt)
        if sum(given is not None for given in (profile, user_id, demographics)) > 1:
            raise SteeringError("profile, user_id and demographics exclude each other: one person is steered towards.")
        if demographics is not None:
            reward = self.reward
            if not isinstance(reward, PersonalReward) or reward.model.taste is None:
                raise SteeringError(f"The reward {reward.name} makes nothing of demographics; a posterior model does.")
        if output_type not in ("pil", "np", "pt"):
            raise SteeringError(f"output_type is {output_type!r}; expected 'pil', 'np' or 'pt'.")

    def __call__(
        self,
        prompt: str,
        *,
        profile: TasteProfile | SharedTaste | None = None,
        user_id: str | None = None,
        demographics: Mapping[str, Any] | None = None,
        num_candidates: int = 20,
        max_rounds: int = 5,
        patience: int = 2,
        keep: int = 1,
        history_size: int | None = None,
        max_renders: int | None = None,
        max_seconds: float | None = None,
        max_batch_size: int = 4,
        guards: Guards | None = None,
        generator: torch.Generator | None = None,
        run_dir: str | Path | None = None,
        callback_on_step_end: Callable[["PamelaSteeringPipeline", int, int, dict[str, Any]], object] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        **pipeline_kwargs: Any,
    ) -> PamelaSteeringOutput | tuple:
        """
        Args:
            prompt (`str`): What the person asks for.
            profile ([`TasteProfile`] or [`~modeling_pamela.taste.groups.SharedTaste`], *optional*): Their taste.
            user_id (`str`, *optional*): Instead, a person that the reward knows, or whose profile was saved with the model
                (`pamela train --save-profiles`).
            demographics (`Mapping`, *optional*): Instead, all that is known of them, e.g. `{"age": 26}`. With none of the three the
                search is for the population.
            num_candidates, max_rounds, patience, keep, history_size, max_renders, max_seconds: See
                [`~modeling_pamela.steering.search.SearchSettings`].
            max_batch_size (`int`): Pictures a call of the inner pipeline, at most; fewer where the memory does not suffice.
            guards ([`~modeling_pamela.steering.guards.Guards`], *optional*): What a variant must not do; by default everything that the
                scorer can measure is guarded.
            generator (`torch.Generator`, *optional*): Gives the one seed of all pictures and of the proposer; without one it is 0.
            run_dir (`str` or `Path`, *optional*): Pictures and history go there, and a search that was killed goes on there.
            callback_on_step_end (callable, *optional*): Called after every round with this pipeline, the round, the number of pictures so
                far, and `{"progress": SearchProgress}`.
            output_type (`str`): `"pil"`, `"np"` or `"pt"`.
            return_dict (`bool`): Whether to return a [`PamelaSteeringOutput`], or a tuple.
            pipeline_kwargs: Of the inner pipeline, e.g. `num_inference_steps`; see
                [`~modeling_pamela.steering.diffusers_renderer.paper_settings`].

        Raises:
            SteeringError: An input makes no sense, or the inner pipeline or the proposer fails.
            RewardError: The reward does not know the person, or the profile is another model's.
        """
        self.check_inputs(prompt, profile, user_id, demographics, output_type)
        seed = 0
        if generator is not None:
            seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
        person: Person = profile if user_id is None else user_id
        reward, person = of_people(self.reward, person)
        if demographics is not None and isinstance(reward, PersonalReward):
            person = reward.person_like(demographics)
        with self.progress_bar(total=max_rounds) as bar:

            def after_round(progress: SearchProgress) -> None:
                bar.set_postfix_str(f"best {progress.best.score:.3f}")
                bar.update(progress.round > 0)
                if callback_on_step_end is not None:
                    callback_on_step_end(self, progress.round, progress.renders, {"progress": progress})

            found = search(
                prompt,
                reward=reward,
                proposer=self.proposer or ModifierProposer(),
                renderer=DiffusersRenderer(self.pipeline, max_batch_size=max_batch_size, **pipeline_kwargs),
                person=person,
                settings=SearchSettings(
                    num_candidates=num_candidates,
                    keep=keep,
                    max_rounds=max_rounds,
                    patience=patience,
                    render_seed=seed,
                    seed=seed,
                    history_size=history_size,
                    max_renders=max_renders,
                    max_seconds=max_seconds,
                    batch_size=max_batch_size,
                ),
                guards=guards_for(reward) if guards is None else guards,
                content=content_for(reward),
                folder=run_dir,
                callback=after_round,
            )
        images: Any = found.images
        if output_type != "pil":
            images = VaeImageProcessor.pil_to_numpy(images)
            images = VaeImageProcessor.numpy_to_pt(images) if output_type == "pt" else images
        output = PamelaSteeringOutput(images, found.prompt, found.score, found.std, found.history)
        return output if return_dict else (images, found.prompt, found.score, found.std, found.history)
