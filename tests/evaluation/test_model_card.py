"""What is written into a checkpoint is what the Hub's own readers read back."""

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.checkpoints import checkpoint
from modeling_pamela.data.files import DataError
from modeling_pamela.evaluation.model_card import (
    METRICS,
    card_data,
    group_rows,
    render_model_card,
    result_rows,
    write_results,
)
from modeling_pamela.evaluation.report import Report


def report(srocc=0.5, k=15):
    row = {"method": "posterior", "ratings seen": k, "low": 0.4, "high": 0.6}
    row |= {column: srocc + place / 100 for place, column in enumerate(METRICS)}
    return Report("table2", "", "", [row], {"data": "abc", "protocol": "query"})


def test_the_hub_reads_it(tmp_path):
    card, results = write_results(tmp_path, report(), "Oasis", "someone/oasis")
    found = ModelCard.load(card).data.eval_results
    assert [result.metric_value for result in found] == [0.5, 0.51, 0.52, 0.53, 0.54, 0.55]
    assert {(result.dataset_type, result.dataset_name, result.dataset_split) for result in found} == {
        ("someone/oasis", "Oasis", "test_unseen")
    }
    assert found[0].metric_name == "user SROCC, 15 ratings of each person, protocol query"
    assert results == tmp_path / ".eval_results" / "someone--oasis.yaml"
    entries = parse_eval_result_entries(yaml.safe_load(results.read_text()))
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries[:2]] == [
        ("someone/oasis", "user_srocc", 0.5),
        ("someone/oasis", "user_plcc", 0.51),
    ]


def test_results_are_replaced_and_the_rest_of_a_card_stays(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n\nText.\n")
    for made in (report(), report(0.7), report(0.6, k=50)):
        write_results(tmp_path, made, "Oasis")
    write_results(tmp_path, report(0.3), "Others")
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "mit"
    assert "# Mine\n\nText." in card.text
    found = [
        (r.dataset_name, r.metric_value) for r in card.data.eval_results if r.metric_name.startswith("user SROCC")
    ]
    assert found == [("Oasis", 0.7), ("Oasis", 0.6), ("Others", 0.3)]
    assert not (tmp_path / ".eval_results").exists()
    before = (tmp_path / "README.md").stat().st_mtime_ns
    write_results(tmp_path, report(0.3), "Others")
    assert (tmp_path / "README.md").stat().st_mtime_ns == before


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="no row 'posterior'"):
        write_results(tmp_path, Report("methods", "", "", [{"method": "posterior, random"}]), "Oasis")
    with pytest.raises(DataError, match="no name of a Hub repo"):
        write_results(tmp_path, report(), "Oasis", "a b/c/d")


def test_the_template_is_filled_and_what_nobody_said_is_said_to_be_missing(taste_folder, tiny_model):
    text = render_model_card(
        tiny_model, taste_folder, {"name": "mine", "results": {"alone": [["a", "15", "0.5", "", ""]]}}
    )
    ratings = taste_folder.ratings("train")
    assert f"{len(set(ratings.user.tolist()))} people, " in text
    assert f"{len(ratings):,} ratings" in text
    assert "### alone" in text
    assert "| a | 15 | 0.5 |  |  |" in text
    assert text.count("Not measured") == 3  # groups, privacy, cost
    with pytest.raises(DataError, match="no place for colour"):
        render_model_card(tiny_model, taste_folder, {"colour": "red"})


def test_front_matter_is_what_the_hub_reads():
    row = {"method": "posterior", "k": 15, "srocc": 0.51234, "pairwise": 0.7}
    data = card_data("mine", "mit", "My set", {"with captions": [row, row | {"method": "crowd oracle"}]})
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n# Mine\n")
    assert (card.data.license, card.data.library_name) == ("mit", "transformers")
    assert [(r.dataset_config, r.metric_type, r.metric_value) for r in card.data.eval_results] == [
        ("with captions", "spearmanr", 0.5123),
        ("with captions", "accuracy", 0.7),
    ]


def test_the_card_of_pamela_small():
    card = ModelCard.load(checkpoint("pamela-small") / "README.md")
    assert card.data.license == "apache-2.0"
    found = {(r.dataset_config, r.metric_name): r.metric_value for r in card.data.eval_results}
    value = found["without captions", "user SROCC, 15 ratings of each person"]
    assert value > 0.52
    assert f"| **this model** | 15 | {value:.3f} [" in card.text
    for part in (
        "600 people, 610 pictures, 91,810 ratings",
        "must not be used for",
        "Kurdi",
        "Brielmann",
        "United States",
    ):
        assert part in card.text
    assert "{{" not in card.text


def test_every_number_of_the_card_is_in_the_results_of_its_run():
    root = Path(__file__).parents[2]
    text = (checkpoint("pamela-small") / "README.md").read_text(encoding="utf-8")
    results = json.loads((root / "benchmarks" / "results" / "checkpoint.json").read_text(encoding="utf-8"))
    rows = [*result_rows(results["without captions"]), *result_rows(results["with captions"])]
    rows += group_rows(results["groups"], ["posterior, k = 0", "posterior, k = 15", "crowd oracle, k = -"])
    for row in rows:
        assert f"| {' | '.join(row)} |" in text
    influence, areas = results["privacy"]["influence"], results["privacy"]["membership"]
    for number in (
        f"move on the training pictures by {influence['root mean square']['mean']:.4f} of the scale",
        f"at most {influence['most']['most']:.4f} for any",
        f"rank correlation of {influence['rank correlation']['mean']:.5f}",
        f"under the curve of {sum(areas) / len(areas):.3f} ({min(areas):.3f} to {max(areas):.3f}",
        f"{1e3 * results['seconds a picture']:.0f} ms to encode a picture",
        f"{results['seconds held out']:.0f} s to train a held-out run",
        f"{results['training seconds']:.0f} s on everybody",
    ):
        assert number in text
    model = PamelaForPersonalizedScoring.from_pretrained(checkpoint("pamela-small"))
    assert model.fingerprint() == results["fingerprint"]
