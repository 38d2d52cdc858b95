"""What every search makes of its candidates: their pictures, what they are worth to people, and which of them a guard refuses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from torch import Tensor

from ..data.prompts import prompt_key
from ..rewards.base import Person, Reward, RewardScores
from ..rewards.content import ContentMeasure, kept_content
from ..rewards.pictures import to_pictures
from .base import NO_PICTURE, Candidate, Renderer, SteeringError
from .guards import Guards, colour_statistics


__all__ = ["Judge", "proposer_seed", "refuse_repeats", "refused_unseen", "render"]


def proposer_seed(*numbers: int) -> int:
    """The seed of a proposal, from that of the search, the round and whatever else tells it from others."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def render(renderer: Renderer, candidates: Sequence[Candidate], batch_size: int) -> dict[int, Image.Image]:
    """
    Pictures of candidates as 8-bit RGB, whatever the renderer gives, by the candidate's index; none of those held back.

    Raises:
        SteeringError: The renderer does not give a picture, or `None`, for each prompt.
        RewardError: What it gives is no picture.
    """
    images: dict[int, Image.Image] = {}
    for start in range(0, len(candidates), batch_size):
        batch = candidates[start : start + batch_size]
        made = renderer.render([one.prompt for one in batch], [one.seed for one in batch])
        if len(made) != len(batch):
            raise SteeringError(
                f"The renderer gave {len(made)} pictures for {len(batch)} prompts; expected one each, or None where it has none."
            )
        images |= {
            one.index: to_pictures([picture])[0]
            for one, picture in zip(batch, made, strict=True)
            if picture is not None
        }
    return images


def refused_unseen(candidate: Candidate) -> bool:
    """Whether it was refused before it was rendered."""
    return candidate.refused not in (None, NO_PICTURE) and candidate.score is None


def refuse_repeats(candidates: Sequence[Candidate], before: Sequence[Candidate]) -> list[Candidate]:
    """New candidates; those refused whose prompt was rendered before, or is that of an earlier one of them."""
    known = {prompt_key(one.prompt): one.index for one in before if not refused_unseen(one)}
    checked = []
    for one in candidates:
        key = prompt_key(one.prompt)
        if key in known:
            one = replace(one, refused=f"duplicate: the same as candidate {known[key]}")
        elif one.refused is None:
            known[key] = one.index
        checked.append(one)
    return checked


@dataclass(frozen=True)
class Judge:
    """
    Judges the candidates of one prompt.

    Attributes:
        prompt (`str`): What was asked for.
        reward ([`~modeling_pamela.rewards.base.Reward`]): What scores pictures.
        guards ([`~modeling_pamela.steering.guards.Guards`]): What candidates must not do.
        content ([`~modeling_pamela.rewards.content.ContentMeasure`], *optional*): What guards of content measure with.
    """

    prompt: str
    reward: Reward
    guards: Guards
    content: ContentMeasure | None

    def read(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Variants with how much of the content their prompts keep; those that lose it are refused."""
        if self.content is None:
            return list(candidates)
        kept = kept_content(self.content, self.prompt, [one.prompt for one in candidates])
        return [
            replace(one, guards={"content": value}, refused=self.guards.refuse_prompt(value))
            for one, value in zip(candidates, kept, strict=True)
        ]

    def told(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """The prompts that the reward is told."""
        return self.guards.told(self.prompt, [one.prompt for one in candidates])

    def score(
        self, candidates: Sequence[Candidate], images: Sequence[Image.Image], people: Sequence[Person]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Scores `(U, N)` of N pictures for U people, as in [`signed`]; every picture is encoded once."""
        asked = [person for person in people for _ in images]
        scores = self.reward([*images] * len(people), self.told(candidates) * len(people), asked)
        return self.signed(scores, (len(people), len(images)))

    def signed(self, scores: RewardScores, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | None]:
        """
        Scores of which more is better, and their std; it is NaN where the reward does not know it.

        Raises:
            SteeringError: A score is no number.
        """
        mean, std = (None if values is None else _rows(values, shape) for values in scores)
        if mean is None or not np.isfinite(mean).all():
            raise SteeringError(
                f"The reward {self.reward.name} gave a score that is no number; nothing can be chosen by it."
            )
        return mean if self.reward.higher_is_better else -mean, std

    def look(self, candidates: Sequence[Candidate], images: Sequence[Image.Image]) -> list[Candidate]:
        """Candidates with what their pictures show."""
        alignment = None if self.content is None else self.content.alignment(images, self.prompt)
        return [
            replace(
                one,
                guards={
                    **one.guards,
                    **colour_statistics(image),
                    **({} if alignment is None else {"alignment": float(alignment[row])}),
                },
            )
            for row, (one, image) in enumerate(zip(candidates, images, strict=True))
        ]

    def compare(
        self,
        candidates: Sequence[Candidate],
        first: Candidate | None,
        mean: np.ndarray,
        std: np.ndarray | None,
        population: np.ndarray | None,
    ) -> list[Candidate]:
        """
        One person's view of candidates that were looked at: with their scores, and refused where they are worse than the first
        picture in a way that a guard forbids.

        Args:
            first ([`Candidate`], *optional*): The person's own prompt; not given where it is what is judged.
            mean, std, population (`np.ndarray` of shape `(N,)`, *optional*): Scores for the person, and for the population.

        Raises:
            SteeringError: The population's score is guarded, and the reward's range has no width, or no end.
        """
        low, high = self.reward.score_range
        if population is not None:
            self.guards.check_width(high - low)
        judged = []
        for row, one in enumerate(candidates):
            one = replace(
                one,
                score=float(mean[row]),
                std=None if std is None or np.isnan(std[row]) else float(std[row]),
                population=None if population is None else float(population[row]),
            )
            if first is not None:
                drift = {f"{name}_drift": one.guards[name] - first.guards[name] for name in ("saturation", "contrast")}
                refused = self.guards.refuse_picture(first, one.population, one.guards.get("alignment"), high - low)
                one = replace(one, guards={**one.guards, **drift}, refused=refused)
            judged.append(one)
        return judged

    def best(self, candidates: Sequence[Candidate], num: int) -> list[Candidate]:
        """The best candidates, best first; the earlier of two that are equal."""
        values = [(self.guards.value(one), one) for one in candidates]
        found = sorted((-value, one.index, one) for value, one in values if value is not None)
        return [one for _, _, one in found[:num]]


def _rows(values: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    return values.detach().cpu().double().numpy().reshape(shape)
