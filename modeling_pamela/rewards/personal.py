"""The reward of a PAMELA model: what one person will like."""

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor, to_rgb
from ..taste.groups import SharedTaste
from ..taste.profile import TasteProfile
from .base import Person, RewardError, RewardScores


__all__ = ["PersonalReward"]


class PersonalReward:
    """
    A [`~modeling_pamela.rewards.base.Reward`] from a PAMELA model.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        processor ([`PamelaProcessor`]): Its processor.
        people (`Mapping[str, TasteProfile]`, *optional*): The people who can be asked for by their user id.
        batch_size (`int`): Pictures a forward pass of the encoder.
    """

    name = "pamela"
    score_range = (0.0, 1.0)
    higher_is_better = True
    differentiable = False

    def __init__(
        self,
        model: PamelaForPersonalizedScoring,
        processor: PamelaProcessor,
        people: Mapping[str, TasteProfile | SharedTaste] | None = None,
        batch_size: int = 16,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.people = people or {}
        self.batch_size = batch_size

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image], prompts: Sequence[str | None] | None = None) -> dict[str, Tensor]:
        """
        Frozen embeddings of n pictures and their prompts, each distinct one encoded once.

        Returns:
            `dict`: `image_embeds` and, with prompts, `text_embeds`, of n rows each.
        """
        first_row = {id(image): row for row, image in reversed(list(enumerate(images)))}
        distinct = sorted(first_row.values())
        encoded = []
        for start in range(0, len(distinct), self.batch_size):
            pictures = [to_rgb(images[row]) for row in distinct[start : start + self.batch_size]]
            encoded.append(self.model.get_image_embeds(**self.processor(images=pictures)))
        place = {row: at for at, row in enumerate(distinct)}
        embeds = {"image_embeds": torch.cat(encoded)[[place[first_row[id(image)]] for image in images]]}
        if prompts is not None:
            texts = list(dict.fromkeys(prompt or "" for prompt in prompts))
            found = self.model.get_text_embeds(**self.processor.tokenize(texts))
            embeds["text_embeds"] = found[[texts.index(prompt or "") for prompt in prompts]]
        return embeds

    def __call__(
        self,
        images: "Sequence[Image.Image] | Tensor",
        prompts: Sequence[str | None] | None = None,
        people: "Sequence[Person] | Person" = None,
    ) -> RewardScores:
        """See [`~modeling_pamela.rewards.base.Reward`]."""
        if isinstance(people, str | TasteProfile | SharedTaste | None):
            people = [people] * len(images)
        if len(people) != len(images) or (prompts is not None and len(prompts) != len(images)):
            raise RewardError(
                f"There are {len(images)} pictures, {len(people)} people and {'no' if prompts is None else len(prompts)} prompts; "
                "expected one of each a picture."
            )
        if isinstance(images, Tensor):
            raise RewardError("Pictures as a tensor are for the differentiable reward; expected PIL pictures.")
        return self.score_embeds(people, **self.embed(images, prompts))

    @torch.no_grad()
    def score_embeds(self, people: Sequence[Person], **embeds: Tensor) -> RewardScores:
        """Scores of n embedded pictures, each for one of n people."""
        rows_of: dict[int, list[int]] = {}
        for row, person in enumerate(people):
            rows_of.setdefault(id(self._taste(person)), []).append(row)
        mean = torch.empty(len(people), dtype=torch.float64)
        std = torch.empty_like(mean)
        for rows in rows_of.values():
            taste = self._taste(people[rows[0]])
            of_person = {name: values[rows] for name, values in embeds.items()}
            if taste is None:
                output = self.model(**of_person)
                found, spread = output.scores, output.std
            else:
                found, spread = taste.score(self.model, **of_person)
            mean[rows], std[rows] = found.double().cpu(), spread.double().cpu()
        return RewardScores(mean, std)

    def _taste(self, person: Person) -> TasteProfile | SharedTaste | None:
        if not isinstance(person, str):
            return person
        if person not in self.people:
            raise RewardError(
                f"There is no taste of a user {person!r}; the reward knows {len(self.people)} people. Fit a profile of theirs first."
            )
        return self.people[person]
