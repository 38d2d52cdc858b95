"""The page on which a person rates their pictures: Gradio serves it to this machine alone, and nothing of it comes from elsewhere."""

import base64
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from PIL import Image

from ..data.files import DataError
from ..evaluation.contact_sheet import Card, Section, write_contact_sheet
from ..taste.profile import ProfileError, RankedPicture
from .answers import HIGHEST, LOWEST, Answer
from .session import MAX_POOL, Question, RatingSession


if TYPE_CHECKING:
    from gradio import Blocks
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["RatingPage", "serve"]

HOST = "127.0.0.1"
# Of a picture as it is shown: sharp on a large screen, quick to send.
_SHOWN = (1600, 1600)
# Of one in the ranking.
_CARD = (480, 480)
# Pictures on the page of the ranking: the best, and where there are more, the last.
_BEST, _LAST = 20, 10
_MORE = 5

_FILES = Path(__file__).parent / "page"


class RatingPage:
    """
    What the page asks of the session, as JSON.

    Args:
        session ([`RatingSession`]): The session.
        out (`Path`): Folder to write the profile and the page of the ranking to.
        command (`str`): How to use the profile, to be shown.
    """

    def __init__(self, session: RatingSession, out: Path, command: str) -> None:
        self.session, self.out, self.command = session, out, command
        self._saved: list[Answer] | None = None
        self._ranked: tuple[list[Answer], str] | None = None

    def view(self, question: Question | None = None) -> dict[str, Any]:
        """What is to be seen: a question, the folder ranked, or that the pictures are being encoded."""
        session = self.session
        if session.library.failure is not None:
            raise DataError(f"The pictures could not all be encoded: {session.library.failure}")
        question = question or session.next()
        progress = session.progress()
        view: dict[str, Any] = {
            "stage": "wait",
            "rated": progress.rated,
            "skipped": progress.skipped,
            "wanted": progress.wanted,
            "left": progress.left,
            "encoded": progress.encoded,
            "files": progress.files,
            "finished": session.finished,
            "pool": MAX_POOL,
            "set_aside": session.set_aside(),
        }
        if question is not None:
            view |= {
                "stage": "ask",
                "picture": question.picture,
                "name": question.name,
                "src": _data_url(question.image),
            }
        elif session.finished:
            answers = session.answers.standing()
            if answers != self._saved:
                session.profile().save_pretrained(self.out)
                self._saved = answers
            if session.library.complete:
                view |= {"stage": "rank", "sheet": self._sheet(answers), "command": self.command, "out": str(self.out)}
        return view

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Keep an answer (`picture` and `rating`, or `None` to skip), then what is to be seen."""
        rating = given["rating"]
        self.session.answer(given["picture"], None if rating is None else float(rating))
        return self.view()

    def undo(self) -> dict[str, Any]:
        """Take the last answer back, then what is to be seen."""
        return self.view(self.session.undo())

    def more(self) -> dict[str, Any]:
        """Ask for further ratings, then what is to be seen."""
        self.session.more(_MORE)
        return self.view()

    def _sheet(self, answers: list[Answer]) -> str:
        """The page of the ranking, made and written once for the same answers."""
        if self._ranked is None or self._ranked[0] != answers:
            session = self.session
            person, ranking = session.profile(), session.ranking()
            rated = dict(zip(person.evidence.rating_ids, person.evidence.ratings.tolist(), strict=True))

            def cards(pictures: list[RankedPicture]) -> Iterator[Card]:
                for name, mean, std in pictures:
                    if image := session.open(session.library.folder / name):
                        image.thumbnail(_CARD)
                        given = f"rated {LOWEST + (HIGHEST - LOWEST) * rated[name]:.3g}" if name in rated else None
                        yield Card(image, name, mean, std, given)

            best, last = ranking[:_BEST], ranking[_BEST:][-_LAST:]
            known = f"{person.num_ratings} rating{'' if person.num_ratings == 1 else 's'}"
            text = (
                f"The best {len(best)} of {len(ranking)}. " if last else ""
            ) + f"Scores are what {known} lead to expect: 0 is bad, 1 excellent; ± is how unsure the model is."
            if not person.num_ratings:
                text = "Nothing was rated, so this is how people like these pictures on average."
            sections = [Section("Best first", text, [*cards(best)])]
            if last:
                sections.append(Section("At the end", f"The last {len(last)}.", [*cards(last)]))
            page = write_contact_sheet(self.out / "ranking.html", "Your pictures, ranked for you", sections)
            self._ranked = answers, page.read_text(encoding="utf-8")
        return self._ranked[1]

    def blocks(self) -> "Blocks":
        """The page itself."""
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
        try:
            import gradio as gr
        except ModuleNotFoundError as error:
            raise DataError("The page needs Gradio: pip install 'modeling-pamela[studio]'") from error

        def told(step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            """Errors that say what to do are for the person; others are faults, and go to the terminal as well."""
            try:
                return step()
            except (DataError, ProfileError, OSError) as error:
                return {"error": str(error)}

        # One argument each: what the page hands over.
        def view_now(_: object) -> dict[str, Any]:
            return told(self.view)

        def give_answer(given: dict[str, Any]) -> dict[str, Any]:
            return told(lambda: self.answer(given))

        def take_back(_: object) -> dict[str, Any]:
            return told(self.undo)

        def ask_more(_: object) -> dict[str, Any]:
            return told(self.more)

        with gr.Blocks(title="Rate your pictures", analytics_enabled=False, fill_height=True) as blocks:
            gr.HTML(
                html_template=(_FILES / "rate.html").read_text(encoding="utf-8"),
                js_on_load=(_FILES / "rate.js").read_text(encoding="utf-8"),
                apply_default_css=False,
                server_functions=[view_now, give_answer, take_back, ask_more],
            )
        return blocks


def serve(page: RatingPage, port: int | None = None, open_browser: bool = True) -> "tuple[Blocks, str]":
    """
    Serve the page at 127.0.0.1, in a thread.

    Args:
        page ([`RatingPage`]): The page.
        port (`int`, *optional*): Where; the first free one from 7860 where not given.
        open_browser (`bool`): Whether to open it in the person's browser.

    Returns:
        `(gradio.Blocks, str)`: What to close in the end, and the address.

    Raises:
        DataError: The port is in use, or Gradio is not installed.
    """
    blocks = page.blocks()
    from gradio.themes import Base
    from starlette.middleware import Middleware

    try:
        _, address, _ = blocks.launch(
            server_name=HOST,
            server_port=port,
            inbrowser=open_browser,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            footer_links=[],
            head=f"<style>{(_FILES / 'rate.css').read_text(encoding='utf-8')}</style>",
            # Names of fonts that are there; Gradio's own theme would ask a font server.
            theme=Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
            app_kwargs={"middleware": [Middleware(_OwnPageOnly)]},
        )
    except OSError as error:
        if port is None:
            raise
        raise DataError(f"Port {port} of {HOST} is in use. Name another with --port, or none.") from error
    return blocks, address


class _OwnPageOnly:
    """Other pages that are open in the browser can send requests to this machine, too: they name themselves, and are refused."""

    def __init__(self, app: "ASGIApp") -> None:
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "http":
            from starlette.responses import PlainTextResponse

            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            host = headers.get("host", "")
            origin = urlsplit(headers.get("origin", f"http://{host}")).netloc
            if host.rpartition(":")[0] not in (HOST, "localhost") or origin != host:
                await PlainTextResponse("Only for the page of this machine.", 403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _data_url(image: Image.Image) -> str:
    """The picture inside of the page: no path on this machine can be asked for, and every format is shown by every browser."""
    shown = image.copy()
    shown.thumbnail(_SHOWN, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
