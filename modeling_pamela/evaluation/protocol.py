"""
How a scorer is judged on people: fixed contexts in, predictions of the same held-out ratings for everyone out.

A *case* is one person in one context draw. A scorer sees the first k ratings of the case's context and scores its queries,
which are the same for every k and every scorer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..data.files import DataError
from ..data.folder import DataFolder, DataFolderError, Ratings
from ..data.joint import JointFolder, Member, members
from .metrics import user_pairwise_accuracy, user_pearson, user_spearman


__all__ = [
    "Case",
    "Evidence",
    "PersonalScorer",
    "Predictions",
    "Scores",
    "evaluate_scorer",
    "judge",
    "predict",
    "seen_cases",
    "shift_case",
    "unseen_cases",
    "usual_protocol",
    "validation_cases",
]


@dataclass(frozen=True)
class Evidence:
    """
    What a scorer is told of a person.

    Attributes:
        user (`int`): Row of the person in `DataFolder.users`, for demographics; a training user may be known by it.
        images (`np.ndarray` of shape `(k,)`): Rows of the rated pictures in `DataFolder.images`.
        ratings (`np.ndarray` of shape `(k,)`): The ratings on the 0..1 scale.
    """

    user: int
    images: np.ndarray
    ratings: np.ndarray


class PersonalScorer(Protocol):
    """Anything that scores pictures for a person: a model, a baseline, a table of precomputed scores."""

    name: str

    def __call__(self, evidence: Evidence, queries: np.ndarray) -> np.ndarray:
        """Scores `(q,)` of the pictures in rows `queries` `(q,)` for the person."""
        ...


@dataclass(frozen=True)
class Case:
    """
    One person in one context draw.

    Attributes:
        evidence ([`Evidence`]): The whole context, in its fixed order.
        queries (`np.ndarray` of shape `(q,)`): Rows of the query pictures.
        references (`np.ndarray` of shape `(q,)`): Their ratings on the 0..1 scale.
        draw (`int`): Number of the context draw.
    """

    evidence: Evidence
    queries: np.ndarray
    references: np.ndarray
    draw: int = 0


@dataclass(frozen=True)
class Predictions:
    """
    What a scorer said of all queries, flat: one entry a case and query.

    Attributes:
        case (`np.ndarray` of shape `(Q,)`): Number of the case.
        user, image (`np.ndarray` of shape `(Q,)`): Rows in `DataFolder.users` and `DataFolder.images`.
        draw (`np.ndarray` of shape `(Q,)`): Number of the context draw.
        predictions, references (`np.ndarray` of shape `(Q,)`): Score, and rating on the 0..1 scale.
    """

    case: np.ndarray
    user: np.ndarray
    image: np.ndarray
    draw: np.ndarray
    predictions: np.ndarray
    references: np.ndarray


@dataclass(frozen=True)
class Scores:
    """
    Metrics of one scorer with one context size, a value a person (the mean over that person's draws).

    Attributes:
        users (`np.ndarray` of shape `(U,)`): Rows of the people in `DataFolder.users`.
        srocc, plcc, pairwise (`np.ndarray` of shape `(U,)`): Spearman and Pearson correlation and pairwise accuracy.
        mse (`np.ndarray` of shape `(U,)`): Mean squared error on the 0..1 scale.
        skipped (`int`): People without a value, because they have fewer than two queries or rated all of them alike.
    """

    users: np.ndarray
    srocc: np.ndarray
    plcc: np.ndarray
    pairwise: np.ndarray
    mse: np.ndarray
    skipped: int


def unseen_cases(
    folder: DataFolder, split: str, protocol: str | None = None, max_draws: int | None = None
) -> list[Case]:
    """
    The fixed cases of new people.

    Args:
        folder ([`DataFolder`]): A split data folder.
        split (`"val_unseen"` or `"test_unseen"`): Whose ratings are the queries.
        protocol (`"train"` or `"query"`, *optional*): Context from pictures outside of the queries' pictures, or (the paper's) from the
            query split itself; by default [`usual_protocol`].
        max_draws (`int`, *optional*): Only the first so many draws of each person.

    Raises:
        DataError: The folder has no contexts for this split; run `pamela data split`.
        DataError: A picture of a context is among its queries.
    """
    protocol = protocol or usual_protocol(folder, split)
    draws = folder.contexts(protocol, split)
    if not draws:
        raise DataError(f"{folder.path} has no {protocol!r} contexts for {split!r}. Run `pamela data split` first.")
    ratings = folder.ratings(*(name for name in folder.splits if name != "train"))
    row_of_rating = {int(rating_id): row for row, rating_id in enumerate(ratings.rating_id)}
    queries = folder.ratings(split)
    query_rows = _rows_by_user(queries)

    cases = []
    for draw in draws:
        if max_draws is not None and draw.draw >= max_draws:
            continue
        context = np.array([row_of_rating[int(rating_id)] for rating_id in draw.rating_ids], dtype=np.int64)
        rows = query_rows[draw.user]
        rows = rows[~np.isin(queries.rating_id[rows], draw.rating_ids)]
        if (shared := np.intersect1d(ratings.image[context], queries.image[rows])).size:
            raise DataError(
                f"{folder.path}: picture {folder.image_ids[shared[0]]!r} is both in the context and among the queries of "
                f"{folder.user_ids[draw.user]!r} ({split}), who would be asked for what is known. Split the data set again."
            )
        evidence = Evidence(draw.user, ratings.image[context], ratings.rating_norm[context])
        cases.append(Case(evidence, queries.image[rows], queries.rating_norm[rows], draw.draw))
    return cases


def usual_protocol(folder: DataFolder, split: str) -> str:
    """`"train"` where the folder has such contexts; a data set whose split is its publisher's may have `"query"` ones only."""
    try:
        return "train" if folder.contexts("train", split) else "query"
    except DataFolderError:
        return "query"


