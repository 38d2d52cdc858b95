"""The page: what it is told, who may ask, and a person's way through it in a real browser."""

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
from typer.testing import CliRunner

from modeling_pamela import TasteProfile
from modeling_pamela.cli import app
from modeling_pamela.data.files import DataError
from modeling_pamela.studio.answers import Answers
from modeling_pamela.studio.library import Library
from modeling_pamela.studio.rate import RatingPage, serve
from modeling_pamela.studio.session import RatingSession


pytest.importorskip("gradio", reason="needs the extra `studio`")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def start(folder, model, processor, tmp_path):
    """Start to rate, as `pamela rate` does; what was said before is still there."""
    started = []

    def start(wanted):
        out = tmp_path / "out"
        library = Library(folder, out / "embeddings.sqlite", model.encoder("image"), processor)
        started.extend([library, answers := Answers(out / "answers.sqlite")])
        library.start()
        library.wait()
        return RatingPage(RatingSession(library, answers, model, wanted), out, "pamela rank pictures")

    yield start
    for each in started:
        each.close()


@pytest.fixture
def page(start):
    return start(wanted=2)


def test_views(page, folder):
    view = page.view()
    assert (view["stage"], view["rated"], view["wanted"], view["files"]) == ("ask", 0, 2, 8)
    assert view["src"].startswith("data:image/jpeg;base64,")
    assert str(folder) not in str(view)
    for rating in (1, 4.5):
        view = page.answer({"picture": page.view()["picture"], "rating": rating})
    assert view["stage"] == "rank"
    assert view["sheet"].count("<figure>") == 8
    assert "rated 4.5" in view["sheet"]
    assert TasteProfile.from_pretrained(page.out).num_ratings == 2
    assert (page.out / "ranking.html").exists()
    assert page.undo()["stage"] == "ask"
    assert page.answer({"picture": page.view()["picture"], "rating": 5})["stage"] == "rank"
    assert page.more()["wanted"] == 7


def test_a_picture_that_is_gone_is_left_out_of_the_ranking(page, folder):
    for _ in range(2):
        view = page.answer({"picture": page.view()["picture"], "rating": 3})
    page._ranked = None
    (folder / page.session.ranking()[0].image_id).unlink()
    assert page.view()["sheet"].count("<figure>") == 7
    (reason,) = page.view()["set_aside"]
    assert "No such file" in reason
    assert view["sheet"].count("<figure>") == 8


def test_the_profile_is_saved_before_all_is_encoded(page, folder, write_picture):
    library = page.session.library
    library.files.append(write_picture(library.folder / "late.png", 60))
    for picture in list(library.pictures())[:2]:
        view = page.answer({"picture": picture, "rating": 3})
    assert (view["stage"], view["finished"]) == ("wait", True)
    assert TasteProfile.from_pretrained(page.out).num_ratings == 2
    library._encode_some(library.files[-1:])
    assert page.view()["sheet"].count("<figure>") == 9


