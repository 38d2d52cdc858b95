"""Several methods on the same people, and their table."""

import copy
import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import spearmanr
from typer.testing import CliRunner

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.checkpoints import checkpoint
from modeling_pamela.cli.main import app
from modeling_pamela.data.embed import bind_encoders, read_embeddings
from modeling_pamela.data.files import DataError
from modeling_pamela.data.folder import DataFolder, Ratings
from modeling_pamela.data.store import EmbeddingStore
from modeling_pamela.encoders_pamela import EncoderError
from modeling_pamela.evaluation import factorisation, methods
from modeling_pamela.evaluation.comparison import Result, compare, markdown_table, summarise
from modeling_pamela.evaluation.methods import check_split
from modeling_pamela.evaluation.protocol import Scores, evaluate_scorer, unseen_cases
from modeling_pamela.evaluation.scorers import PosteriorScorer, TokenScorer
from modeling_pamela.training.recipes import RECIPES


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def quick():
    """Fewer bandwidths to choose from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "RIDGE_BANDWIDTHS", (None, 1.0))
        patch.setattr(factorisation, "RANKS", (4,))
        patch.setattr(factorisation, "MAP_PENALTIES", (10.0,))
        yield


@pytest.fixture(scope="module")
def results(taste_folder, posterior, token, quick):
    return compare(taste_folder, posterior, token, contexts=(0, 15, None))


METHODS = {
    ("crowd oracle", "-"),
    ("population", "-"),
    *((method, k) for method in ("token + kNN", "posterior") for k in (0, 15, "all")),
    *((method, k) for method in ("population + ridge", "matrix factorisation") for k in (15, "all")),
}

METHODS_OF_ONE_MODEL = {name for name, _ in METHODS} - {"token + kNN"}


def test_every_method_is_judged_on_the_same_people(taste_folder, results):
    assert {(result.method, result.k) for result in results} == METHODS
    assert len(results) == len(METHODS)
    people = {taste_folder.user_ids[row] for row in taste_folder.ratings("test_unseen").user}
    for result in results:
        assert set(result.people) == people
        np.testing.assert_array_equal(result.people, results[0].people)
        assert len(result.scores.srocc) == 5


def test_a_result_is_what_its_scorer_scores(taste_folder, posterior, results):
    scorer = PosteriorScorer(posterior, read_embeddings(taste_folder, posterior.config))
    expected = evaluate_scorer(scorer, unseen_cases(taste_folder, "test_unseen"), 15)
    (found,) = (result for result in results if (result.method, result.k) == ("posterior", 15))
    np.testing.assert_array_equal(found.scores.srocc, expected.srocc)
    assert [taste_folder.user_ids[row] for row in expected.users] == found.people.tolist()


@pytest.fixture(scope="module")
def elsewhere(taste_folder, tmp_path_factory):
    """The same ratings of other pictures, as far as anybody can tell: a data set that the model was not trained on."""
    folder = tmp_path_factory.mktemp("elsewhere") / "data"
    shutil.copytree(taste_folder.path, folder)
    for file in (folder / "images").iterdir():
        table = pq.read_table(file)
        names = pa.array([hashlib.sha256(name.encode()).hexdigest() for name in table["sha256"].to_pylist()])
        pq.write_table(table.set_column(table.column_names.index("sha256"), "sha256", names), file)
    file = folder / "ratings" / "train.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    data, config = DataFolder(folder), RECIPES["posterior"].config()
    fingerprint = bind_encoders(config)["image"]
    old = EmbeddingStore(folder, fingerprint, "image").get(taste_folder.images["sha256"].to_pylist())
    EmbeddingStore(folder, fingerprint, "image").add(data.images["sha256"].to_pylist(), old)
    return data


def test_across_data_sets(taste_folder, elsewhere, posterior, token, results, quick):
    model = copy.deepcopy(posterior)
    model.config.training_split = taste_folder.split_fingerprint()
    with pytest.raises(DataError, match="evaluate --cross"):
        compare(elsewhere, model)
    found = compare(elsewhere, model, contexts=(15,), trained_on=taste_folder)
    # As it has the same pictures and people in truth, the model is as right there as at home.
    (there,) = (result.scores.srocc for result in found if result.method == "posterior")
    (home,) = (result.scores.srocc for result in results if (result.method, result.k) == ("posterior", 15))
    np.testing.assert_allclose(there, home, atol=1e-5)
    with pytest.raises(DataError, match="not trained on the split"):
        compare(taste_folder, model, trained_on=elsewhere)
    with pytest.raises(DataError, match="48 pictures in common"):
        compare(taste_folder, model, trained_on=taste_folder)
    with pytest.raises(DataError, match="knows nobody"):
        compare(elsewhere, model, token, trained_on=taste_folder)


def test_tokens_of_other_people_are_never_taken_for_these(taste_folder, token):
    train = taste_folder.ratings("train")
    fewer = Ratings(*(column[train.user != train.user[0]] for column in vars(train).values()))
    with pytest.raises(DataError, match="knows 14 people, but these training ratings are of 13"):
        TokenScorer(token, read_embeddings(taste_folder, token.config), fewer)


def test_across_data_sets_as_typed(taste_folder, elsewhere, posterior, quick, tmp_path):
    model = copy.deepcopy(posterior)
    model.config.training_split = taste_folder.split_fingerprint()
    model.save_pretrained(tmp_path / "model")
    arguments = ["evaluate", str(tmp_path / "model"), str(elsewhere.path), "--cross", str(taste_folder.path)]
    run = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert run.exit_code == 0, run.output
    assert "| posterior | 15 |" in run.stdout
    assert not (tmp_path / "model" / "baselines").exists()
    run = CliRunner().invoke(app, [*arguments, "--token-model", str(tmp_path)])
    assert run.exit_code == 2
    assert "leave --token-model out" in " ".join(run.output.replace("│", "").split())


def test_nothing_known_of_a_person_is_the_population_unless_demographics_say_more(results):
    by_name = {(result.method, result.k): result.scores for result in results}
    np.testing.assert_allclose(by_name["posterior", 0].srocc, by_name["population", "-"].srocc)
    assert by_name["posterior", 15].srocc.mean() > by_name["posterior", 0].srocc.mean()


def test_the_oracle_is_what_everybody_else_says(taste_folder, results):
    every = taste_folder.ratings(*taste_folder.splits)
    table = np.full((24, 48), np.nan)
    table[every.user, every.image] = every.rating_norm
    scores = []
    for case in unseen_cases(taste_folder, "test_unseen", max_draws=1):
        others = np.delete(table, case.evidence.user, axis=0)[:, case.queries].mean(0)
        scores.append(spearmanr(others, case.references).statistic)
    assert results[0].method == "crowd oracle"
    assert results[0].scores.srocc.mean() == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("split", ["test_seen", "val_seen"])
def test_seen_people_are_judged_with_all_they_rated(taste_folder, posterior, token, quick, split):
    found = compare(taste_folder, posterior, token, split=split, contexts=(3,))
    assert {(result.method, result.k) for result in found} == {
        ("crowd oracle", "-"),
        ("population", "-"),
        ("token + kNN", "all"),
        ("population + ridge", "all"),
        ("matrix factorisation", "all"),
        ("posterior", "all"),
    }
    assert all(len(result.people) == 14 for result in found)


def test_the_papers_protocol_has_its_own_queries(taste_folder, posterior, quick):
    found = compare(taste_folder, posterior, contexts=(3,), protocol="query")
    assert {result.method for result in found} == METHODS_OF_ONE_MODEL
    assert all(result.scores.skipped == 0 for result in found)


def test_prompts_can_be_kept_from_the_methods(taste_folder, posterior, quick):
    embeddings = read_embeddings(taste_folder, posterior.config)
    found = compare(taste_folder, posterior, contexts=(3,), with_prompts=False)
    blind = PosteriorScorer(posterior, replace(embeddings, text=torch.zeros_like(embeddings.text)))
    expected = evaluate_scorer(blind, unseen_cases(taste_folder, "test_unseen"), 3)
    np.testing.assert_array_equal(found[-1].scores.srocc, expected.srocc)


def test_a_model_of_other_encoders_is_refused(taste_folder, posterior):
    other = PamelaForPersonalizedScoring(type(posterior.config)(**posterior.config.to_dict()))
    other.config.encoder_fingerprints = {"image": "0" * 16}
    with pytest.raises(EncoderError, match="fingerprint"):
        compare(taste_folder, other)


def test_a_model_of_another_split_is_refused(taste_folder, posterior, quick):
    """It may have been trained on what it would be tested on."""
    other = copy.deepcopy(posterior)
    other.config.training_split = "0123456789abcdef"
    with pytest.raises(DataError, match="trained on another split"):
        compare(taste_folder, other)
    with pytest.raises(DataError, match="all of its people"):
        check_split(PamelaForPersonalizedScoring.from_pretrained(checkpoint("pamela-small")), taste_folder)
    other.config.training_split = taste_folder.split_fingerprint()
    assert compare(taste_folder, other)


def made_up(method, k, people, srocc):
    values = np.array(srocc, dtype=np.float64)
    return Result(method, k, np.array(list(people)), Scores(np.arange(len(values)), values, values, values, values, 0))


def test_a_row_says_mean_interval_share_and_gain():
    people = ["ann", "bob", "eve"]
    split = [
        made_up("crowd oracle", "-", people, [0.8, 0.6, 1.0]),
        made_up("token + kNN", 15, people, [0.2, 0.3, 0.1]),
        made_up("posterior", 15, people, [0.4, 0.5, 0.3]),
        made_up("posterior", "all", people, [0.5, 0.6, 0.7]),
    ]
    oracle, token, posterior, every = summarise([split])
    assert oracle["oracle_share"] == pytest.approx(1)
    assert posterior["srocc"] == pytest.approx(0.4)
    assert posterior["oracle_share"] == pytest.approx(0.5)
    assert posterior["srocc_low"] < 0.4 < posterior["srocc_high"]
    # Everybody gains the same, so whoever is drawn, the gain is that.
    assert (posterior["gain"], posterior["gain_low"], posterior["gain_high"]) == pytest.approx((0.2, 0.2, 0.2))
    assert not {"gain"} & (token.keys() | every.keys() | oracle.keys())


def test_somebody_in_two_splits_is_one_person():
    values = [0.1, 0.3, 0.5, 0.7]

    def splits(*people):
        return [
            [made_up("crowd oracle", "-", names, [0.9] * 4), made_up("posterior", 15, names, values)]
            for names in people
        ]

    # The same four people twice are no more evidence than once; eight people are.
    once = summarise(splits("abcd"))[1]
    twice = summarise(splits("abcd", "abcd"))[1]
    eight = summarise(splits("abcd", "efgh"))[1]
    assert once["srocc"] == twice["srocc"] == eight["srocc"] == pytest.approx(0.4)
    assert (twice["srocc_low"], twice["srocc_high"]) == pytest.approx((once["srocc_low"], once["srocc_high"]))
    assert twice["srocc_low"] < eight["srocc_low"]
    assert eight["srocc_high"] < twice["srocc_high"]


def test_two_splits_are_averaged_over_everybody_in_them():
    splits = [
        [made_up("crowd oracle", "-", people, [1.0] * len(values)), made_up("posterior", 15, people, values)]
        for people, values in ((["ann", "bob", "eve"], [0.1, 0.2, 0.3]), (["ann"], [0.6]))
    ]
    assert summarise(splits)[1]["srocc"] == pytest.approx(0.3)


def test_the_table_is_markdown(results):
    rows = summarise([results])
    lines = markdown_table(rows).splitlines()
    assert len(lines) == 2 + len(METHODS)
    assert {line.count("|") for line in lines} == {8}
    assert lines[1] == "|---|---|---|---|---|---|---|"
    assert lines[0].startswith("| method | k | user SROCC [95 %] |")
    (posterior,) = (line for line in lines if line.startswith("| posterior | 15 |"))
    (row,) = (row for row in rows if (row["method"], row["k"]) == ("posterior", 15))
    assert f"| {row['srocc']:.3f} [{row['srocc_low']:.3f}, {row['srocc_high']:.3f}] |" in posterior
    assert posterior.endswith(f"| {row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}] |")
    # No gain over itself, and none where the reference was not run.
    assert next(line for line in lines if line.startswith("| token + kNN")).endswith("|  |")
