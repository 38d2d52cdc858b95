import pytest
from typer.testing import CliRunner

from modeling_pamela.cli import app
from modeling_pamela.data.files import DataError
from modeling_pamela.data.scenes import sample_scenes


pytestmark = pytest.mark.usefixtures("one_thread")


def pamela_demo(*arguments: object):
    return CliRunner().invoke(app, ["demo", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for number, scene in enumerate(sample_scenes(5, seed=0)):
        scene.render((64, 48)).save(folder / ("more" if number % 2 else "") / f"{number}.webp")
    return folder


def test_own_pictures(folder, tmp_path):
    ratings, page = tmp_path / "ratings.csv", tmp_path / "page.html"
    ratings.write_text("file,rating\n0.webp,7\nmore/1.webp,1\nnone.webp,3\n")
    run = pamela_demo("--pictures", folder, "--ratings", ratings, "--scale", 1, 7, "--html", page)
    assert run.exit_code == 0, run.output
    assert "there is no picture 'none.webp'" in run.output
    assert "best of 3 new pictures" in run.output
    assert "more/3.webp" in page.read_text()


def test_a_saved_profile(folder, tmp_path):
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("file,rating\n0.webp,7\nmore/1.webp,1\n")
    arguments = [folder, ratings, "--model", "pamela-small", "--scale", 1, 7, "--out", tmp_path / "me"]
    assert CliRunner().invoke(app, ["profile", "fit", *map(str, arguments)]).exit_code == 0
    pages = []
    for source in (["--ratings", ratings, "--scale", 1, 7], ["--profile", tmp_path / "me"]):
        page = tmp_path / "page.html"
        run = pamela_demo("--pictures", folder, *source, "--html", page)
        assert run.exit_code == 0, run.output
        pages.append(page.read_text())
    assert pages[0] == pages[1]

    (folder / "0.webp").unlink()
    run = pamela_demo("--pictures", folder, "--profile", tmp_path / "me", "--html", page)
    assert "Set aside: the rating of '0.webp'" in run.output
    (folder / "more" / "1.webp").unlink()
    run = pamela_demo("--pictures", folder, "--profile", tmp_path / "me", "--html", page)
    assert "no rating of a picture that is there" in str(run.exception)


def test_pictures_or_ratings_alone(folder, tmp_path):
    ratings = ["--ratings", tmp_path / "ratings.csv"]
    for arguments, message in (
        (["--pictures", folder], "either --profile"),
        (ratings, "either --profile"),
        ([*ratings, "--profile", tmp_path, "--pictures", folder], "exclude each other"),
    ):
        run = pamela_demo(*arguments, "--html", tmp_path / "page.html")
        assert isinstance(run.exception, DataError)
        assert message in str(run.exception)


def test_what_is_wrong_is_told_before_pictures_are_encoded(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("modeling_pamela.cli.pictures.encode_pictures", None)
    own = ["--pictures", folder, "--ratings", tmp_path / "ratings.csv"]
    assert "cannot be read (No such file" in str(pamela_demo(*own, "--html", tmp_path / "page.html").exception)
    assert pamela_demo("--html", folder).exit_code == 2
    (tmp_path / "ratings.csv").write_text("file,rating\n0.webp,7\n")
    assert "not from 1 to 5" in str(pamela_demo(*own, "--html", tmp_path / "page.html").exception)
    own[1] = tmp_path / "nothing"
    assert "There is no folder" in str(pamela_demo(*own, "--html", tmp_path / "page.html").exception)


def test_a_long_list_of_problems_is_cut(folder, tmp_path):
    rows = "".join(f"gone{number}.webp,3\n" for number in range(9))
    (tmp_path / "ratings.csv").write_text(f"file,rating\n0.webp,4\n{rows}")
    run = pamela_demo("--pictures", folder, "--ratings", tmp_path / "ratings.csv", "--html", tmp_path / "page.html")
    assert run.output.count("Set aside: ") == 6
    assert "4 more of this kind" in run.output
