"""A personal reward for TRL: what a person makes of the pictures that a completion asks for."""

import math
import warnings
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from PIL import Image

from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor
from .base import Person, Reward, RewardError
from .content import MIN_CONTENT, ContentMeasure, TextContent, kept_content
from .personal import PersonalReward, saved_people
from .pictures import is_black, to_pictures


if TYPE_CHECKING:
    from ..steering.base import Renderer

__all__ = ["PamelaReward"]


class PamelaReward:
    """
    A reward function for GRPOTrainer and RLOOTrainer: a completion is a prompt, which is rendered and scored for the person in its row.

    The reward of a completion is the mean score of its pictures, one a seed. With a `reference` it is `(score - m) / s`, where m and s are
    the mean and the standard deviation of that person's scores of the reference pictures: in units of how far the person tells
    pictures apart, above what they find middling, so that generous and harsh people weigh the same. GRPO's default, `scale_rewards="group"`, divides by the spread of every
    group as well; the reference matters where that is switched off, for RLOO, and beside other rewards.

    What cannot be scored gets `None`, by which TRL leaves the completion out of its group: one that is empty, has no letter, or is too long;
    one that no longer says what was asked for; one of an unknown person, while others are known; one whose picture could not be rendered
    or is black, as safety checkers return them. Where nothing in a batch can be rendered, or nobody in it is known, it is an error.

    Completions may be pictures themselves, alone or as `{"type": "image", "image": ...}` in a message; then nothing is rendered.

    Args:
        reward ([`~modeling_pamela.rewards.base.Reward`] or [`PamelaForPersonalizedScoring`]): What scores; a model knows the people who were
            saved with it. A lower-is-better reward is negated.
        renderer ([`~modeling_pamela.steering.base.Renderer`], *optional*): What makes pictures of prompts.
        person (*optional*): Whose reward it is where a row names nobody; the population by default.
        person_column, base_column (`str`): Columns of the data set with a row's user id, and with what was asked for. Without the
            latter it is the text of the prompt, or its last user message.
        seeds (sequence of `int`): Of the renderings.
        min_content (`float`, *optional*): How much of what was asked for a completion must say, as
            [`~modeling_pamela.rewards.content.kept_content`] measures it; `None` switches the guard off.
        content ([`~modeling_pamela.rewards.content.ContentMeasure`], *optional*): What it measures with;
            [`~modeling_pamela.rewards.content.TextContent`] by default.
        scored_prompt (`"own"`, `"base"` or `"none"`): Which prompt the reward is told of: the completion, what was asked for, or none. With
            `"own"` words can please that the picture does not show.
        reference (sequence of `PIL.Image.Image`, or of `str` to render, *optional*): Pictures, at least 2, to normalise by.
        refused (`float`, *optional*): What a completion gets that the policy is to blame for (empty, no letter, too long, other content)
            instead of `None`, so that it learns from it.
        max_characters (`int`): Longest completion. Encoders would cut a longer one off, and score its beginning.
        cache_size (`int`): Pictures that are kept, by prompt and seed.
        name (`str`): In logs.

    Raises:
        RewardError: Arguments contradict each other.

    Example:

    ```python
    reward = PamelaReward(PersonalReward.from_pretrained("owner/model"), DiffusersRenderer(pipeline))
    trainer = GRPOTrainer(model, reward_funcs=reward, train_dataset=dataset)  # columns: prompt, user_id, base_prompt
    ```
    """

    def __init__(
        self,
        reward: Reward | PamelaForPersonalizedScoring,
        renderer: "Renderer | None" = None,
        *,
        person: Person = None,
        person_column: str = "user_id",
        base_column: str = "base_prompt",
        seeds: Sequence[int] = (0,),
        min_content: float | None = MIN_CONTENT,
        content: ContentMeasure | None = None,
        scored_prompt: Literal["own", "base", "none"] = "own",
        reference: Sequence[Image.Image | str] | None = None,
        refused: float | None = None,
        max_characters: int = 2000,
        cache_size: int = 256,
        name: str = "pamela",
    ) -> None:
        if isinstance(reward, PamelaForPersonalizedScoring):
            reward = PersonalReward(
                reward, PamelaProcessor.from_config(reward.config), saved_people(reward.name_or_path, reward)
            )
        if not seeds:
            raise RewardError("There are no seeds; expected at least one, a picture each.")
        if scored_prompt not in ("own", "base", "none"):
            raise RewardError(f'scored_prompt is {scored_prompt!r}; expected "own", "base" or "none".')
        if reference is not None and len(reference) < 2:
            raise RewardError(
                f"The reference has {len(reference)} pictures; a spread needs at least 2, better dozens."
            )
        self.reward: Reward = reward
        self.renderer = renderer
        self.person = person
        self.person_column = person_column
        self.base_column = base_column
        self.seeds = tuple(seeds)
        self.min_content = min_content
        self.content = TextContent() if content is None and min_content is not None else content
        self.scored_prompt = scored_prompt
        self.reference = reference
        self.refused = refused
        self.max_characters = max_characters
        self.cache_size = cache_size
        self.__name__ = name
        self._cache: OrderedDict[tuple[str, int], Image.Image | None] = OrderedDict()
        # The person is kept with them: the id of an object that is gone may be another's.
        self._levels: dict[Hashable, tuple[Person, float, float]] = {}

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """
        Args:
            prompts (sequence of n `str` or chats): As TRL hands them.
            completions (sequence of n `str`, chats or `PIL.Image.Image`): Likewise.
            columns: The other columns of the data set, n values each, and TRL's own `completion_ids`, `trainer_state`, `log_metric`, `log_extra`.

        Returns:
            `list` of n `float` or `None`

        Raises:
            RewardError: Nobody is known, nothing can be rendered, or there is no renderer for completions that are text.
        """
        people = columns.get(self.person_column) or [None] * len(completions)
        bases = columns.get(self.base_column) or [None] * len(prompts)
        if not len(prompts) == len(completions) == len(people) == len(bases):
            raise RewardError(
                f"There are {len(prompts)} prompts, {len(completions)} completions, {len(people)} values of {self.person_column!r} and "
                f"{len(bases)} of {self.base_column!r}; expected one of each a completion."
            )
        rows = [
            _Row(_content(completion), base or _last_text(prompt), self.person if person is None else person)
            for completion, prompt, base, person in zip(completions, prompts, bases, people, strict=True)
        ]
        self._refuse_texts(rows)
        cached = self._render(rows)
        self._score(rows)
        rewards = [self._value(row) for row in rows]
        self._log(rows, cached, columns)
        return rewards

    # What a completion goes through, in order ------------------------------------------------------------------------

    def _refuse_texts(self, rows: "Sequence[_Row]") -> None:
        for row in rows:
            if isinstance(row.content, str):
                if not row.content:
                    row.refused = "empty"
                elif not any(character.isalpha() for character in row.content):
                    row.refused = "no words"
                elif len(row.content) > self.max_characters:
                    row.refused = "too long"
        if self.content is None or self.min_content is None:
            return
        for base in dict.fromkeys(row.base for row in rows):
            texts = [row for row in rows if row.base == base and row.is_text and row.refused is None]
            if texts:
                found = kept_content(self.content, base, [str(row.content) for row in texts])
                for row, kept in zip(texts, found, strict=True):
                    row.kept = kept
                    # What is not a number is refused too.
                    if not kept >= self.min_content:
                        row.refused = "other content"

    def _render(self, rows: "Sequence[_Row]") -> float:
        """Give every row its pictures; returns the share that was in the cache."""
        texts = [row for row in rows if row.is_text and row.refused is None]
        wanted = list(dict.fromkeys((str(row.content), seed) for row in texts for seed in self.seeds))
        cached = sum(key in self._cache for key in wanted)
        found = self._pictures(wanted)
        for row in texts:
            keys = [(str(row.content), seed) for seed in self.seeds]
            pictures = [found[key] for key in keys if key in found]
            row.pictures = [picture for picture in pictures if picture is not None]
            if len(row.pictures) < len(keys):
                row.refused = "not rendered" if len(pictures) < len(keys) else "held back"
        for row in rows:
            if isinstance(row.content, _NoText):
                row.pictures = [row.content.part]
            if row.refused is None:
                row.refused = next(filter(None, map(_fault, row.pictures)), None)
        return cached / len(wanted) if wanted else 0.0

    def _pictures(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Image.Image | None]:
        """Pictures by prompt and seed, `None` for what the renderer held back; without those that cannot be rendered."""
        if wanted and self.renderer is None:
            raise RewardError(
                "Completions are text, but there is no renderer to make pictures of them; give one to the reward."
            )
        found = {key: self._cache[key] for key in wanted if key in self._cache}
        missing = [key for key in wanted if key not in found]
        failures = []
        try:
            found.update(zip(missing, self._call_renderer(missing), strict=True))
        except Exception:
            # Renderers are anything from a pipeline to a web service; one prompt may be what they choke on.
            for key in missing:
                try:
                    found[key] = self._call_renderer([key])[0]
                except Exception as error:
                    failures.append((key, error))
        if failures:
            (prompt, _), reason = failures[0]
            message = f"{len(failures)} of {len(wanted)} pictures could not be rendered; the first, of {prompt[:80]!r}: {type(reason).__name__}: {reason}"
            if not found:
                raise RewardError(message) from reason
            warnings.warn(message, stacklevel=4)
        for key in wanted:
            if key in found:
                self._cache[key] = found[key]
                self._cache.move_to_end(key)
        while len(self._cache) > self.cache_size:
            self._cache.popitem(last=False)
        return found

    def _call_renderer(self, keys: Sequence[tuple[str, int]]) -> list[Image.Image | None]:
        if not keys or self.renderer is None:
            return []
        made = self.renderer.render([prompt for prompt, _ in keys], [seed for _, seed in keys])
        if len(made) != len(keys):
            raise RewardError(
                f"The renderer gave {len(made)} pictures for {len(keys)} prompts; expected one each, or None for one that it holds back."
            )
        return list(made)

    def _score(self, rows: "Sequence[_Row]") -> None:
        scored = [row for row in rows if row.refused is None]
        if not scored:
            return
        try:
            self._score_all(scored)
        except RewardError as error:
            # Somebody may be unknown: everybody by themselves.
            people = list(dict.fromkeys(_key(row.person) for row in scored))
            unknown = []
            for key in people if len(people) > 1 else []:
                own = [row for row in scored if _key(row.person) == key]
                try:
                    self._score_all(own)
                except RewardError as problem:
                    unknown.append(problem)
                    for row in own:
                        row.refused = "person not scored"
            if len(people) == 1 or len(unknown) == len(people):
                raise
            warnings.warn(f"{len(unknown)} of {len(people)} people get no reward; the first: {error}", stacklevel=3)

    def _score_all(self, rows: "Sequence[_Row]") -> None:
        self._learn_levels([row.person for row in rows])
        each = [(row, picture) for row in rows for picture in row.pictures]
        told = [{"own": row.told, "base": row.base, "none": None}[self.scored_prompt] for row, _ in each]
        found = self.reward(
            [picture for _, picture in each],
            None if self.scored_prompt == "none" else told,
            [row.person for row, _ in each],
        )
        start, sign = 0, 1 if self.reward.higher_is_better else -1
        for row in rows:
            own = slice(start, start + len(row.pictures))
            start += len(row.pictures)
            row.score = sign * found.mean[own].mean().item()
            row.std = None if found.std is None else found.std[own].mean().item()

    def _learn_levels(self, people: Sequence[Person]) -> None:
        """Mean and spread of people's scores of the reference pictures, for those of whom they are not known yet."""
        if self.reference is None:
            return
        new = list({_key(person): person for person in people if _key(person) not in self._levels}.values())
        if not new:
            return
        prompts = [item if isinstance(item, str) else None for item in self.reference]
        keys = [(prompt, self.seeds[0]) for prompt in prompts if prompt is not None]
        rendered = self._pictures(keys)
        found_pictures = [
            rendered.get((item, self.seeds[0])) if isinstance(item, str) else item for item in self.reference
        ]
        pictures = [picture for picture in found_pictures if picture is not None]
        if len(pictures) < len(found_pictures):
            raise RewardError("A reference prompt cannot be rendered; give others, or pictures.")
        told = None if self.scored_prompt == "none" or not any(prompts) else prompts * len(new)
        found = self.reward(pictures * len(new), told, [person for person in new for _ in pictures]).mean
        sign = 1 if self.reward.higher_is_better else -1
        for person, scores in zip(new, found.reshape(len(new), -1), strict=True):
            level, spread = sign * scores.mean().item(), scores.std().item()
            if not (math.isfinite(level) and spread > 1e-6):
                raise RewardError(
                    f"The {len(pictures)} reference pictures get scores of mean {level:.3g} and spread {spread:.3g}, by which nothing can be "
                    "normalised; give pictures that differ."
                )
            self._levels[_key(person)] = person, level, spread

    def _value(self, row: "_Row") -> float | None:
        if row.refused in _BY_POLICY:
            return self.refused
        if row.refused is not None or row.score is None:
            return None
        if not math.isfinite(row.score):
            row.refused = "no finite score"
            return None
        _, level, spread = self._levels[_key(row.person)] if self.reference is not None else (None, 0.0, 1.0)
        return (row.score - level) / spread

    def _log(self, rows: "Sequence[_Row]", cached: float, columns: dict[str, Any]) -> None:
        log_metric, log_extra = columns.get("log_metric"), columns.get("log_extra")
        if log_metric is not None:
            every = {
                "score": [row.score for row in rows],
                "std": [row.std for row in rows],
                "content": [row.kept for row in rows],
            }
            for name, found in every.items():
                values = [value for value in found if value is not None and math.isfinite(value)]
                if values:
                    log_metric(f"{self.__name__}/{name}", sum(values) / len(values))
            log_metric(f"{self.__name__}/refused", sum(row.refused is not None for row in rows) / len(rows))
            log_metric(f"{self.__name__}/cached", cached)
        if log_extra is not None:
            log_extra(f"{self.__name__} score", [row.score for row in rows])
            log_extra(f"{self.__name__} refused", [row.refused or "" for row in rows])