def status(address, path="", **headers):
    request = urllib.request.Request(address + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_only_its_own_page_is_answered(page, folder):
    blocks, address = serve(page, open_browser=False)
    try:
        port = int(address.rstrip("/").rpartition(":")[2])
        assert address.startswith("http://127.0.0.1:")
        assert status(address) == 200
        assert status(address, Origin=address.rstrip("/")) == 200
        # Another page in the same browser, and a name that was made to mean this machine.
        assert status(address, Origin="http://example.org") == 403
        assert status(address, Origin="null") == 403
        assert status(address, Host=f"example.org:{port}") == 403
        for file in (folder / "0.png", page.out / "answers.sqlite"):
            assert status(address, f"gradio_api/file={file}") in (403, 404)
        with pytest.raises(DataError, match=f"Port {port} of 127.0.0.1 is in use"):
            serve(page, port, open_browser=False)
    finally:
        blocks.close()


def test_without_gradio_the_extra_is_named(page, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)  # what an import finds where it is not installed
    with pytest.raises(DataError, match=r"modeling-pamela\[studio\]"):
        serve(page, open_browser=False)


@pytest.fixture
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium, which is not installed")
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_a_persons_way_through_it(chromium, start, folder, tmp_path):
    blocks, address = serve(start(wanted=4), open_browser=False)
    tab = chromium.new_page(viewport={"width": 1200, "height": 900})
    elsewhere, faults = [], []
    tab.on("request", lambda request: elsewhere.append(request.url))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    stage = lambda name: tab.wait_for_selector(f".rate[data-stage={name}]:not(.busy)", timeout=60_000)  # noqa: E731
    counted = lambda number: tab.wait_for_function(  # noqa: E731
        "text => document.querySelector('.count').textContent.startsWith(text) && !document.querySelector('.rate.busy')",
        arg=f"{number} of",
        timeout=30_000,
    )
    shown = lambda: tab.get_attribute(".picture", "title")  # noqa: E731

    tab.goto(address)
    stage("ask")
    assert tab.inner_text(".count") == "0 of 4 rated"
    first = shown()
    assert (folder / first).exists()
    assert tab.evaluate("document.querySelector('.picture').naturalWidth") == 96

    # Nothing is saved that was not said.
    tab.keyboard.press("Enter")
    assert "Set the slider first" in tab.inner_text(".note")
    # Keys.
    tab.keyboard.press("5")
    tab.keyboard.press("ArrowLeft")
    assert tab.get_attribute("#rating", "aria-valuetext") == "4.90, near excellent"
    tab.keyboard.press("Enter")
    counted(1)
    second = shown()
    assert second != first
    # The slider, by the mouse: three quarters of the way are "good".
    box = tab.locator("#rating").bounding_box()
    tab.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    assert float(tab.inner_text("output")) == pytest.approx(4, abs=0.1)
    tab.click(".save")
    counted(2)
    third = shown()
    # Undo asks again; so does a reload ask for the same picture.
    tab.keyboard.press("u")
    counted(1)
    assert shown() == second
    tab.keyboard.press("2")
    tab.keyboard.press("Enter")
    counted(2)
    third = shown()
    tab.reload()
    stage("ask")
    counted(2)
    assert shown() == third
    tab.keyboard.press("s")
    tab.wait_for_function("document.querySelector('.count').textContent.includes('1 skipped')")

    # The program stops; the page says so. A second start goes on, in another tab, too.
    blocks.close()
    tab.keyboard.press("3")
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelector('.note').textContent.includes('does not answer')", timeout=30_000)
    assert not faults
    blocks, address = serve(start(wanted=4), open_browser=False)
    tab.goto(address)
    stage("ask")
    counted(2)
    assert "1 skipped" in tab.inner_text(".count")
    other = chromium.new_page()
    other.goto(address)
    other.wait_for_selector(".rate[data-stage=ask]:not(.busy)", timeout=60_000)
    assert other.get_attribute(".picture", "title") == shown()
    tab.keyboard.press("1")
    tab.keyboard.press("Enter")
    counted(3)
    other.keyboard.press("5")
    other.keyboard.press("Enter")
    other.wait_for_selector(".rate[data-stage=rank]", timeout=60_000)

    # The ranking, in the browser and on the disk.
    tab.reload()
    stage("rank")
    sheet = tab.frame_locator("iframe")
    sheet.locator("figure").first.wait_for(timeout=30_000)
    person = TasteProfile.from_pretrained(tmp_path / "out")
    ratings = [1 + 4 * rating for rating in person.evidence.ratings.tolist()]
    assert ratings == pytest.approx([4.9, 2.0, 1.0, 5.0])
    assert person.evidence.rating_ids[:2] == [first, second]
    assert third not in person.evidence.rating_ids
    captions = sheet.locator("figcaption > span").all_inner_texts()
    assert sorted(captions) == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert tab.inner_text(".command") == "pamela rank pictures"
    # On a narrow window nothing runs out of it.
    tab.set_viewport_size({"width": 390, "height": 780})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.click(".rank .more")
    stage("ask")
    assert tab.evaluate(
        "[document.documentElement.scrollWidth <= 390, document.documentElement.scrollHeight <= 780]"
    ) == [True, True]

    assert not faults
    assert all(url.startswith(("http://127.0.0.1:", "data:", "about:")) for url in elsewhere)
    blocks.close()


@pytest.fixture
def interruptible():
    """What a shell starts in the background ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_command_until_it_is_interrupted(folder, checkpoint, tmp_path, interruptible):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    printed = tmp_path / "printed.txt"

    def interrupt():
        while "http://" not in printed.read_text():
            time.sleep(0.05)
        answered.append(status(f"http://127.0.0.1:{port}/"))
        os.kill(os.getpid(), signal.SIGINT)

    answered = []
    Answers(tmp_path / "me" / "answers.sqlite").add("0a", "elsewhere.png", 3.0)
    options = {"--model": checkpoint, "--out": tmp_path / "me", "-n": 2, "--port": port}
    with printed.open("w", buffering=1) as output, contextlib.redirect_stdout(output):
        threading.Thread(target=interrupt, daemon=True).start()
        arguments = [str(part) for option in options.items() for part in option]
        app(["rate", str(folder), *arguments, "--no-browser"], standalone_mode=False)
    assert answered == [200]
    text = printed.read_text()
    assert f"8 pictures. Rate some of them at http://127.0.0.1:{port}/" in text
    assert "1 of 2 rated" in text
    assert "Run the same command again" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["rate", "nowhere"], "There is no folder nowhere"), (["rate", "empty"], "There is no picture in empty")],
)
def test_folders_that_are_refused(checkpoint, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    run = CliRunner().invoke(app, [*arguments, "--model", str(checkpoint)])
    assert isinstance(run.exception, DataError)
    assert message in str(run.exception)
    assert not (tmp_path / "my-taste").exists()
