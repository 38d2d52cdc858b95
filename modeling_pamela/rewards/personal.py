"""The reward of a PAMELA model: what one person will like."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from PIL import Image
from torch import Tensor
from transformers import AutoModel, AutoProcessor

from ..checkpoints import checkpoint, checkpoint_names
from ..gaussian_taste import TastePosterior, predictive_variance
from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor, describe
from ..taste.groups import SharedTaste
from ..taste.profile import ProfileError, TasteProfile, profile_folder_name
from ..taste.store import TasteStore
from .base import Person, Reward, RewardError, RewardScores
from .pictures import to_pictures


__all__ = ["People", "PersonReward", "PersonalReward", "SavedProfiles", "saved_people"]

People: TypeAlias = Mapping[str, TasteProfile | SharedTaste] | TasteStore | Mapping[str, Tensor]


class PersonalReward:
    """
    A [`~modeling_pamela.rewards.base.Reward`] from a PAMELA model.

    Every distinct picture of a call is encoded once, and its features serve all people: the scores are one matrix product with their
    tastes.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model, or a token model. It computes where it stands.
        processor ([`PamelaProcessor`]): Its processor.
        people (*optional*): Who can be asked for by their user id: a mapping to profiles or shared tastes; a
            [`~modeling_pamela.taste.store.TasteStore`], whose people have no std (NaN); of a token model a mapping to user tokens
            `(hidden_size,)`.
        batch_size (`int`): Pictures a forward pass of the encoder.

    Example:

    ```python
    reward = PersonalReward.from_pretrained("owner/model")
    mean, std = reward(pictures, prompts, people=["ann", "bob", "ann"])
    ```
    """

    name = "pamela"
    score_range = (0.0, 1.0)
    higher_is_better = True
    differentiable = False

    def __init__(
        self,
        model: PamelaForPersonalizedScoring,
        processor: PamelaProcessor,
        people: People | None = None,
        batch_size: int = 16,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.people: Any = {} if people is None else people
        self.batch_size = batch_size
        if isinstance(people, TasteStore) and people.model_fingerprint != model.fingerprint():
            raise RewardError(
                f"The store {people.path} belongs to the model {people.model_fingerprint}, not to {model.fingerprint()}. Load the model it "
                "was made with."
            )

    @classmethod
    def from_pretrained(
        cls, name: str | Path, people: People | None = None, device: str = "cpu", batch_size: int = 16
    ) -> "PersonalReward":
        """
        Load a checkpoint, and the people who were saved with it (`pamela train --save-profiles`; of a token model its training people).

        Args:
            name (`str` or `Path`): Folder, name of a model of the package, or Hub repo.
            people (*optional*): Others instead.
            device (`str`): Where to compute.
            batch_size (`int`): Pictures a forward pass of the encoder.
        """
        if Path(name).is_dir():
            folder = Path(name)
        else:
            folder = checkpoint(str(name)) if str(name) in checkpoint_names() else Path(snapshot_download(str(name)))
        model = AutoModel.from_pretrained(folder).to(device)
        return cls(
            model,
            AutoProcessor.from_pretrained(folder),
            saved_people(folder, model) if people is None else people,
            batch_size,
        )

    def of(self, person: Person) -> "PersonReward":
        """This reward for one person, whoever is asked for; `None` is the population."""
        return PersonReward(self, person)

    @torch.no_grad()
    def person_like(self, demographics: Mapping[str, Any]) -> TasteProfile:
        """The taste that is expected of somebody of whom only demographics are known, e.g. `{"age": 26}`."""
        tokens = self.processor.tokenize([describe(demographics)], role="profile")
        return TasteProfile.prior(self.model, self.model.get_text_embeds(**tokens, role="profile"))

    @torch.no_grad()
    def embed(
        self, images: "Sequence[Image.Image] | Tensor", prompts: Sequence[str | None] | None = None
    ) -> dict[str, Tensor]:
        """
        Frozen embeddings of n pictures and their prompts, each distinct one encoded once.

        Returns:
            `dict`: `image_embeds` and, with prompts, `text_embeds`, of n rows each.

        Raises:
            RewardError: A picture is none, or there is not one prompt a picture.
        """
        self._check_lengths(len(images), prompts, [None] * len(images))
        pictures = to_pictures(images)
        first_row = {id(image): row for row, image in reversed(list(enumerate(pictures)))}
        distinct = sorted(first_row.values())
        encoded = []
        for start in range(0, len(distinct), self.batch_size):
            batch = [pictures[row] for row in distinct[start : start + self.batch_size]]
            encoded.append(self.model.get_image_embeds(**self.processor(images=batch)))
        place = {row: at for at, row in enumerate(distinct)}
        embeds = {"image_embeds": torch.cat(encoded)[[place[first_row[id(image)]] for image in pictures]]}
        return embeds | self._embed_prompts(prompts)

    def __call__(
        self,
        images: "Sequence[Image.Image] | Tensor",
        prompts: Sequence[str | None] | None = None,
        people: "Sequence[Person] | Person" = None,
    ) -> RewardScores:
        """See [`~modeling_pamela.rewards.base.Reward`]. A tensor of pictures is rounded to 8 bits first, as files are."""
        # Before the pictures are encoded, which takes long.
        tastes = self._check_inputs(len(images), prompts, people)
        images = to_pictures(images)
        asked = [None] * len(images) if prompts is None else [prompt or "" for prompt in prompts]
        keys = [(id(image), prompt) for image, prompt in zip(images, asked, strict=True)]
        first_row = {key: row for row, key in reversed(list(enumerate(keys)))}
        rows = sorted(first_row.values())
        embeds = self.embed([images[row] for row in rows], None if prompts is None else [asked[row] for row in rows])
        place = {row: at for at, row in enumerate(rows)}
        with torch.no_grad():
            return self._score(tastes, torch.tensor([place[first_row[key]] for key in keys]), embeds)

    @torch.no_grad()
    def score_embeds(self, people: Sequence[Person], **embeds: Tensor) -> RewardScores:
        """Scores of n embedded pictures, each for one of n people; errors as of a call."""
        tastes = self._check_inputs(len(next(iter(embeds.values()))), None, people)
        return self._score(tastes, torch.arange(len(people)), embeds)

    # Inside ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _embed_prompts(self, prompts: Sequence[str | None] | None) -> dict[str, Tensor]:
        if prompts is None:
            return {}
        texts = {text: at for at, text in enumerate(dict.fromkeys(prompt or "" for prompt in prompts))}
        found = self.model.get_text_embeds(**self.processor.tokenize(list(texts)))
        return {"text_embeds": found[[texts[prompt or ""] for prompt in prompts]]}

    def _check_inputs(
        self, number: int, prompts: Sequence[str | None] | None, people: "Sequence[Person] | Person"
    ) -> "_Tastes":
        """The tastes of those for whom `number` pictures are to be scored."""
        if isinstance(people, str | TasteProfile | SharedTaste | None):
            people = [people] * number
        self._check_lengths(number, prompts, people)
        return self._tastes(people)

    def _score(self, tastes: "_Tastes", picture: Tensor, embeds: Mapping[str, Tensor]) -> RewardScores:
        embeds = {name: rows.to(self.model.device) for name, rows in embeds.items()}
        if self.model.taste is None:
            return RewardScores(self._token_scores(tastes, picture, embeds))
        # Tastes live on the CPU in double precision, which not every device has.
        features = self._features(embeds).cpu().double()
        means = torch.stack([taste.mean for taste in tastes.distinct])
        units = torch.tensor([taste.units for taste in tastes.distinct], dtype=torch.float64)
        offset, scale = units[tastes.person].unbind(-1)
        mean = offset + scale * (features @ means.mT)[picture, tastes.person]
        std = torch.full_like(mean, torch.nan)
        for number, taste in enumerate(tastes.distinct):
            rows = (tastes.person == number).nonzero().squeeze(1)
            if taste.posterior is not None:
                std[rows] = predictive_variance(taste.posterior, features[picture[rows]]).sqrt()
        return RewardScores(mean, scale * std)

    def _features(self, embeds: Mapping[str, Tensor]) -> Tensor:
        return self.model.get_taste_features(**embeds)

    def _token_scores(self, tastes: "_Tastes", picture: Tensor, embeds: Mapping[str, Tensor]) -> Tensor:
        """Every row is fused with its person's token; those of the population have none."""
        scores = torch.empty(len(picture), dtype=torch.float64)
        known = torch.tensor([taste.mean is not None for taste in tastes.distinct])
        for rows, is_known in ((known[tastes.person], True), (~known[tastes.person], False)):
            if rows.any():
                device = self.model.device
                people: dict[str, Tensor] = {}
                if is_known:
                    tokens = torch.stack([taste.mean for taste in tastes.distinct if taste.mean is not None])
                    number = known.cumsum(0) - 1
                    people = {"taste": tokens.to(device), "user_index": number[tastes.person[rows]].to(device)}
                output = self.model(**embeds, **people, picture_index=picture[rows].to(device))
                scores[rows] = output.scores.double().cpu()
        return scores

    def _tastes(self, people: Sequence[Person]) -> "_Tastes":
        """The distinct tastes among n people, and which of them each row is about."""
        numbers: dict[Any, int] = {}
        distinct: list[_Taste] = []
        for person in people:
            key = person if isinstance(person, str) else id(person)
            if key not in numbers:
                numbers[key] = len(distinct)
                distinct.append(self._taste(person))
        return _Tastes(distinct, torch.tensor([numbers[p if isinstance(p, str) else id(p)] for p in people]))

    @torch.no_grad()
    def _taste(self, person: Person) -> "_Taste":
        taste: Any = person
        if isinstance(person, str):
            try:
                if isinstance(self.people, TasteStore):
                    return _Taste(self.people.mean(person).double(), None, self._units(self.people.data_set))
                taste = self.people[person]
            except ProfileError as error:  # not in the store, or damaged
                raise RewardError(str(error)) from error
            except KeyError as error:
                raise RewardError(
                    f"There is no taste of a user {person!r}; the reward knows {len(self.people)} people. Fit a profile of theirs first."
                ) from error
        if self.model.taste is None:
            if taste is not None and not isinstance(taste, Tensor):
                raise RewardError(
                    f"This is a token model, whose people are user tokens; it cannot score for a {type(taste).__name__}. Name one of its "
                    "training people, or load a posterior model."
                )
            return _Taste(taste, None, (0.0, 1.0))
        if taste is None:
            mean = self.model.prior_taste()[0].double().cpu()
            return _Taste(mean, TastePosterior(mean, mean.new_zeros(0, len(mean))), (0.0, 1.0))
        if not isinstance(taste, TasteProfile | SharedTaste):
            raise RewardError(
                f"{taste!r} is no person: expected a user id, a profile, a shared taste, or None for the population."
            )
        if (fingerprint := self.model.fingerprint()) != taste.model_fingerprint:
            raise RewardError(
                f"The taste{f' of {person!r}' if isinstance(person, str) else ''} belongs to the model {taste.model_fingerprint}, not to "
                f"{fingerprint}. Load the model it was made with, or migrate it."
            )
        units = self._units(taste.data_set) if isinstance(taste, TasteProfile) else (0.0, 1.0)
        return _Taste(taste.posterior.mean, taste.posterior, units)

    def _units(self, data_set: str | None) -> tuple[float, float]:
        """A score on the scale of a data set's people is `offset + scale * score`."""
        for member in self.model.config.data_sets or []:
            if member["name"] == data_set:
                return member["offset"], member["scale"]
        return 0.0, 1.0

    @staticmethod
    def _check_lengths(number: int, prompts: Sequence[str | None] | None, people: Sequence[Person]) -> None:
        if not number:
            raise RewardError("There are no pictures to score; expected at least one.")
        if len(people) != number or (prompts is not None and (isinstance(prompts, str) or len(prompts) != number)):
            given = "no" if prompts is None else "one text as" if isinstance(prompts, str) else len(prompts)
            raise RewardError(
                f"There are {number} pictures, {len(people)} people and {given} prompts; expected one of each a picture."
            )


