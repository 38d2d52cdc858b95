import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from modeling_pamela.data.images import ImageError
from modeling_pamela.data.scenes import sample_scenes
from modeling_pamela.evaluation.contact_sheet import Card, Section, write_contact_sheet


EVIL = "<script>alert('1')</script> \" onerror=\"x & 日本語"


class Page(HTMLParser):
    """Collects tags with their attributes and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def sections(tmp_path):
    pictures = [scene.render((96, 72)) for scene in sample_scenes(3, seed=0)]
    pictures[1].save(tmp_path / "picture & more.png")
    cards = [
        Card(pictures[0], EVIL, score=0.5, std=0.1, badge=EVIL),
        Card(tmp_path / "picture & more.png", "from a file", score=0.9),
        Card(pictures[2], "no score", badge="rated 4.5"),
    ]
    return [Section(EVIL, EVIL, cards), Section("Nothing", "No cards.", [])]


def write(path, sections):
    return write_contact_sheet(path, EVIL, sections).read_text("utf-8")


def test_page_is_whole_and_self_contained(tmp_path, sections):
    text = write(tmp_path / "page.html", sections)
    page = Page(text)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [p["alt"] for p in pictures] == [EVIL, "from a file", "no score"]
    for picture in pictures:
        kind, _, data = picture["src"].partition("base64,")
        assert kind == "data:image/jpeg;"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (96, 72)
        assert (picture["width"], picture["height"]) == ("96", "72")
    assert "http://" not in text
    assert "https://" not in text
    assert text.endswith("</html>\n")


def test_no_text_is_read_as_html(tmp_path, sections):
    page = Page(write(tmp_path / "page.html", sections))
    assert "script" not in [tag for tag, _ in page.tags]
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    # Title, page heading, section heading, paragraph, badge, caption.
    assert sum(EVIL in words for words in page.words) == 6


def test_uncertainty_is_drawn_to_scale(tmp_path, sections):
    text = write(tmp_path / "page.html", sections)
    assert "<strong>0.50</strong><small> ± 0.10</small>" in text
    assert 'class="whisker" style="left:40.00%;width:20.00%"' in text
    assert text.count('class="whisker"') == 1
    assert text.count('class="fill"') == 2


def test_axis_grows_with_scores_outside_the_scale(tmp_path):
    picture = Image.new("RGB", (20, 20), "teal")
    cards = [Card(picture, "low", -0.5, 0.5), Card(picture, "high", 2.0, 1.0), Card(picture, "zero", -0.001)]
    text = write(tmp_path / "page.html", [Section("All", "", cards)])
    spans = [tuple(map(float, span)) for span in re.findall(r"left:([\d.-]+)%;width:([\d.-]+)%", text)]
    assert spans == [(0, 25), (50, 50)]
    assert "Bars run from -1 to 3" in text
    assert "-0.00" not in text


def test_bytes_are_deterministic_and_large_pictures_shrink(tmp_path, sections):
    assert write(tmp_path / "a.html", sections) == write(tmp_path / "b.html", sections)
    large = Image.effect_noise((2000, 1000), 60).convert("CMYK")
    text = write(tmp_path / "large.html", [Section("", "", [Card(large, "")])])
    assert 'width="480" height="240"' in text
    assert 'alt="picture without a caption"' in text
    assert large.size == (2000, 1000)  # the caller's picture is left as it was


@pytest.mark.parametrize(("score", "std"), [(float("nan"), None), (0.5, float("inf")), (0.5, -0.1), (None, 0.1)])
def test_scores_that_cannot_be_drawn_are_refused(score, std):
    with pytest.raises(ValueError, match="expected a"):
        Card(Image.new("RGB", (8, 8)), "x", score, std)


def test_a_broken_picture_leaves_the_old_page(tmp_path, sections):
    before = write(tmp_path / "page.html", sections)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"broken\.png"):
        write(tmp_path / "page.html", [Section("", "", [Card(tmp_path / "broken.png", "")])])
    assert (tmp_path / "page.html").read_text("utf-8") == before
    assert not list(tmp_path.glob(".*"))
