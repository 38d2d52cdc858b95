import numpy as np
import pandas as pd
import pytest
import torch

from modeling_pamela.data.files import DataError
from modeling_pamela.evaluation.precomputed import RewardScorer, TableScorer
from modeling_pamela.evaluation.protocol import Evidence, evaluate_scorer, unseen_cases
from modeling_pamela.rewards.base import RewardScores


NOTHING = Evidence(0, np.array([], dtype=int), np.array([]))


@pytest.fixture
def scores(taste_folder):
    """One a person and picture."""
    rng = np.random.default_rng(0)
    users, images = np.meshgrid(taste_folder.user_ids, taste_folder.image_ids, indexing="ij")
    return pd.DataFrame({"user_id": users.ravel(), "image_id": images.ravel(), "score": rng.random(users.size)})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_for_every_person(taste_folder, scores, tmp_path, suffix):
    file = tmp_path / f"mine.{suffix}"
    shuffled = scores.sample(frac=1, random_state=0)
    shuffled.to_csv(file, index=False) if suffix == "csv" else shuffled.to_parquet(file)
    scorer = TableScorer(file, taste_folder)
    assert scorer.name == "mine"
    table = scores["score"].to_numpy().reshape(len(taste_folder.user_ids), -1)
    for case in unseen_cases(taste_folder, "test_unseen", max_draws=1):
        assert scorer(case.evidence, case.queries) == pytest.approx(table[case.evidence.user, case.queries])
    assert len(evaluate_scorer(scorer, unseen_cases(taste_folder, "test_unseen"), 0).users) == 5


def test_a_table_for_everybody_alike(taste_folder, scores, tmp_path):
    alike = scores[scores["user_id"] == taste_folder.user_ids[0]].drop(columns="user_id")
    extra = pd.DataFrame({"image_id": ["not in the folder"], "score": [9.0]})
    pd.concat([alike, extra]).to_csv(tmp_path / "alike.csv", index=False)
    scorer = TableScorer(tmp_path / "alike.csv", taste_folder, name="a reward")
    assert scorer(NOTHING, np.array([2, 0])) == pytest.approx(alike["score"].to_numpy()[[2, 0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.rename(columns={"score": "value"}), r"lack the columns \['score'\]"),
        (lambda table: pd.concat([table, table[:1]]), "more than once"),
        (
            lambda table: table.assign(score=["good", *table["score"][1:]]),
            "no finite numbers; the first is in row 1: 'good'",
        ),
    ],
)
def test_bad_tables(taste_folder, scores, tmp_path, change, message):
    change(scores).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(DataError, match=message):
        TableScorer(tmp_path / "bad.csv", taste_folder)


def test_what_a_table_lacks_is_named(taste_folder, scores, tmp_path):
    scores[1:].to_csv(tmp_path / "gap.csv", index=False)
    scorer = TableScorer(tmp_path / "gap.csv", taste_folder)
    with pytest.raises(DataError, match=f"no score for picture '{taste_folder.image_ids[0]}' and user"):
        scorer(NOTHING, np.array([0, 1]))
    scores[scores["user_id"] != taste_folder.user_ids[0]].to_csv(tmp_path / "person.csv", index=False)
    with pytest.raises(DataError, match="no score for user"):
        TableScorer(tmp_path / "person.csv", taste_folder)(NOTHING, np.array([0]))


def test_no_such_table(taste_folder, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        TableScorer(tmp_path / "none.csv", taste_folder)


def test_a_reward_sees_every_picture_and_prompt_once(taste_folder):
    seen = []

    def brightness(pictures, prompts):
        seen.extend(prompts)
        return [np.asarray(picture).mean() / 255 for picture in pictures]

    scorer = RewardScorer(brightness, taste_folder, "brightness", batch_size=7)
    assert seen == taste_folder.prompts
    assert np.isfinite(scorer(NOTHING, np.arange(48))).all()


@pytest.mark.parametrize("answer", [[0.5], [float("nan")] * 16, "good"])
def test_a_reward_that_answers_nonsense(taste_folder, answer):
    with pytest.raises(DataError, match="expected one finite number each"):
        RewardScorer(lambda pictures, prompts: answer, taste_folder, "nonsense")


class Brightness:
    """A reward that likes it bright, each person a little differently."""

    name, score_range, higher_is_better, differentiable = "brightness", (0.0, 1.0), True, False
    offsets = {None: 0.0, "u7": 1.0, "u14": 2.0}  # noqa: RUF012

    def __call__(self, images, prompts=None, people=None):
        people = people or [None] * len(images)
        assert len(images) == len(prompts) == len(people)
        values = [np.asarray(image).mean() / 255 for image in images]
        return RewardScores(
            torch.tensor([value + self.offsets[who] for value, who in zip(values, people, strict=True)])
        )


def test_a_reward_of_the_protocol(taste_folder):
    class Darkness(Brightness):
        higher_is_better = False

    scorer = RewardScorer(Brightness(), taste_folder, batch_size=7)
    assert scorer.name == "brightness"
    plain = RewardScorer(lambda images, prompts: [np.asarray(i).mean() / 255 for i in images], taste_folder, "plain")
    every = np.arange(48)
    assert scorer(NOTHING, every) == pytest.approx(plain(NOTHING, every))
    assert RewardScorer(Darkness(), taste_folder)(NOTHING, every) == pytest.approx(-plain(NOTHING, every))


def test_a_reward_for_each_person(taste_folder):
    alike = RewardScorer(Brightness(), taste_folder)(NOTHING, np.arange(48))
    scorer = RewardScorer(Brightness(), taste_folder, user_ids=["u14", "u7"])
    for user_id, offset in (("u7", 1.0), ("u14", 2.0)):
        evidence = Evidence(taste_folder.user_ids.index(user_id), NOTHING.images, NOTHING.ratings)
        assert scorer(evidence, np.arange(48)) == pytest.approx(alike + offset)
    other = Evidence(taste_folder.user_ids.index("u0"), NOTHING.images, NOTHING.ratings)
    with pytest.raises(DataError, match="not asked to score for user 'u0'"):
        scorer(other, np.arange(48))
    with pytest.raises(DataError, match="nobody called 'eve'"):
        RewardScorer(Brightness(), taste_folder, user_ids=["eve"])
