"""A metric for parts of the people or of the pictures."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .rows import UserMetric


__all__ = ["by_people", "by_pictures"]


def by_people(metric: UserMetric, group_of: Mapping[Any, str | None]) -> dict[str, UserMetric]:
    """
    A metric for each group of people, for example of one gender.

    Args:
        metric ([`~modeling_pamela.evaluation.rows.UserMetric`]): Of everybody.
        group_of (`Mapping`): From a person's id to their group; somebody who is not in it, or has `None` or an empty text there, is in the
            group `"unknown"`.

    Returns:
        `dict[str, UserMetric]`: By group, sorted; skipped people are counted in their groups. Nobody is lost.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.breakdown import by_people
    >>> from modeling_pamela.evaluation.metrics import user_spearman

    >>> metric = user_spearman([1, 2, 2, 1, 1, 2], [1, 2, 1, 2, 3, 3], ["ann", "ann", "bob", "bob", "eve", "eve"])
    >>> for group, part in by_people(metric, {"ann": "f", "eve": "f"}).items():
    ...     print(group, part.values.tolist(), {reason: ids.tolist() for reason, ids in part.skipped.items()})
    f [1.0] {'all ratings equal': ['eve']}
    unknown [-1.0] {}

    ```
    """

    def groups(ids: np.ndarray) -> np.ndarray:
        return np.array([group_of.get(name) or "unknown" for name in ids.tolist()], dtype=str)

    of_values = groups(metric.user_ids)
    of_skipped = {reason: groups(ids) for reason, ids in metric.skipped.items()}
    names = sorted({*of_values.tolist(), *(name for found in of_skipped.values() for name in found.tolist())})
    return {
        name: UserMetric(
            metric.values[of_values == name],
            metric.user_ids[of_values == name],
            {
                reason: metric.skipped[reason][found == name]
                for reason, found in of_skipped.items()
                if (found == name).any()
            },
        )
        for name in names
    }


def by_pictures(
    function: Callable[..., UserMetric],
    predictions: ArrayLike,
    references: ArrayLike,
    user_ids: ArrayLike,
    themes: ArrayLike,
    **options: Any,
) -> dict[str, UserMetric]:
    """
    A metric for each group of pictures, for example of one theme: every person's value on their ratings of these pictures alone.

    Args:
        function (callable): A user metric, e.g. [`~modeling_pamela.evaluation.metrics.user_spearman`].
        predictions, references, user_ids (arrays of shape `(R,)`): As the metric takes them.
        themes (array of shape `(R,)`, string): The picture's group; an empty one, or `None`, is `"unknown"`.
        options: Further arguments of the metric, e.g. `margin`.

    Returns:
        `dict[str, UserMetric]`: By theme, sorted.

    Raises:
        ValueError: There is not one theme a rating; or the metric refuses its input.

    Example:

    ```python
    >>> from modeling_pamela.evaluation.breakdown import by_pictures
    >>> from modeling_pamela.evaluation.metrics import user_spearman

    >>> parts = by_pictures(user_spearman, [1, 2, 3, 4], [1, 2, 4, 3], [0] * 4, ["sea", "sea", "city", "city"])
    >>> {theme: part.mean for theme, part in parts.items()}
    {'city': -1.0, 'sea': 1.0}

    ```
    """
    predictions, references, user_ids = (np.asarray(column) for column in (predictions, references, user_ids))
    names = np.array([str(theme) if theme else "unknown" for theme in np.asarray(themes, dtype=object)], dtype=str)
    if len(names) != len(predictions):
        raise ValueError(f"There are {len(names)} themes for {len(predictions)} ratings; expected one a rating.")
    parts = {}
    for name in np.unique(names).tolist():
        rows = names == name
        parts[name] = function(predictions[rows], references[rows], user_ids[rows], **options)
    return parts
