"""
Proposals without a language model: a vocabulary of ways to picture a thing, and a bandit that learns which of them a person likes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..data.prompts import MODIFIERS, ModifierKind, prompt_key
from .base import Candidate


__all__ = ["ModifierProposer"]


# Of a modifier's effect, and of what is not the sum of effects, as shares of the spread of the scores.
EFFECT_STD, REST_STD = 0.7, 0.5


@dataclass(frozen=True)
class ModifierProposer:
    """
    A [`~modeling_pamela.steering.base.Proposer`] that adds modifiers to the prompt by Thompson sampling.

    The score of a prompt is taken to be the sum of the effects of its modifiers, each with a Gaussian prior. A draw of the effects from their
    posterior, given the candidates scored so far, names the best modifier of every kind or none: what is known to please comes often, what is
    known not to, never, and what is not known now and then (Thompson 1933; Agrawal & Goyal 2013 for the linear case). The prompt's own words
    stay as they are. It learns from prompts of other proposers too, where they have such modifiers in them.

    Args:
        vocabulary (`Mapping[str, ModifierKind]`): Kind -> what it can be.

    Example:

    ```python
    >>> for prompt in ModifierProposer().propose("an ink drawing of a castle at night", [], num=2, seed=0):
    ...     print(prompt)
    an ink drawing of a castle at night, warm amber tones, centred composition, eye level view, cosy
    an ink drawing of a castle at night, warm amber tones, rule of thirds, eye level view, melancholic

    ```
    """

    vocabulary: Mapping[str, ModifierKind] = field(default_factory=lambda: MODIFIERS)

    def propose(self, prompt: str, history: Sequence[Candidate], num: int, seed: int) -> list[str]:
        """See [`~modeling_pamela.steering.base.Proposer`]."""
        rng = np.random.default_rng(seed)
        said = set(prompt_key(prompt).split())
        kinds = [
            kind.modifiers
            for kind in self.vocabulary.values()
            if not said & set(kind.cues.split()) and not any(_says(prompt, modifier) for modifier in kind.modifiers)
        ]
        mean, root = _effects([modifier for modifiers in kinds for modifier in modifiers], history)
        known = {prompt_key(prompt), *(prompt_key(candidate.prompt) for candidate in history)}
        found: list[str] = []
        for _ in range(50 * num):  # where nearly all was tried, draws repeat
            effects = iter(mean + root @ rng.standard_normal(len(mean)))
            best = [max((next(effects), modifier) for modifier in modifiers) for modifiers in kinds]
            text = ", ".join([prompt.strip().rstrip(".,;"), *(modifier for effect, modifier in best if effect > 0)])
            if prompt_key(text) not in known:
                known.add(prompt_key(text))
                found.append(text)
            if len(found) == num:
                break
        return found


def _effects(modifiers: Sequence[str], history: Sequence[Candidate]) -> tuple[np.ndarray, np.ndarray]:
    """Mean `(M,)` and a square root of the covariance `(M, M)` of the effects, in units of the spread of the scores."""
    scored = [candidate for candidate in history if candidate.score is not None]
    scores = np.array([candidate.score for candidate in scored], float)
    if len(scores):
        # What a guard refused is worse than the worst of the rest.
        refused = np.array([candidate.refused is not None for candidate in scored])
        rest = scores[~refused] if not refused.all() else np.zeros(1)
        scores[refused] = rest.min() - (rest.std() or 1)
        scores = (scores - scores.mean()) / (scores.std() or 1)
    has = np.array([[_says(candidate.prompt, modifier) for modifier in modifiers] for candidate in scored], float)
    design = np.column_stack([np.ones(len(scored)), has.reshape(len(scored), len(modifiers))])
    prior = np.array([1.0, *[EFFECT_STD] * len(modifiers)])  # the first is the score without any modifier
    covariance = np.linalg.inv(design.T @ design / REST_STD**2 + np.diag(prior**-2))
    mean = covariance @ design.T @ scores / REST_STD**2
    return mean[1:], np.linalg.cholesky(covariance[1:, 1:])


def _says(prompt: str, modifier: str) -> bool:
    return f" {prompt_key(modifier)} " in f" {prompt_key(prompt)} "
