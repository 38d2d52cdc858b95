"""What a search starts with where nobody says otherwise: the guards that fit a reward, and a prompt that can be steered."""

from ..data.prompts import prompt_key
from ..rewards.base import Person, Reward
from ..rewards.content import ModelContent
from ..rewards.personal import PersonalReward, PersonReward
from .base import SteeringError
from .guards import Guards


__all__ = ["MAX_PROMPT_WORDS", "check_prompt", "content_for", "guards_for", "of_people"]

# More than any text encoder of a text-to-image model reads; the rest would have no effect.
MAX_PROMPT_WORDS = 512


def check_prompt(prompt: str) -> None:
    """
    Raises:
        SteeringError: The prompt has no letter or digit, or is longer than text-to-image models read.
    """
    if not prompt_key(prompt):
        raise SteeringError("The prompt is empty; expected words that say what the picture should show.")
    if (words := len(prompt.split())) > MAX_PROMPT_WORDS:
        raise SteeringError(
            f"The prompt has {words} words; text-to-image models read at most {MAX_PROMPT_WORDS}. Shorten it."
        )


def of_people(reward: Reward, person: Person) -> tuple[Reward, Person]:
    """
    The reward that knows people, and whom it is asked for, where one person's own reward (`reward.of(person)`) may be given.

    Raises:
        SteeringError: It is one person's own, and another is named.
    """
    if not isinstance(reward, PersonReward):
        return reward, person
    if person is not None:
        raise SteeringError("The reward is of one person; name nobody else, or pass the reward it was made of.")
    return reward.reward, reward.person


def content_for(reward: Reward) -> ModelContent | None:
    """What the guards of content measure with: the reward's own encoders, where it is a PAMELA model that has them."""
    reward, _ = of_people(reward, None)
    if isinstance(reward, PersonalReward) and reward.model.config.text_encoder is not None:
        return ModelContent(reward.model, reward.processor)
    return None


def guards_for(reward: Reward) -> Guards:
    """The guards of a search; a PAMELA model that was trained without prompts is told of none."""
    reward, _ = of_people(reward, None)
    if isinstance(reward, PersonalReward):
        config = reward.model.config
        return Guards(scored_prompt="own" if config.use_text and config.text_encoder else "none")
    return Guards()
