"""Every example runs, offline."""

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

from modeling_pamela import PamelaForPersonalizedScoring, TasteProfile, checkpoint
from modeling_pamela.data.scenes import sample_scenes


EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.usefixtures("one_thread")


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scores(text: str) -> list[float]:
    return [float(score) for score in re.findall(r"^(-?\d\.\d{3}) ± \d\.\d{3}  ", text, re.MULTILINE)]


def test_train_on_your_ratings(tmp_path, capsys):
    main = load("train_on_your_ratings").main
    # 30 people, so that some of each part have enough ratings.
    main([str(tmp_path), "--scenes", "24", "--raters", "30", "--each", "24"])
    printed = capsys.readouterr().out
    assert "no person gave any rating" in printed
    assert len(re.findall(r"ratings of a new person: user SROCC -?\d\.\d{3}", printed)) == 3
    assert PamelaForPersonalizedScoring.from_pretrained(tmp_path / "model").taste is not None

    # Ratings of one's own need their scale.
    with pytest.raises(SystemExit):
        main([str(tmp_path / "own"), "--ratings", str(tmp_path / "scenes")])
    assert "--scale LOW HIGH is needed" in capsys.readouterr().err


def test_score_folder(tmp_path, capsys):
    main = load("score_folder").main
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    (tmp_path / "more").mkdir()
    for number, scene in enumerate(sample_scenes(3, seed=0)):
        scene.render((64, 48)).save(tmp_path / ("more" if number else "") / f"{number}.png")
    main([str(tmp_path), "--top", "2"])
    population = scores(capsys.readouterr().out)
    assert len(population) == 2
    assert population == sorted(population, reverse=True)

    model = PamelaForPersonalizedScoring.from_pretrained(checkpoint("pamela-small"))
    TasteProfile.prior(model).save_pretrained(tmp_path / "nobody")
    main([str(tmp_path), "--top", "2", "--profile", str(tmp_path / "nobody")])
    assert scores(capsys.readouterr().out) == population


def test_best_of_n(tmp_path, capsys):
    load("best_of_n").main(["a castle on a hill", "-n", "2", "--out", str(tmp_path / "best.png")])
    printed = capsys.readouterr().out
    assert "does not exist" in printed
    ranked = scores(printed)
    assert len(ranked) == 2
    assert ranked == sorted(ranked, reverse=True)
    assert Image.open(tmp_path / "best.png").size == (384, 288)
