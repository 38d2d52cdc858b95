"""`pamela profile` and `pamela rank` on generated pictures, with the embedded encoders and a model of random weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from modeling_pamela import PamelaForPersonalizedScoring, PamelaProcessor, TasteProfile
from modeling_pamela.cli import app
from modeling_pamela.data.embed import bind_encoders
from modeling_pamela.data.files import DataError
from modeling_pamela.data.scenes import sample_scenes
from modeling_pamela.taste.profile import ProfileError
from modeling_pamela.training.recipes import RECIPES


pytestmark = pytest.mark.usefixtures("one_thread")

RATINGS = {"0.png": 7, "1.png": 1, "more/2.png": 4}


def pamela(*arguments: object, code: int = 0):
    run = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})
    if run.exception is not None and not isinstance(run.exception, SystemExit):
        raise run.exception
    assert run.exit_code == code, run.output
    return run


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Six pictures, one of them cut off, and a folder inside."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    for number, scene in enumerate(sample_scenes(6, seed=0)):
        scene.render((64, 48)).save(folder / ("more" if number == 2 else "") / f"{number}.png")
    cut = folder / "5.png"
    cut.write_bytes(cut.read_bytes()[:300])
    return folder


def make_model(path: Path, seed: int) -> Path:
    config = RECIPES["posterior"].config(num_landmarks=8, rating_scale=[1.0, 7.0])
    bind_encoders(config)
    torch.manual_seed(seed)
    model = PamelaForPersonalizedScoring(config)
    model.fit_inputs(0.5, image=torch.randn(20, config.image_embed_dim), text=torch.randn(20, config.text_embed_dim))
    torch.nn.init.normal_(model.head.weight, std=0.1)
    model.taste.log_prior_std.data.fill_(-1.0)
    model.save_pretrained(path)
    PamelaProcessor.from_config(config).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), 0)


@pytest.fixture
def table(tmp_path):
    def write(rows=RATINGS.items(), header="file,rating"):
        path = tmp_path / "ratings.csv"
        path.write_text("\n".join([header, *(f"{name},{rating}" for name, rating in rows)]) + "\n")
        return path

    return write


@pytest.fixture
def profile(folder, model, table, tmp_path) -> Path:
    run = pamela("profile", "fit", folder, table(), "--model", model, "--scale", 1, 7, "--out", tmp_path / "ann")
    assert "from 3 ratings" in run.output
    assert "personal data" in run.output
    return tmp_path / "ann"


def test_fit_and_show(profile):
    person = TasteProfile.from_pretrained(profile)
    assert dict(zip(person.evidence.rating_ids, person.evidence.ratings.tolist(), strict=True)) == {
        "0.png": 1.0, "1.png": 0.0, "more/2.png": 0.5,
    }  # fmt: skip
    shown = pamela("profile", "show", profile).output
    assert "3 ratings from 1 to 7, 0 comparisons" in shown
    for name, rating in RATINGS.items():
        assert f"{rating}  {name}" in shown


def test_updating_is_fitting_at_once(folder, model, table, tmp_path, profile):
    one = table([("3.png", 6)])
    pamela("profile", "update", folder, one, "--model", model, "--profile", profile, "--out", tmp_path / "more")
    both = table([*RATINGS.items(), ("3.png", 6)])
    pamela("profile", "fit", folder, both, "--model", model, "--scale", 1, 7, "--out", tmp_path / "once")
    means = [TasteProfile.from_pretrained(tmp_path / name).posterior.mean for name in ("more", "once")]
    # The network's features are float32, and round by the size of a batch; the algebra is exact (tests/taste).
    torch.testing.assert_close(*means, atol=2e-5, rtol=0)
    assert TasteProfile.from_pretrained(profile).num_ratings == 3


def test_rank_agrees_with_score_and_writes_a_page(folder, model, profile, tmp_path):
    page = tmp_path / "page.html"
    run = pamela("rank", folder, "--model", model, "--profile", profile, "--top", 2, "--html", page, "--json")
    ranked = [json.loads(line) for line in run.stdout.splitlines()]
    scored = pamela("score", model, folder, "--profile", profile, "--json").stdout.splitlines()
    assert ranked == [{name: row[name] for name in ranked[0]} for row in map(json.loads, scored)][:2]
    assert "5.png" in run.stderr  # cut off, and named
    text = page.read_text()
    assert text.count("<figure>") == 2
    assert "The best 2 of 5 pictures" in text
    assert "3 ratings" in text
    for row in ranked:
        name = Path(row["file"]).relative_to(folder).as_posix()
        assert name in text
        assert (f"rated {RATINGS.get(name)}" in text) == (name in RATINGS)
    assert pamela("profile", "rank", folder, "--model", model, "--profile", profile, "--json").stdout.count("\n") == 5


def test_suggestions_are_not_rated_yet(folder, model, profile):
    new = pamela("profile", "suggest", folder, "--model", model, "--profile", profile, "-n", 2).stdout.split()
    assert sorted(new) == ["3.png", "4.png"]
    anybody = pamela("profile", "suggest", folder, "--model", model, "-n", 5).stdout.split()
    assert sorted(anybody) == ["0.png", "1.png", "3.png", "4.png", "more/2.png"]
    assert len(set(pamela("profile", "suggest", folder, "--model", model, "--pair").stdout.split())) == 2
    with pytest.raises(ProfileError, match="2 pictures, too few to choose 3"):
        pamela("profile", "suggest", folder, "--model", model, "--profile", profile, "-n", 3)


def test_compare_and_explain(folder, model, profile):
    files = folder / "0.png", folder / "1.png"
    options = "--model", model, "--profile", profile
    chance = float(pamela("profile", "compare", *files, *options).stdout)
    assert 0.5 < chance < 1
    assert float(pamela("profile", "compare", *reversed(files), *options).stdout) == pytest.approx(
        1 - chance, abs=1e-3
    )
    lines = pamela("profile", "explain", files[0], *options, "--top", 2).stdout.splitlines()
    score, *parts = [float(line.split()[0]) for line in lines]
    assert sum(parts) == pytest.approx(score, abs=3e-3)
    assert "the other 1" in lines[-1]


def test_rows_that_cannot_be_used_are_named(folder, model, table, tmp_path):
    rows = [*RATINGS.items(), ("nowhere.png", 3), ("3.png", "good"), ("3.png", ""), ("5.png", 2)]
    run = pamela("profile", "fit", folder, table(rows), "--model", model, "--scale", 1, 7, "--out", tmp_path / "ann")
    for text in (
        "line 5: there is no picture 'nowhere.png'",
        "line 6: the rating 'good'",
        "line 7: the rating ''",
        "5.png",
    ):
        assert text in run.stderr
    assert TasteProfile.from_pretrained(tmp_path / "ann").num_ratings == 3


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([("0.png", 8)], "file,rating", "line 2: the rating 8 of '0.png' is not from 1 to 7"),
        ([("0.png", "inf")], "file,rating", "is not from 1 to 7"),
        ([("0.png", 3)], "picture,stars", "columns picture, stars; expected file and rating"),
        ([("9.png", 3)], "file,rating", "no rating that can be used"),
        ([], "file,rating", "it has no rows"),
    ],
)
def test_tables_that_are_refused(folder, model, table, tmp_path, rows, header, message):
    with pytest.raises(DataError, match=message):
        pamela(
            "profile", "fit", folder, table(rows, header), "--model", model, "--scale", 1, 7, "--out", tmp_path / "x"
        )
    assert not (tmp_path / "x").exists()


def test_other_errors(folder, model, table, profile, tmp_path):
    fit = ("profile", "fit", folder, table(), "--model", model, "--out", tmp_path / "x")
    with pytest.raises(ProfileError, match="from a smaller to a larger"):
        pamela(*fit, "--scale", 7, 1)
    assert "--scale" in pamela(*fit, code=2).output
    with pytest.raises(DataError, match="no folder"):
        pamela("profile", "fit", folder / "0.png", table(), "--model", model, "--scale", 1, 7, "--out", tmp_path / "x")
    with pytest.raises(ProfileError, match="no readable taste profile"):
        pamela("profile", "show", tmp_path / "nothing")
    with pytest.raises(DataError, match="cannot be decoded"):
        pamela("profile", "compare", folder / "0.png", folder / "5.png", "--model", model, "--profile", profile)
    (tmp_path / "ratings.csv").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        pamela(*fit, "--scale", 1, 7)
    other = make_model(tmp_path / "other", 1)
    for command in (
        ["rank", folder],
        ["profile", "update", folder, table()],
        ["profile", "explain", folder / "0.png"],
    ):
        with pytest.raises(ProfileError, match="belongs to the model"):
            pamela(*command, "--model", other, "--profile", profile)
    shutil.rmtree(other)