class _Taste(NamedTuple):
    """A taste as a row of a matrix product; of a token model a token, `None` for the population."""

    mean: Any
    posterior: TastePosterior | None
    units: tuple[float, float]


class _Tastes(NamedTuple):
    distinct: list[_Taste]
    person: Tensor


class PersonReward:
    """
    A [`~modeling_pamela.rewards.base.Reward`] of one person: a taste with its model.

    Args:
        reward ([`~modeling_pamela.rewards.base.Reward`]): Of people.
        person: Whose; `None` for the population.
    """

    def __init__(self, reward: Reward, person: Person) -> None:
        self.reward = reward
        self.person = person
        self.name = f"{reward.name}, {person}" if isinstance(person, str) else reward.name
        self.score_range = reward.score_range
        self.higher_is_better = reward.higher_is_better
        self.differentiable = reward.differentiable

    def __call__(
        self,
        images: "Sequence[Image.Image] | Tensor",
        prompts: Sequence[str | None] | None = None,
        people: "Sequence[Person] | Person" = None,
    ) -> RewardScores:
        """See [`~modeling_pamela.rewards.base.Reward`]; `people` must not name anybody."""
        if people is not None and (
            isinstance(people, str | TasteProfile | SharedTaste) or any(p is not None for p in people)
        ):
            raise RewardError("This reward is of one person; leave `people` out, or ask the reward it was made of.")
        return self.reward(images, prompts, self.person)


