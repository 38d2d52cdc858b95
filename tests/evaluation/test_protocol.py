"""What a scorer may see and is asked, and how its answers become numbers."""

import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from modeling_pamela.data.files import DataError
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.evaluation.protocol import Case, Evidence, evaluate_scorer, seen_cases, unseen_cases


class Witness:
    """Remembers what it was shown, and scores by a table."""

    name = "witness"

    def __init__(self, scores):
        self.scores = scores
        self.seen = []

    def __call__(self, evidence, queries):
        self.seen.append((evidence, queries))
        return self.scores[evidence.user, queries]


@pytest.fixture
def witness(taste_folder):
    shape = len(taste_folder.user_ids), len(taste_folder.image_ids)
    return Witness(np.random.default_rng(0).normal(size=shape))


def case(user, references, context=0):
    number = len(references)
    evidence = Evidence(user, np.arange(context), np.linspace(0, 1, context))
    return Case(evidence, np.arange(number), np.array(references, dtype=np.float64))


@pytest.mark.parametrize("protocol", ["train", "query"])
def test_queries_are_the_same_for_every_k_and_contexts_are_nested(taste_folder, witness, protocol):
    cases = unseen_cases(taste_folder, "test_unseen", protocol)
    shown = {}
    for k in (0, 1, 3, None):
        witness.seen = []
        evaluate_scorer(witness, cases, k)
        shown[k] = witness.seen
    for index, case in enumerate(cases):
        for k, seen in shown.items():
            evidence, queries = seen[index]
            assert queries is case.queries
            size = len(case.evidence.images) if k is None else k
            assert len(evidence.images) == len(evidence.ratings) == size
            np.testing.assert_array_equal(evidence.images, case.evidence.images[:size])
            np.testing.assert_array_equal(evidence.ratings, case.evidence.ratings[:size])


@pytest.mark.parametrize("split", ["val_unseen", "test_unseen"])
def test_context_and_queries_are_the_persons_own_and_apart(taste_folder, split):
    every = taste_folder.ratings(*taste_folder.splits)
    truth = dict(zip(zip(every.user.tolist(), every.image.tolist(), strict=True), every.rating_norm, strict=True))
    train = taste_folder.ratings("train")
    asked = taste_folder.ratings(split)
    for protocol in ("train", "query"):
        cases = unseen_cases(taste_folder, split, protocol)
        assert len(cases) == 2 * 5
        for case in cases:
            user, known = case.evidence.user, case.evidence.images
            assert user not in train.user
            assert not set(known) & set(case.queries)
            own = set(asked.image[asked.user == user])
            if protocol == "train":
                assert set(case.queries) == own
            else:
                assert set(known) | set(case.queries) == own
                assert len(known) == 3
            for images, ratings in ((known, case.evidence.ratings), (case.queries, case.references)):
                assert [truth[user, image] for image in images.tolist()] == ratings.tolist()


def test_draws_differ_and_can_be_limited(taste_folder):
    cases = unseen_cases(taste_folder, "val_unseen")
    first = unseen_cases(taste_folder, "val_unseen", max_draws=1)
    assert len(first) * 2 == len(cases)
    by_user = {}
    for case in cases:
        by_user.setdefault(case.evidence.user, []).append(case.evidence.images.tolist())
    for one, other in by_user.values():
        assert one != other
        assert sorted(one) == sorted(other)


@pytest.mark.parametrize("split", ["val_seen", "test_seen"])
def test_seen_people_are_asked_new_pictures_and_known_by_all_training_ratings(taste_folder, split):
    train, asked = taste_folder.ratings("train"), taste_folder.ratings(split)
    cases = seen_cases(taste_folder, split)
    assert [case.evidence.user for case in cases] == np.unique(train.user).tolist()
    assert sum(len(case.queries) for case in cases) == len(asked)
    for case in cases:
        rows = train.user == case.evidence.user
        np.testing.assert_array_equal(case.evidence.images, train.image[rows])
        np.testing.assert_array_equal(case.evidence.ratings, train.rating_norm[rows])
        assert not set(case.queries) & set(train.image)