def validation_cases(folder: DataFolder | JointFolder, max_draws: int | None = None) -> list[list[Case]]:
    """The cases of `val_unseen` of every data set of a folder, in the folder's rows of people and pictures."""
    every = []
    for member in members(folder):
        cases = unseen_cases(member.folder, "val_unseen", max_draws=max_draws)
        every.append([shift_case(case, member) for case in cases])
    return every


def shift_case(case: Case, member: Member) -> Case:
    """A case of a data set in the rows of the joint set."""
    evidence = replace(
        case.evidence, user=case.evidence.user + member.first_user, images=case.evidence.images + member.first_image
    )
    return replace(case, evidence=evidence, queries=case.queries + member.first_image)


def seen_cases(folder: DataFolder, split: str) -> list[Case]:
    """
    Training people on new pictures; the context is all of their training ratings.

    Args:
        folder ([`DataFolder`]): A split data folder.
        split (`"val_seen"` or `"test_seen"`): Whose ratings are the queries.
    """
    train, queries = folder.ratings("train"), folder.ratings(split)
    train_rows = _rows_by_user(train)
    cases = []
    for user, rows in _rows_by_user(queries).items():
        context = train_rows[user]
        evidence = Evidence(user, train.image[context], train.rating_norm[context])
        cases.append(Case(evidence, queries.image[rows], queries.rating_norm[rows]))
    return cases


def predict(scorer: PersonalScorer, cases: Sequence[Case], k: int | None) -> Predictions:
    """
    What a scorer says.

    Args:
        scorer ([`PersonalScorer`]): Whom to ask.
        cases (sequence of [`Case`]): From [`unseen_cases`] or [`seen_cases`].
        k (`int`, *optional*): Size of the context; `None` for all of it. A person with fewer context ratings gets those.

    Returns:
        [`Predictions`]

    Raises:
        DataError: There are no cases.
    """
    if not cases:
        raise DataError(
            "There are no cases to judge a scorer on. Split the data set with more validation or test people."
        )
    predictions = []
    for case in cases:
        evidence = Evidence(case.evidence.user, case.evidence.images[:k], case.evidence.ratings[:k])
        predictions.append(np.asarray(scorer(evidence, case.queries), dtype=np.float64))
    number = np.repeat(np.arange(len(cases)), [len(case.queries) for case in cases])
    return Predictions(
        number,
        user=np.array([case.evidence.user for case in cases])[number],
        image=np.concatenate([case.queries for case in cases]),
        draw=np.array([case.draw for case in cases])[number],
        predictions=np.concatenate(predictions),
        references=np.concatenate([case.references for case in cases]),
    )


def evaluate_scorer(scorer: PersonalScorer, cases: Sequence[Case], k: int | None) -> Scores:
    """
    Judge a scorer: [`judge`] of what it [`predict`]s, with the same arguments and errors.

    Returns:
        [`Scores`]
    """
    return judge(predict(scorer, cases, k))


def judge(found: Predictions) -> Scores:
    """
    Metrics of predictions.

    Args:
        found ([`Predictions`]): From [`predict`].

    Returns:
        [`Scores`]

    Raises:
        DataError: Nobody has two queries that they rated differently.
    """
    flat, references = found.predictions, found.references
    _, first, case_ids = np.unique(found.case, return_index=True, return_inverse=True)
    case_user = found.user[first]

    srocc = user_spearman(flat, references, case_ids)
    plcc = user_pearson(flat, references, case_ids)
    pairwise = user_pairwise_accuracy(flat, references, case_ids)
    users = np.unique(case_user[srocc.user_ids])
    if not len(users):
        raise DataError(
            f"None of the {len(np.unique(case_user))} people has two queries that they rated differently, so no order can be judged. "
            "Split the data set with more validation or test pictures."
        )
    squared = np.bincount(case_ids, (flat - references) ** 2) / np.bincount(case_ids)
    return Scores(
        users,
        srocc=_mean_by(case_user[srocc.user_ids], srocc.values, users),
        plcc=_mean_by(case_user[plcc.user_ids], plcc.values, users),
        pairwise=_mean_by(case_user[pairwise.user_ids], pairwise.values, users),
        mse=_mean_by(case_user, squared, users),
        skipped=len(np.unique(case_user)) - len(users),
    )


def _mean_by(owner: np.ndarray, values: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Mean of the values of every user in `users` (sorted)."""
    place = np.searchsorted(users, owner).clip(max=len(users) - 1)
    known = users[place] == owner
    sums = np.bincount(place[known], values[known], minlength=len(users))
    return sums / np.bincount(place[known], minlength=len(users))


def _rows_by_user(ratings: Ratings) -> dict[int, np.ndarray]:
    order = np.argsort(ratings.user, kind="stable")
    users, starts = np.unique(ratings.user[order], return_index=True)
    return dict(zip(users.tolist(), np.split(order, starts[1:]), strict=True))
