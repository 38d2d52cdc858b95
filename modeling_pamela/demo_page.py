"""The demo as one HTML file: pictures, charts and styles inside, no script, no network."""

import base64
import io
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from .data.files import atomic_write
from .data.images import open_image
from .demo import Demo, Record, ranks
from .modeling_pamela import PamelaForPersonalizedScoring


__all__ = ["write_demo_page"]

# Twice the width of a card on a phone, for sharp screens.
_THUMBNAIL = (360, 360)
_JPEG_QUALITY = 82
# So many pictures open and close a ranking, ratings are told one by one, and ratings explain a score.
_BEST, _LAST, _TOLD, _REASONS = 6, 3, 30, 5
_SIMULATED = "Everything here is simulated: the pictures are generated, and no person gave any rating."


def write_demo_page(path: str | Path, demo: Demo, model: PamelaForPersonalizedScoring) -> Path:
    """
    Write the page. Every picture that it shows is in it once; the same arguments give the same bytes.

    Args:
        path (`str` or `Path`): HTML file to write; replaced as a whole.
        demo ([`~modeling_pamela.demo.Demo`]): What to show.
        model ([`PamelaForPersonalizedScoring`]): The model that the profiles were made with.

    Returns:
        `Path`: The file.

    Raises:
        ImageError: A picture's file cannot be used.
    """
    page = _Page(demo, model)
    body = "\n".join(page.sections())
    title = escape(page.title)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<title>{title}</title>\n'
            f"<style>\n{_STYLE}{page.picture_styles()}</style>\n</head>\n"
            f'<body class="people-{len(demo.people)}">\n<main>\n{body}\n</main>\n</body>\n</html>\n'
        )
    return Path(path)