def test_a_person_is_the_mean_over_their_draws():
    scores = np.random.default_rng(0).normal(size=(3, 6))
    cases = [case(2, [0.1, 0.5, 0.9, 0.3]), case(0, [0.2, 0.1, 0.9]), case(2, [0.9, 0.8, 0.1, 0.2, 0.5])]
    found = evaluate_scorer(Witness(scores), cases, None)
    assert found.users.tolist() == [0, 2]
    assert found.skipped == 0
    for name, metric in {"srocc": spearmanr, "plcc": pearsonr}.items():
        values = [metric(scores[c.evidence.user, : len(c.references)], c.references).statistic for c in cases]
        np.testing.assert_allclose(getattr(found, name), [values[1], (values[0] + values[2]) / 2])
    squared = [np.square(scores[c.evidence.user, : len(c.references)] - c.references).mean() for c in cases]
    np.testing.assert_allclose(found.mse, [squared[1], (squared[0] + squared[2]) / 2])
    assert ((found.pairwise >= 0) & (found.pairwise <= 1)).all()


def test_people_without_an_order_are_counted():
    scores = np.random.default_rng(0).normal(size=(4, 3))
    cases = [case(0, [0.5, 0.5, 0.5]), case(1, [0.1, 0.9]), case(2, [0.7]), case(3, [0.2, 0.2]), case(3, [0.2, 0.9])]
    found = evaluate_scorer(Witness(scores), cases, None)
    # Person 3 can be judged in one of two draws, persons 0 and 2 in none.
    assert found.users.tolist() == [1, 3]
    assert found.skipped == 2
    assert len(found.srocc) == len(found.plcc) == len(found.pairwise) == len(found.mse) == 2
    assert np.isfinite(np.stack([found.srocc, found.plcc, found.pairwise, found.mse])).all()


def test_a_person_with_fewer_ratings_than_k_gives_those(witness):
    evaluate_scorer(witness, [case(0, [0.1, 0.9], context=4)], 15)
    assert len(witness.seen[0][0].images) == 4


def test_scores_of_other_people_and_pictures_do_not_matter(taste_folder, witness):
    cases = unseen_cases(taste_folder, "test_unseen")
    together = evaluate_scorer(witness, cases, 3)
    for place, user in enumerate(together.users):
        alone = evaluate_scorer(witness, [case for case in cases if case.evidence.user == user], 3)
        assert alone.srocc.tolist() == pytest.approx([together.srocc[place]])


def test_nothing_to_judge_by_is_an_error():
    with pytest.raises(DataError, match="no cases"):
        evaluate_scorer(Witness(np.zeros((1, 1))), [], 3)
    with pytest.raises(DataError, match="None of the 2 people has two queries"):
        evaluate_scorer(Witness(np.zeros((2, 3))), [case(0, [0.5, 0.5]), case(1, [0.3])], 3)


def test_scores_that_are_not_numbers_are_an_error():
    with pytest.raises(ValueError, match="NaN"):
        evaluate_scorer(Witness(np.full((1, 3), np.nan)), [case(0, [0.1, 0.5, 0.9])], None)


def test_a_folder_without_splits_is_an_error(taste_folder):
    unsplit = DataFolder(taste_folder.path.parent / "data")
    with pytest.raises(DataError, match="pamela data split"):
        unseen_cases(unsplit, "val_unseen")
    with pytest.raises(DataError, match="pamela data split"):
        seen_cases(unsplit, "val_seen")


def test_a_picture_in_context_and_queries_is_refused(taste_folder, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(taste_folder.path, folder)
    asked = taste_folder.ratings("test_unseen")
    contexts = pd.read_parquet(folder / "contexts" / "train.parquet")
    row = contexts.index[contexts["split"] == "test_unseen"][0]
    user = taste_folder.user_ids.index(contexts.loc[row, "user_id"])
    contexts.at[row, "rating_ids"] = asked.rating_id[asked.user == user][:2]
    # What is asked is what is left of the split; here the same rating stands under another name as a query.
    ratings = pd.read_parquet(folder / "ratings" / "test_unseen.parquet")
    again = ratings[ratings["rating_id"].isin(contexts.loc[row, "rating_ids"])].assign(
        rating_id=lambda table: table["rating_id"] + 10**6
    )
    pd.concat([ratings, again]).to_parquet(folder / "ratings" / "test_unseen.parquet", index=False)
    contexts.to_parquet(folder / "contexts" / "train.parquet", index=False)
    with pytest.raises(DataError, match="both in the context and among the queries"):
        unseen_cases(DataFolder(folder), "test_unseen", "train")
