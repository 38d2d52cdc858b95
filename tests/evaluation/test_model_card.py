"""What is written into a checkpoint is what the Hub's own readers read back."""

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from modeling_pamela.data.files import DataError
from modeling_pamela.evaluation.model_card import METRICS, write_results
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
