"""The page of a search."""

from PIL import Image

from modeling_pamela.steering.base import Candidate
from modeling_pamela.steering.contact_sheet import SteeredRun, write_steering_page
from modeling_pamela.steering.guards import Guards
from modeling_pamela.steering.search import SearchResult


def write_run(folder, person="Ann <3", prompt="a lake"):
    Image.new("RGB", (16, 12), "teal").save(folder / "0.png")

    def candidate(index, round_number, score, std=0.1, refused=None):
        seen = {} if score is None else {"score": score, "std": std, "picture": "0.png"}
        return Candidate(index, round_number, f"{prompt}, {index}", refused=refused, **seen)

    history = [
        candidate(0, 0, 0.5),
        *(candidate(index, 1, 0.6 - index / 100) for index in range(1, 7)),
        candidate(7, 1, 0.95, refused="population: score lower"),
        candidate(8, 1, None, refused="content: something else"),
        candidate(9, 1, None, refused="duplicate: the same"),
        candidate(10, 2, 0.61, std=0.5),  # a higher score that is less sure
    ]
    result = SearchResult([], [history[1]], history, "patience", 1.0)
    return SteeredRun(person, prompt, result, Guards(beta=0.5), folder)


def test_a_row_a_round(tmp_path):
    run = write_run(tmp_path)
    page = write_steering_page(tmp_path / "page.html", [run], "By a stand-in.").read_text()
    assert "By a stand-in." in page
    assert "Ann &lt;3 from 0.50 to 0.59." in page
    assert "Ann &lt;3 +0.09" in page
    first, second = page.split("<h2>Ann &lt;3, round 1</h2>")[1].split("<h2>Ann &lt;3, round 2</h2>")
    assert "Proposals: 9. Pictures: 7, the best 5 shown. Refused: population 1, content 1, duplicate 1." in first
    assert "Best so far 0.59." in first
    assert [f"a lake, {index}<" in first for index in (1, 2, 3, 4, 5, 6, 7)] == [True] * 5 + [False] * 2
    assert first.count("best so far +0.09") == 1
    assert "Proposals: 1. Pictures: 1. Nothing above 0.59." in second
    assert 'class="badge"' not in second


def test_people_side_by_side(tmp_path):
    runs = [write_run(tmp_path, person, prompt) for prompt in ("a lake", "a castle") for person in ("Ann", "Bob")]
    page = write_steering_page(tmp_path / "page.html", runs).read_text()
    overview = page.split("<h2>a castle</h2>")[1].split("<h2>")[0]
    # The picture asked for has no score of its own, since everybody has another.
    assert overview.count("<img ") == 3
    assert overview.count('class="bar"') == 2
    assert page.index("<h2>a lake</h2>") < page.index("<h2>a castle</h2>") < page.index("Ann: a lake, round 1")
