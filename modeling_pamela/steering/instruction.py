"""What a language model is told about the variants of a prompt that are wanted (PAMELA, arXiv 2604.07427, appendix B.2)."""

import random
from collections.abc import Sequence

from .base import Candidate


__all__ = ["INSTRUCTION", "Message", "ask_again", "few_shot_messages", "list_messages"]

Message = dict[str, str]
"""A turn of a chat: its `role` and `content`."""

INSTRUCTION = """\
You rewrite prompts for a text-to-image model so that one particular person likes the pictures better.
Keep the content: the same subjects, doing the same things in the same place. Add no objects or people and take none away.
Change how it is shown: light, composition, colours, mood, camera. Be concrete, and let the variants differ from one another.
Scores tell how much this person likes the picture of a prompt: find out what the best have in common, and go further in that direction."""

# What a small model copies the form from: the prompt as it was, and after it how it is shown.
_EXAMPLES = (
    ("a cat on a sofa", "soft morning light, warm amber colours, seen close up, calm mood"),
    ("two children flying a kite", "at sunset, long shadows, wide shot from a low angle, joyful mood"),
    ("an old bridge over a river", "in thick fog, black and white, minimalist with much empty space"),
    ("a bowl of apples", "hard light from the side, vivid colours, centred, dramatic mood"),
    ("a steam train", "at night under a full moon, cool blue tones, seen from above, mysterious mood"),
    ("a market square", "bright sunshine at noon, pastel colours, composed on the rule of thirds, cheerful mood"),
)
_SMALL_INSTRUCTION = "Rewrite the prompt of a picture. Keep what it shows. Change the light, composition, colours, mood or camera. Answer with one prompt only."


def list_messages(
    prompt: str, history: Sequence[Candidate], num: int, instruction: str | None = None, num_shown: int = 5
) -> list[Message]:
    """
    Ask for a list of variants.

    Args:
        prompt (`str`): What the person asked for.
        history (sequence of [`Candidate`]): What was tried; the best are shown with their scores, the best last.
        num (`int`): How many variants.
        instruction (`str`, *optional*): Another text than [`INSTRUCTION`].
        num_shown (`int`): How many of the history are shown.

    Returns:
        list of [`Message`]: One turn, since not every chat template has a place for a system's.

    Example:

    ```python
    >>> [message] = list_messages("a cat", [Candidate(0, 0, "a cat", score=0.5)], num=3)
    >>> print(message["content"][len(INSTRUCTION):])
    <BLANKLINE>
    <BLANKLINE>
    Scores so far, the best last:
    0.500: a cat
    <BLANKLINE>
    Write 3 new variants of this prompt, one a line, numbered, and nothing else.
    Prompt: a cat

    ```
    """
    parts = [instruction or INSTRUCTION]
    if best := _best(history, num_shown):
        parts.append("Scores so far, the best last:\n" + "\n".join(f"{one.score:.3f}: {one.prompt}" for one in best))
    variants = "variant" if num == 1 else "variants"
    parts.append(
        f"Write {num} new {variants} of this prompt, one a line, numbered, and nothing else.\nPrompt: {prompt}"
    )
    return [{"role": "user", "content": "\n\n".join(parts)}]


def ask_again(messages: Sequence[Message], reply: str, missing: int) -> list[Message]:
    """The same chat, after a reply with too few that can be used."""
    more = f"{missing} more {'is' if missing == 1 else 'are'} needed, different from all so far. One a line, numbered, and nothing else."
    return [*messages, {"role": "assistant", "content": reply}, {"role": "user", "content": more}]


def few_shot_messages(
    prompt: str, history: Sequence[Candidate], seed: int, instruction: str | None = None, num_shown: int = 3
) -> list[Message]:
    """
    Ask for one variant, in a chat that has answered such questions before: what a model needs that writes prose where it is asked
    for a list. The best of the history are answers to the same question, and the answer is begun with the prompt, so that the model has
    but to say how it is shown.

    Args:
        seed (`int`): Of the order of the examples.
        prompt, history, instruction, num_shown: As in [`list_messages`].

    Returns:
        list of [`Message`]: Turns, the last one begun and to be gone on with.
    """
    turns = [(shown, f"{shown}, {how}") for shown, how in random.Random(seed).sample(_EXAMPLES, len(_EXAMPLES))]
    turns += [(prompt, one.prompt) for one in _best(history, num_shown) if one.prompt != prompt]
    messages = []
    for question, answer in [*turns, (prompt, f"{prompt.rstrip(' .,;')},")]:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    messages[0]["content"] = f"{instruction or _SMALL_INSTRUCTION}\n\n{messages[0]['content']}"
    return messages


def _best(history: Sequence[Candidate], num: int) -> list[Candidate]:
    """Those with the highest scores of what was not refused, the best last."""
    scored = [one for one in history if one.score is not None and one.refused is None]
    return sorted(scored, key=lambda one: (one.score, -one.index))[max(len(scored) - num, 0) :]