class SavedProfiles(Mapping[str, TasteProfile]):
    """The people whose profiles were saved with a checkpoint, each read when first asked for."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._read: dict[str, TasteProfile] = {}

    def __getitem__(self, user_id: str) -> TasteProfile:
        if user_id not in self._read:
            folder = self.folder / profile_folder_name(user_id)
            if not user_id or not folder.is_dir():
                raise KeyError(user_id)
            self._read[user_id] = TasteProfile.from_pretrained(folder)
        return self._read[user_id]

    def __iter__(self) -> Iterator[str]:
        return (unquote(folder.name) for folder in sorted(self.folder.glob("*/")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def saved_people(name: str | Path, model: PamelaForPersonalizedScoring) -> "Mapping[str, Any]":
    """
    The people who were saved with a checkpoint: profiles in `profiles/`, or the user tokens of the people in `users.json`.

    Args:
        name (`str` or `Path`): The checkpoint, a folder or a Hub repo; nobody is known of a model that was never saved, whose name is empty.
        model ([`PamelaForPersonalizedScoring`]): Loaded from it.
    """
    folder = Path(name)
    if not str(name):
        return {}
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(str(name), allow_patterns=["profiles/*", "users.json"]))
        except (HFValidationError, RepositoryNotFoundError, LocalEntryNotFoundError):
            return {}  # a folder that is gone, or a name that is none
    if model.taste is not None:
        return SavedProfiles(folder / "profiles")
    users, table = folder / "users.json", model.pamela.user_embeddings
    if table is None or not users.is_file():
        return {}
    return dict(zip(json.loads(users.read_text(encoding="utf-8")), table.weight.detach(), strict=True))
