import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_pamela.data.images import ImageError
from modeling_pamela.demo import Demo, Gallery, learn
from modeling_pamela.demo_page import write_demo_page


CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = '<script>alert("1")</script>&.png'


@pytest.fixture
def gallery(tiny_pictures):
    colours = np.linspace(0, 255, 9).astype(int)
    pictures = [Image.new("RGB", (400, 300), (int(colour), 90, 120)) for colour in colours]
    return Gallery([HOSTILE, *(f"{row}.png" for row in range(1, 9))], pictures, tiny_pictures["image_embeds"])


@pytest.fixture
def two(tiny_model, gallery):
    truth = np.linspace(1, 5, 9)
    people = [
        learn(tiny_model, gallery, [8, 3], ratings, (1, 5), f"Person {name}", "Likes red.", opinion)
        for name, ratings, opinion in (("A", [5.0, 2.0], truth), ("B", [1.0, 4.0], 6 - truth))
    ]
    return Demo(gallery, people, simulated=True)


@pytest.fixture
def one(tiny_model, gallery):
    return Demo(gallery, [learn(tiny_model, gallery, [8, 3, 8], [5.0, 2.0, 4.0], (1, 5), "You")], simulated=False)


def test_everything_is_inside_and_nothing_runs(two, tiny_model, tmp_path):
    page = write_demo_page(tmp_path / "new" / "page.html", two, tiny_model).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r"""(?:src|href)=|url\((?!data:image/jpeg;base64,)|@import""", page)
    # Nine pictures, each once, though most are shown for both people.
    assert page.count("data:image/jpeg") == 9
    assert page.count('class="pic p0"') > 1
    assert write_demo_page(tmp_path / "again.html", two, tiny_model).read_text() == page


def test_simulations_and_personal_data_are_called_so(two, one, tiny_model, tmp_path):
    simulated = write_demo_page(tmp_path / "two.html", two, tiny_model).read_text()
    own = write_demo_page(tmp_path / "one.html", one, tiny_model).read_text()
    assert "no person gave any rating" in simulated
    assert len(re.findall(r"For Person [AB] <small>simulated</small>", simulated)) == 2 * 4
    assert "Personal data" in own
    assert "simulated" not in own.lower()
    assert "true opinion" in simulated
    assert "true opinion" not in own


def test_numbers_are_those_of_the_record(two, tiny_model, tmp_path):
    page = write_demo_page(tmp_path / "page.html", two, tiny_model).read_text()
    for person in two.people:
        assert f"{person.srocc[-1]:+.2f}".replace("-", "−") in page
        row = person.best_first[0]
        assert f"<em>1</em><b>{person.mean[-1, row]:.1f}</b><small>± {person.std[-1, row]:.1f}</small>" in page


def test_parts_of_an_explanation_add_up(one, tiny_model, tmp_path):
    page = write_demo_page(tmp_path / "page.html", one, tiny_model).read_text()
    table = re.search(r"<table>.*?</table>", page).group()
    *parts, total = [float(value.replace("−", "-")) for value in re.findall(r"<td>([+−]?\d+\.\d+)</td></tr>", table)]
    assert len(parts) == 1 + 3
    assert sum(parts) == pytest.approx(total, abs=0.03)  # rounding
    assert total == pytest.approx(
        one.people[0].mean[-1].max(where=np.isin(range(9), one.people[0].unrated), initial=-9), abs=0.006
    )


def test_a_picture_that_is_gone(one, tiny_model, tmp_path):
    gone = Gallery(one.gallery.names, [tmp_path / "gone.png"] * 9, one.gallery.image_embeds)
    with pytest.raises(ImageError, match="there is no such file"):
        write_demo_page(tmp_path / "page.html", Demo(gone, one.people, False), tiny_model)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium")
@pytest.mark.parametrize("width", [360, 1200])
def test_it_fits_the_screen(two, one, tiny_model, tmp_path, width):
    browsers = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with browsers.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": width, "height": 800})
        asked: list[str] = []
        view.on("request", lambda request: asked.append(request.url))
        for demo in (two, one):
            page = write_demo_page(tmp_path / "page.html", demo, tiny_model)
            view.goto(page.as_uri())
            assert view.evaluate("document.documentElement.scrollWidth") <= width
            assert view.locator(".pic").first.bounding_box()["width"] > 60
        assert all(url.startswith(("file:", "data:")) for url in asked)
        browser.close()