# Refused for what the policy wrote, not for what became of it.
_BY_POLICY = {"empty", "no words", "too long", "other content"}


class _NoText(NamedTuple):
    """A completion, or a part of one, that is not text: a picture, or something that will be refused as none."""

    part: Any


@dataclass
class _Row:
    """A completion and what became of it."""

    content: str | _NoText
    base: str
    person: Person
    refused: str | None = None
    kept: float | None = None
    pictures: Sequence[Any] = ()
    score: float | None = None
    std: float | None = None

    @property
    def is_text(self) -> bool:
        return isinstance(self.content, str)

    @property
    def told(self) -> str:
        """Its prompt: itself, or of a picture what was asked for."""
        return self.content if isinstance(self.content, str) else self.base


def _key(person: Person) -> Hashable:
    return person if isinstance(person, str) else id(person)


def _fault(picture: Any) -> str | None:
    """What is wrong with a picture."""
    try:
        return "black" if is_black(to_pictures([picture])[0]) else None
    except RewardError:
        return "no picture"


def _content(completion: Any) -> str | _NoText:
    """The picture, or else the text, of a completion: itself, or in the messages of a chat."""
    if isinstance(completion, str):
        return completion.strip()
    if not isinstance(completion, list | tuple | None):
        return _NoText(completion)
    texts = []
    for message in completion or ():
        if not isinstance(message, Mapping):
            return _NoText(message)
        # What tools answered is not what the policy wrote.
        if message.get("role") == "tool":
            continue
        parts = message.get("content") or []
        for part in [{"type": "text", "text": parts}] if isinstance(parts, str) else parts:
            if part.get("type") == "image":
                return _NoText(part.get("image"))
            texts.append(part.get("text") or "")
    return "".join(texts).strip()


def _last_text(prompt: Any) -> str:
    """What was asked for: the prompt, or the last user message of a chat."""
    if isinstance(prompt, str):
        return prompt
    asked = [message["content"] for message in prompt if message.get("role") == "user"][-1:]
    parts = [part for content in asked for part in ([{"text": content}] if isinstance(content, str) else content)]
    return "".join(part.get("text") or "" for part in parts).strip()
