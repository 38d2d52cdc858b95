import json

import matplotlib.pyplot as plt
import pytest

from modeling_pamela.evaluation.report import Report, data_fingerprint, format_interval, run_report


ROWS = [{"method": "a | b", "k": 5, "SROCC": 0.51234}, {"method": "other", "k": "all", "SROCC": None}]


def figure():
    drawn, axes = plt.subplots()
    axes.plot([1, 2, 3])
    plt.close(drawn)
    return drawn


def test_a_report_is_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return Report("table", "A table", "What it shows.", ROWS), figure()

    first = run_report(tmp_path, "table", {"data": "abc", "k": (5, 15)}, compute)
    assert run_report(tmp_path, "table", {"data": "abc", "k": (5, 15)}, compute) == first
    assert len(calls) == 1
    run_report(tmp_path, "table", {"data": "abc", "k": (5,)}, compute)
    assert len(calls) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["table.json", "table.md", "table.png"]


def test_markdown_and_json(tmp_path):
    Report("table", "A table", "What it shows.", ROWS, {"data": "abc"}).write(tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "| method | k | SROCC |\n|---|---|---|\n| a \\| b | 5 | 0.512 |\n| other | all |  |" in text
    assert "Made from: data abc." in text
    assert json.loads((tmp_path / "table.json").read_text())["rows"] == ROWS


def test_a_damaged_report_is_computed_again(tmp_path):
    (tmp_path / "table.json").write_text('{"name": "ta')
    assert Report.read(tmp_path, "table") is None


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        Report(name, "", "", ROWS).write(tmp_path, figure())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_fingerprint_and_interval(taste_folder):
    assert len(data_fingerprint(taste_folder)) == 16
    assert data_fingerprint(taste_folder) == data_fingerprint(taste_folder)
    assert format_interval(0.5, 0.45, 0.551) == "0.500 [0.450, 0.551]"
    assert format_interval(0.1, -0.05, 0.2, sign=True) == "+0.100 [-0.050, +0.200]"


def test_an_error_leaves_no_report(tmp_path):
    def broken():
        raise RuntimeError("no power")

    with pytest.raises(RuntimeError):
        run_report(tmp_path, "table", {}, broken)
    assert not list(tmp_path.iterdir())