class _Page:
    def __init__(self, demo: Demo, model: PamelaForPersonalizedScoring) -> None:
        self.demo, self.model = demo, model
        self.low, self.high = demo.people[0].profile.scale
        shown = [(person.mean[-1], person.std[-1]) for person in demo.people]
        # One axis for all bars: the scale, or as far as scores and their whiskers go.
        self.axis = (
            min(self.low, *(float((mean - std).min()) for mean, std in shown)),
            max(self.high, *(float((mean + std).max()) for mean, std in shown)),
        )
        # As fine as a slider of the scale is read.
        self.digits = 1 if self.high - self.low > 2 else 2
        self.unrated = demo.people[0].unrated
        self.num_ratings = len(demo.people[0].ratings)
        self.used: set[int] = set()

    @property
    def title(self) -> str:
        count = f"{self.num_ratings} rating{'' if self.num_ratings == 1 else 's'}"
        return f"{count}, two opposite tastes" if self.demo.simulated else f"What {count} of yours taught"

    def sections(self) -> Iterator[str]:
        yield self._header()
        yield self._rankings()
        yield self._progress()
        yield self._ratings()
        yield self._reasons()
        yield self._next()
        yield self._footer()

    # Sections -------------------------------------------------------------------------------------------------------

    def _header(self) -> str:
        if self.demo.simulated:
            lead = (
                f"A model that knew nothing of these two asked both about the same {self.num_ratings} pictures. From their answers, and "
                f"what people like on average, it ranks {len(self.unrated)} others."
            )
            notice = f'<p class="notice"><strong>Simulated.</strong> {_SIMULATED}</p>\n'
            cards = "".join(
                f'<div class="person {_letter(number)}"><h2>{escape(person.name)} <small>simulated</small></h2>'
                f"<p>{escape(person.taste)}</p>{self._agreement(person)}</div>\n"
                for number, person in enumerate(self.demo.people)
            )
            fine = (
                "The numbers are the Spearman correlation of the model's ranking with the person's true opinion, over the "
                f"{len(self.unrated)} pictures that were not rated: 1 is the same order, 0 no relation, −1 the reverse."
            )
            return (
                f'<header>\n<h1>{escape(self.title)}</h1>\n<p class="lead">{lead}</p>\n{notice}'
                f'<div class="pair">\n{cards}</div>\n<p class="fine below">{fine}</p>\n</header>'
            )
        lead = (
            f"You rated {self.num_ratings} pictures from {self.low:g} to {self.high:g}. From these answers and what it knows of "
            f"other people the model ranks {len(self.unrated)} that you did not rate."
        )
        notice = '<p class="notice"><strong>Personal data.</strong> This page shows what you like, and holds the pictures it shows.</p>\n'
        guess = self._guess(self.demo.people[0])
        return (
            f'<header>\n<h1>{escape(self.title)}</h1>\n<p class="lead">{lead}</p>\n{notice}<p>{guess}</p>\n</header>'
        )

    def _agreement(self, person: Record) -> str:
        before, after = (float(person.srocc[step]) for step in (0, -1))
        return (
            f'<p class="numbers"><span><b>{_signed(before)}</b> before any rating</span><span><b>{_signed(after)}</b> after '
            f"{self.num_ratings} ratings</span></p>"
        )

    def _guess(self, person: Record) -> str:
        """How far off the model was before it heard each rating: known for people and simulations alike."""
        expected = np.abs(person.guesses - person.ratings).mean()
        ignorant = np.abs(person.mean[0, person.rated] - person.ratings).mean()
        whose = "your" if not self.demo.simulated else "the"
        return (
            f"Guesses made before each of {whose} {self.num_ratings} ratings was heard were {expected:.2f} points off on average; "
            f"without learning from the earlier ones, {ignorant:.2f}."
        )

    def _rankings(self) -> str:
        places = dict(zip(self.unrated, ranks(self.demo.people[0].mean[0, self.unrated]), strict=True))
        total = len(self.unrated)
        best = min(_BEST, total)
        last = min(_LAST, total - best)
        columns = []
        for number, person in enumerate(self.demo.people):
            order = person.best_first
            cards = [self._card(person, row, place + 1, places[row]) for place, row in enumerate(order[:best])]
            tail = [
                self._card(person, row, total - last + place + 1, places[row])
                for place, row in enumerate(order[total - last :])
            ]
            columns.append(
                f'<div class="person {_letter(number)}"><h3>{self._whom(person)}</h3>\n<ol class="cards">{"".join(cards)}</ol>'
                + (f'<h4>… and last</h4>\n<ol class="cards">{"".join(tail)}</ol>' if tail else "")
                + "</div>"
            )
        text = (
            f"Best first, of {total} pictures that {'neither' if len(self.demo.people) == 2 else 'you'} "
            f"{'rated' if len(self.demo.people) == 2 else 'did not rate'}. The bar is the expected rating, from {self.low:g} to "
            f"{self.high:g}; the whisker one standard deviation to either side: how unsure the model is. “Everybody’s” is the picture's "
            "place in the ranking for nobody in particular."
        )
        heading = "The same pictures, ranked for each" if len(self.demo.people) == 2 else "Your ranking"
        return _section(heading, text, f'<div class="pair" id="rankings">\n{"".join(columns)}\n</div>')

    def _card(self, person: Record, row: int, place: int, population: int) -> str:
        mean, std = float(person.mean[-1, row]), float(person.std[-1, row])
        # Files have names to find them by; of generated pictures it is more telling what the person truly thinks.
        known = (
            escape(self.demo.gallery.names[row])
            if person.truth is None
            else f"true opinion {person.truth[row]:.{self.digits}f}"
        )
        return (
            f'<li>{self._picture(row)}<div class="text"><div class="score"><em>{place}</em><b>{mean:.{self.digits}f}</b>'
            f"<small>± {std:.{self.digits}f}</small></div>{self._bar(mean, std)}<small>{known}<br>everybody’s #{population}</small></div></li>\n"
        )

    def _progress(self) -> str:
        charts = []
        for number, person in enumerate(self.demo.people):
            charts.append(
                f'<figure class="person {_letter(number)}"><figcaption>{self._whom(person)}</figcaption>'
                f"{self._trajectories(person)}</figure>"
            )
        explained = (
            "Each thin line is a picture that was not rated: how its score stands to the mean of all. (That all scores move up or "
            "down together changes no ranking.) "
        )
        if self.demo.simulated:
            key = (
                '<p class="key"><span><i class="line likes"></i>in truth liked</span><span><i class="line dislikes"></i>in truth disliked'
                '</span><span><i class="line neutral"></i>neither</span><span>thick: means</span></p>'
            )
            text = (
                f"{explained}At the left the model knows nothing of the person, so both charts begin alike, with what people like on "
                "average. What the person truly likes should rise, what they dislike fall."
            )
            accuracy = (
                '<div class="pair beside"><figure><figcaption>Spearman correlation with the true opinion, as ratings come in</figcaption>'
                f'{self._accuracy()}</figure><p class="fine">{self._honesty()}</p></div>'
            )
        else:
            key = '<p class="key"><span><i class="line likes"></i>the best five in the end</span><span><i class="line neutral"></i>all others</span></p>'
            text = f"{explained}Every rating moves those most that are like what was rated."
            accuracy = ""
        return _section(
            "How the scores got there", text, f'{key}<div class="pair">\n{"".join(charts)}\n</div>\n{accuracy}'
        )

    def _honesty(self) -> str:
        return (
            f"With {len(self.unrated)} pictures, a correlation is only known to about ±{(len(self.unrated) - 1) ** -0.5:.2f}, and this is "
            "one draw of pictures and ratings, not a chosen one (<code>--seed</code> gives others; <code>benchmarks/demo.py</code> "
            "repeats it). The taste was chosen: it is one of about 20 rules that were tried, picked because ratings teach it well on average over "
            "draws. pamela-small was trained on photographs that people rated. Painted scenes are far from these, and nobody in "
            "training had so single-minded a taste: on photographs and real people its ranking is better from the start, and ratings "
            "change it less."
        )

    def _ratings(self) -> str:
        people = self.demo.people
        most = max(float(person.taught.max()) for person in people) or 1.0
        steps = range(self.num_ratings)
        left_out = ""
        if self.num_ratings > _TOLD:
            steps = np.sort(np.argsort(-people[0].taught, kind="stable")[:_TOLD]).tolist()
            left_out = f" Of {self.num_ratings} ratings the {_TOLD} that taught most are shown."
        rows = []
        for step in steps:
            row = people[0].rated[step]
            cells = "".join(
                f'<div class="person {_letter(number)}">{self._slider(person, step)}'
                f'<div class="taught"><span>taught</span>{_fill(person.taught[step] / most)}<small>{person.taught[step]:.2f}</small></div></div>'
                for number, person in enumerate(people)
            )
            rows.append(f"<li><em>{step + 1}</em>{self._picture(row)}{cells}</li>\n")
        asked = (
            "The model chose what to ask: the pictures whose ratings tell most about how anybody ranks the rest, alike for all, "
            "since nothing was known yet. "
            if self.demo.simulated
            else "Your ratings, in the order in which they were given. "
        )
        text = (
            f"{asked}Ring: what the model expected. Dot: the rating. “Taught” is by how many points it moved the scores of the other "
            f"pictures, on average; a surprise teaches more than a confirmation.{left_out}"
        )
        # Of one's own ratings the header says it.
        guesses = "".join(
            f'<p class="fine person {_letter(number)}"><b>{escape(person.name)}.</b> {self._guess(person)}</p>'
            for number, person in enumerate(people)
            if self.demo.simulated
        )
        names = "".join(
            f"<b class={_letter(number)}>{escape(person.name)}</b>" for number, person in enumerate(people)
        )
        head = f'<div class="ratings-head">{names}</div>' if len(people) == 2 else ""
        return _section(
            "What each rating taught", text, f'{head}<ol class="ratings">\n{"".join(rows)}</ol>\n{guesses}'
        )

    def _reasons(self) -> str:
        people = self.demo.people
        if len(people) == 2:
            apart = np.abs(people[0].mean[-1] - people[1].mean[-1])
            row = max(self.unrated, key=lambda place: apart[place])
            heading, about = (
                "Why they differ about this picture",
                "The picture on which the two scores lie furthest apart. ",
            )
        else:
            row = people[0].best_first[0]
            heading, about = "Why this picture comes first", ""
        columns = [
            f'<div class="person {_letter(number)}"><h3>{self._whom(person)}</h3><p class="big"><b>{person.mean[-1, row]:.2f}</b> '
            f"± {person.std[-1, row]:.2f}</p>{self._explanation(person, row)}</div>\n"
            for number, person in enumerate(people)
        ]
        text = (
            f"{about}A score is what anybody would give, plus a part for each rating: these are exact, not an approximation, and add up "
            "to the score."
        )
        return _section(
            heading,
            text,
            f'<div class="why"><div class="subject">{self._picture(row)}<small>{escape(self.demo.gallery.names[row])}</small></div>'
            f'<div class="pair">\n{"".join(columns)}</div></div>',
        )

    def _explanation(self, person: Record, row: int) -> str:
        explanation = person.profile.explain(self.model, image_embeds=self.demo.gallery.image_embeds[[row]])
        moves = (self.high - self.low) * explanation.contributions[0].numpy()
        order = np.argsort(-np.abs(moves), kind="stable")
        most = float(np.abs(moves).max()) or 1.0
        parts = [
            f'<tr><td colspan="2">what anybody would give</td><td>{self.low + (self.high - self.low) * float(explanation.prior):.2f}</td></tr>'
        ]
        for step in order[:_REASONS]:
            parts.append(
                f"<tr><td>{self._picture(person.rated[step])}</td><td>rated {person.ratings[step]:.{self.digits}f}"
                f'<div class="move {"up" if moves[step] > 0 else "down"}">{_fill(abs(moves[step]) / most)}</div></td>'
                f"<td>{_signed(moves[step])}</td></tr>"
            )
        if len(order) > _REASONS:
            rest = float(moves[order[_REASONS:]].sum())
            parts.append(
                f'<tr><td colspan="2">the other {len(order) - _REASONS} ratings</td><td>{_signed(rest)}</td></tr>'
            )
        parts.append(f'<tr class="sum"><td colspan="2">score</td><td>{person.mean[-1, row]:.2f}</td></tr>')
        return f"<table>{''.join(parts)}</table>"

    def _next(self) -> str:
        columns = []
        for number, person in enumerate(self.demo.people):
            embeds = self.demo.gallery.image_embeds[person.unrated]
            row = person.unrated[int(person.profile.suggest_next(self.model, 1, image_embeds=embeds))]
            mean, std = float(person.mean[-1, row]), float(person.std[-1, row])
            columns.append(
                f'<div class="person {_letter(number)}"><h3>{self._whom(person)}</h3>\n<ol class="cards one"><li>{self._picture(row)}'
                f'<div class="text"><div class="score"><b>{mean:.{self.digits}f}</b><small>± {std:.{self.digits}f} expected</small></div>{self._bar(mean, std)}'
                f"<small>{escape(self.demo.gallery.names[row])}</small></div></li></ol></div>"
            )
        text = (
            "The picture whose rating would take most from what is still uncertain in the ranking of the rest. It need be neither the "
            "best nor the most uncertain one: it is one that tells much about others."
        )
        return _section("What to ask next", text, f'<div class="pair">\n{"".join(columns)}\n</div>')

    def _footer(self) -> str:
        first = np.mean([person.std[0, person.unrated].mean() for person in self.demo.people])
        final = np.mean([person.std[-1, person.unrated].mean() for person in self.demo.people])
        about = (
            "pictures without captions, painted by code; the two people are a rule and some noise"
            if self.demo.simulated
            else "your pictures, without captions"
        )
        return (
            f"<footer><p>{self.num_ratings} ratings took the mean standard deviation of a score from {first:.2f} to {final:.2f} points. "
            f"What the model saw: {about}. A taste is a Gaussian posterior in closed form over a frozen picture encoder "
            f"({escape(str(self.model.config.image_encoder))}); a rating updates it in milliseconds. Made by <code>pamela demo</code> "
            "of modeling_pamela.</p></footer>"
        )

    # Parts ----------------------------------------------------------------------------------------------------------

    def _whom(self, person: Record) -> str:
        return f"For {escape(person.name)} <small>simulated</small>" if self.demo.simulated else "For you"

    def _picture(self, row: int) -> str:
        self.used.add(row)
        return f'<i class="pic p{row}" role="img" aria-label="{escape(self.demo.gallery.names[row])}"></i>'

    def picture_styles(self) -> str:
        """Pictures as backgrounds: each is in the page once, however often it is shown."""
        return "".join(f".p{row} {{ background-image: url({self._jpeg(row)}); }}\n" for row in sorted(self.used))

    def _jpeg(self, row: int) -> str:
        picture = self.demo.gallery.pictures[row]
        thumbnail = (picture if isinstance(picture, Image.Image) else open_image(picture)).convert("RGB")
        thumbnail.thumbnail(_THUMBNAIL, Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        thumbnail.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

    def _percent(self, value: float) -> float:
        low, high = self.axis
        return 100 * (value - low) / (high - low)

    def _bar(self, mean: float, std: float) -> str:
        left, right = self._percent(mean - std), self._percent(mean + std)
        return (
            f'<div class="bar" aria-hidden="true"><i class="fill" style="width:{self._percent(mean):.1f}%"></i>'
            f'<i class="whisker" style="left:{left:.1f}%;width:{right - left:.1f}%"></i></div>'
        )

    def _slider(self, person: Record, step: int) -> str:
        guess, rating = float(person.guesses[step]), float(person.ratings[step])
        at = [self._percent(value) for value in (guess, rating)]
        return (
            f'<div class="slider"><i class="gap" style="left:{min(at):.1f}%;width:{abs(at[1] - at[0]):.1f}%"></i>'
            f'<i class="ring" style="left:{at[0]:.1f}%"></i><i class="dot" style="left:{at[1]:.1f}%"></i></div>'
            f'<div class="said"><b>rated {rating:.{self.digits}f}</b> <small>expected {guess:.{self.digits}f}</small></div>'
        )

    # Charts ---------------------------------------------------------------------------------------------------------

    def _trajectories(self, person: Record) -> str:
        relative = [
            someone.mean[:, self.unrated] - someone.mean[:, self.unrated].mean(1, keepdims=True)
            for someone in self.demo.people
        ]
        chart = _Chart(self.num_ratings, float(np.min(relative)), float(np.max(relative)))  # one axis for both people
        values = person.mean[:, self.unrated] - person.mean[:, self.unrated].mean(1, keepdims=True)
        if person.truth is not None:
            opinions = person.truth[person.unrated] - (self.low + self.high) / 2
            liked, disliked = opinions > 0.5, opinions < -0.5
        else:
            liked = np.isin(person.unrated, person.best_first[:5])
            disliked = np.zeros_like(liked)
        # What matters is drawn last, on top.
        kinds = (("neutral", ~liked & ~disliked), ("dislikes", disliked), ("likes", liked))
        lines = [chart.line(values[:, place], kind) for kind, of in kinds for place in np.flatnonzero(of)]
        if person.truth is not None:
            lines += [chart.line(values[:, of].mean(1), f"{kind} mean") for kind, of in kinds[1:] if of.any()]
        return chart.svg(lines, "number of ratings", "Scores of the unrated pictures after every rating")

    def _accuracy(self) -> str:
        people = self.demo.people
        values = np.stack([person.srocc for person in people])
        chart = _Chart(self.num_ratings, min(-0.1, float(values.min())), max(0.5, float(values.max())))
        lines = [chart.level(0.0)]
        for number, person in enumerate(people):
            lines.append(chart.line(person.srocc, f"accuracy {_letter(number)}"))
            lines.append(chart.label(float(person.srocc[-1]), escape(person.name[-1]), _letter(number)))
        return chart.svg(lines, "number of ratings", "Spearman correlation with the true opinion after every rating")


class _Chart:
    """Lines over the number of ratings."""

    width, height = 520, 300
    LEFT, RIGHT, TOP, BOTTOM = 44, 30, 10, 44

    def __init__(self, steps: int, low: float, high: float) -> None:
        self.steps = steps
        margin = 0.04 * (high - low) or 0.1
        self.low, self.high = low - margin, high + margin

    def x(self, step: float) -> float:
        return self.LEFT + (self.width - self.LEFT - self.RIGHT) * step / max(self.steps, 1)

    def y(self, value: float) -> float:
        return self.TOP + (self.height - self.TOP - self.BOTTOM) * (self.high - value) / (self.high - self.low)

    def line(self, values: np.ndarray, kind: str) -> str:
        points = " ".join(f"{self.x(step):.1f},{self.y(float(value)):.1f}" for step, value in enumerate(values))
        return f'<polyline class="{kind}" points="{points}"/>'

    def level(self, value: float) -> str:
        return f'<path class="zero" d="M{self.x(0):.1f} {self.y(value):.1f}H{self.x(self.steps):.1f}"/>'

    def label(self, value: float, text: str, kind: str) -> str:
        return f'<text class="{kind}" x="{self.x(self.steps) + 8:.1f}" y="{self.y(value) + 5:.1f}">{text}</text>'

    def svg(self, parts: Iterable[str], x_label: str, description: str) -> str:
        step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if (self.high - self.low) / step <= 6)
        ticks = [step * number for number in range(int(np.ceil(self.low / step)), int(self.high // step) + 1)]
        grid = [
            f'<path class="grid" d="M{self.LEFT} {self.y(tick):.1f}H{self.width - self.RIGHT}"/>'
            f'<text x="{self.LEFT - 8}" y="{self.y(tick) + 5:.1f}" text-anchor="end">{tick:z.3g}</text>'
            for tick in ticks
        ]
        every = max(1, -(-self.steps // 6) if self.steps > 15 else 5)
        bottom = self.height - self.BOTTOM
        grid += [
            f'<text x="{self.x(at):.1f}" y="{bottom + 20}" text-anchor="middle">{at}</text>'
            for at in range(0, self.steps + 1, every)
        ]
        grid.append(
            f'<text x="{(self.LEFT + self.width - self.RIGHT) / 2:.0f}" y="{self.height - 4}" text-anchor="middle">{x_label}</text>'
        )
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(description)}">'
            f"{''.join(grid)}{''.join(parts)}</svg>"
        )


def _letter(number: int) -> str:
    return "ab"[number]


def _section(heading: str, text: str, content: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n<p>{escape(text)}</p>\n{content}\n</section>"


def _fill(share: float) -> str:
    return f'<div class="fillbar" aria-hidden="true"><i style="width:{100 * share:.1f}%"></i></div>'


def _signed(value: float) -> str:
    return f"{value:+z.2f}".replace("-", "−")


_STYLE = """\
:root {
  color-scheme: light dark;
  --page: #f7f5f1; --card: #fff; --text: #23211e; --soft: #6b665e; --line: #e3ded5; --track: #ebe7df; --a: #b9532c; --b: #1f7a85;
  --whisker: #23211e; --notice: #fff3d6; --shadow: 0 1px 2px #0000000f, 0 4px 14px #00000010;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #141416; --card: #1e1e22; --text: #eceae6; --soft: #a39e96; --line: #303036; --track: #35353c; --a: #ea8a5e; --b: #57bac6;
    --whisker: #f4f1ec; --notice: #3a3016; --shadow: 0 1px 2px #0006, 0 4px 14px #0005;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 44px 24px 56px; }
h1 { margin: 0 0 10px; font-size: clamp(1.8rem, 5vw, 2.7rem); line-height: 1.1; letter-spacing: -.025em; text-wrap: balance; }
h2 { margin: 0 0 6px; font-size: 1.35rem; line-height: 1.25; letter-spacing: -.015em; }
h3 { margin: 0 0 12px; font-size: 1.05rem; }
h4 { margin: 18px 0 8px; font-size: .86rem; font-weight: 600; color: var(--soft); }
h2 small, h3 small, figcaption small { font-size: .72em; font-weight: 500; color: var(--soft); letter-spacing: .01em; }
p { margin: 0 0 18px; max-width: 74ch; color: var(--soft); overflow-wrap: anywhere; }
.lead { font-size: 1.13rem; color: var(--text); }
.notice { display: inline-block; padding: 8px 14px; border-radius: 8px; background: var(--notice); color: var(--text); font-size: .92rem; }
.fine, footer { font-size: .84rem; }
section { margin-top: 44px; padding-top: 28px; border-top: 1px solid var(--line); }
footer { margin-top: 44px; padding-top: 18px; border-top: 1px solid var(--line); }
code { font-size: .92em; }
.a { --mark: var(--a); } .b { --mark: var(--b); }
.pair { display: grid; gap: 28px; }
.people-2 .pair { grid-template-columns: 1fr 1fr; }
header .person { padding: 18px 20px 4px; border-radius: 14px; background: var(--card); box-shadow: var(--shadow); border-top: 4px solid var(--mark); }
header .person p { font-size: .95rem; margin-bottom: 12px; }
.numbers { display: flex; gap: 26px; flex-wrap: wrap; color: var(--soft); }
.numbers b { display: block; font-size: 1.9rem; line-height: 1.1; color: var(--mark); font-variant-numeric: tabular-nums; letter-spacing: -.02em; }
h3::before { content: ""; display: inline-block; width: .62em; height: .62em; margin-right: .45em; border-radius: 50%; background: var(--mark); }
ol { list-style: none; margin: 0; padding: 0; }
.cards { display: grid; gap: 14px; grid-template-columns: repeat(3, 1fr); }
.people-1 .cards { grid-template-columns: repeat(6, 1fr); }
.people-2 .cards.one, .people-1 .cards.one { grid-template-columns: minmax(0, 280px); }
.cards li { border-radius: 10px; overflow: hidden; background: var(--card); box-shadow: var(--shadow); }
.pic { display: block; aspect-ratio: 4 / 3; background: var(--track) center / cover no-repeat; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.text { padding: 8px 11px 10px; font-size: .8rem; color: var(--soft); line-height: 1.35; overflow-wrap: anywhere; }
.score { display: flex; align-items: baseline; gap: 6px; font-variant-numeric: tabular-nums; color: var(--text); }
.score em, .ratings em { font-style: normal; font-weight: 700; color: var(--mark); }
.score em { margin-right: auto; } .score em::before { content: "#"; opacity: .6; }
.score b { font-size: 1.08rem; }
.bar { position: relative; height: 6px; margin: 7px 0 8px; border-radius: 3px; background: var(--track); }
.bar i { position: absolute; top: 0; bottom: 0; }
.fill { left: 0; border-radius: 3px; background: var(--mark); }
.bar .whisker { top: -3px; bottom: -3px; border: solid var(--whisker); border-width: 0 1.5px; }
.whisker::after { content: ""; position: absolute; left: 0; right: 0; top: 50%; margin-top: -.75px; height: 1.5px; background: var(--whisker); }
figure { margin: 0; }
.people-1 figure { max-width: 680px; }
.beside { margin-top: 26px; align-items: center; }
.below { margin: 16px 0 0; }
.big b { font-size: 1.5rem; color: var(--text); }
.big { margin-bottom: 8px; font-variant-numeric: tabular-nums; }
figcaption { margin-bottom: 6px; font-size: .95rem; font-weight: 600; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 13px system-ui, "Segoe UI", Roboto, sans-serif; fill: var(--soft); }
svg text.a, svg text.b { font-weight: 700; fill: var(--mark); }
svg polyline { fill: none; stroke-linejoin: round; }
.grid { stroke: var(--line); } .zero { stroke: var(--soft); stroke-dasharray: 4 4; }
.likes { stroke: var(--mark); }
.dislikes { stroke: var(--text); stroke-dasharray: 5 3; }
.neutral { stroke: var(--soft); stroke-width: 1; opacity: .35; }
.mean { stroke-width: 4; opacity: 1; }
.dislikes.mean { stroke: var(--text); opacity: .8; stroke-dasharray: 9 4; }
.likes:not(.mean), .dislikes:not(.mean) { opacity: .4; stroke-width: 1.2; }
.people-1 .likes { stroke-width: 2; opacity: .9; }
.accuracy { stroke: var(--mark); stroke-width: 2.6; }
.key { display: flex; gap: 4px 18px; flex-wrap: wrap; font-size: .84rem; margin-bottom: 12px; }
.key .line.line { opacity: 1; }
.key .line { display: inline-block; vertical-align: middle; width: 26px; margin-right: 8px; border-top: 2.5px solid var(--a); opacity: 1; }
.people-2 .key .line.likes { border-image: linear-gradient(90deg, var(--a) 50%, var(--b) 50%) 1; }
.key .line.dislikes { border-top: 2px dashed var(--soft); } .key .line.neutral { border-top: 1px solid var(--soft); }
.ratings-head, .ratings li { display: grid; gap: 0 26px; align-items: center; grid-template-columns: 24px 92px; }
.people-2 .ratings-head, .people-2 .ratings li { grid-template-columns: 24px 92px 1fr 1fr; }
.people-1 .ratings li { grid-template-columns: 24px 92px 1fr; }
.ratings-head b { color: var(--mark); } .ratings-head b.a { grid-column: 3; }
.ratings li { padding: 9px 0; border-top: 1px solid var(--line); }
.ratings em { color: var(--soft); text-align: right; }
.ratings .pic { border-radius: 7px; }
.slider { position: relative; height: 16px; margin: 0 7px; }
.slider::before { content: ""; position: absolute; left: -7px; right: -7px; top: 6px; height: 4px; border-radius: 2px; background: var(--track); }
.slider i { position: absolute; top: 8px; }
.gap { height: 4px; margin-top: -2px; background: var(--mark); opacity: .45; }
.ring, .dot { width: 14px; height: 14px; margin: -7px 0 0 -7px; border-radius: 50%; border: 2.5px solid var(--mark); background: var(--page); }
.dot { background: var(--mark); }
.said { display: flex; gap: 8px; justify-content: space-between; font-size: .8rem; font-variant-numeric: tabular-nums; } .said small, .taught { color: var(--soft); }
.taught { display: flex; align-items: center; gap: 8px; font-size: .78rem; font-variant-numeric: tabular-nums; }
.fillbar { flex: 1; height: 5px; border-radius: 3px; background: var(--track); } .fillbar i { display: block; height: 100%; border-radius: 3px; background: var(--mark); }
.ratings + .fine { margin-top: 16px; } .fine b { color: var(--mark); } p.fine.person { margin-bottom: 4px; }
.why { display: grid; gap: 28px; grid-template-columns: 260px 1fr; align-items: start; }
.subject .pic { border-radius: 12px; margin-bottom: 8px; } .subject small { color: var(--soft); }
table { width: 100%; border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
td { padding: 6px 0; border-top: 1px solid var(--line); } td:last-child { text-align: right; padding-left: 12px; }
td .pic { width: 62px; margin-right: 12px; border-radius: 5px; } tr td:first-child:not([colspan]) { width: 74px; }
.move { display: flex; } .move .fillbar { background: none; } .move.down .fillbar i { background: none; border: 1.5px solid var(--mark); }
.sum td { font-weight: 700; border-top: 2px solid var(--text); }
@media (max-width: 860px) {
  .people-2 .cards { grid-template-columns: repeat(2, 1fr); } .people-1 .cards { grid-template-columns: repeat(3, 1fr); }
  .why { grid-template-columns: 1fr; } .subject { max-width: 340px; }
}
@media (max-width: 620px) {
  main { padding: 26px 14px 40px; }
  .pair { gap: 14px; }
  .people-2 .cards, .people-2 .cards.one { grid-template-columns: 1fr; } .people-1 .cards { grid-template-columns: repeat(2, 1fr); }
  header .person { padding: 13px 13px 2px; } .numbers { gap: 10px; flex-direction: column; } .numbers b { font-size: 1.5rem; }
  .people-2 section > .pair:has(figure) { grid-template-columns: 1fr; }
  .ratings-head, .people-2 .ratings-head, .people-2 .ratings li, .people-1 .ratings li { gap: 4px 14px; }
  .people-2 .ratings li, .people-1 .ratings li { grid-template-columns: 84px 1fr; padding: 12px 0; }
  .ratings li em { position: absolute; margin: 4px 6px; padding: 0 7px; border-radius: 9px; background: #000a; color: #fff; font-size: .78rem; }
  .ratings li .pic { grid-row: span 2; } .ratings-head { display: none !important; }
  .said { flex-wrap: wrap; gap: 0 8px; } td .pic { width: 46px; } tr td:first-child:not([colspan]) { width: 56px; }
}
@media print { .cards li, .ratings li { break-inside: avoid; box-shadow: none; border: 1px solid var(--line); } }
"""
