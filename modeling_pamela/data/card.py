"""
The card of a data set: the template `dataset_card/README.md`, filled from the data.

What only the owner knows is read from the front matter: `pretty_name`, `license`, and under `pamela:` the keys `source` (`name`,
`url`, `citation`), `limits` (a list) and those of [`QUESTIONS`]. What is absent there is said to be missing.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from datasets import Features, Value
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image as PILImage
from PIL import ImageOps

from .anonymity import anonymity_report, band
from .files import atomic_write
from .folder import DataFolder, data_title, open_parquet, write_card
from .images import ImageError, open_image
from .schema import CONFIGS, SPLITS, USERS


__all__ = ["QUESTIONS", "agreement", "render_card", "theme_column", "update_card"]

QUESTIONS: Mapping[str, str] = {
    "collection": "How were the ratings collected?",
    "consent": "Did the people agree to the publication of their ratings?",
    "ethics": "Was the study reviewed?",
    "compensation": "What were the people paid?",
    "picture_rights": "Who holds the rights in the pictures?",
}

# Columns in which data sets name what a picture shows, in the order of preference.
_THEMES = ("group", "theme", "category", "subset", "genre", "semantic", "style", "set")
_MAX_THEMES = 30
# Fewer people than this are not shown as a group of their own.
_SMALL = 5
_MOSAIC_COLUMNS, _MOSAIC_ROWS, _TILE = 6, 12, 150
_INK, _ACCENT = "#1f2328", "#3b6fb6"


def update_card(path: str | Path) -> None:
    """
    Writes the card of a data set in place, and its plots to `assets/`; the front matter stays as it is.

    Args:
        path (`str` or `Path`): A data set in the standard form.

    Raises:
        DataFolderError: It is no such data set, or a part of it is damaged.
    """
    data = DataFolder(path)
    write_card(data.path, data.metadata, render_card(data, data.path / "assets"))


def render_card(folder: DataFolder, assets: Path | None) -> str:
    """
    Fills the template of a data set's card.

    Args:
        folder ([`DataFolder`]): The data set.
        assets (`Path`, *optional*):
            Folder directly inside the data set for plots and the mosaic, PNG; the same data and libraries give the same bytes.
            Without it the card has no pictures.

    Returns:
        `str`: Markdown, without front matter.

    Raises:
        DataFolderError: A part of the data set is damaged.
    """
    low, high = folder.rating_scale
    own: dict[str, Any] = folder.metadata["pamela"]
    source = own.get("source") or {}
    source = source if isinstance(source, dict) else {"name": source}
    ratings = _ratings(folder)
    per_person, per_picture = ratings.groupby("user").size(), ratings.groupby("image").size()
    column = theme_column(folder)
    theme_of_image = folder.images[column].to_pandas().fillna("not stated").astype(str) if column else None
    themes = _themes(ratings, theme_of_image) if theme_of_image is not None else None
    persons = agreement(ratings["user"].to_numpy(), ratings["image"].to_numpy(), ratings["rating"].to_numpy())
    rejected, set_aside = folder.path / "rejected.parquet", "not recorded"
    if rejected.exists():
        with open_parquet(rejected) as parquet:
            set_aside = f"{parquet.metadata.num_rows:,}, in `rejected.parquet` with the reason"

    published = yaml.safe_load((_template_folder() / "published.yaml").read_text(encoding="utf-8"))
    pictures: dict[str, str | None] = dict.fromkeys(("mosaic", "histogram", "theme_plot", "agreement_plot"))
    if assets is not None:
        pictures["histogram"] = _save(_histogram(ratings["rating"].to_numpy(), low, high), assets / "ratings.png")
        if themes is not None:
            pictures["theme_plot"] = _save(_theme_plot(themes, column or ""), assets / "themes.png")
        if len(persons):
            pictures["agreement_plot"] = _save(_agreement_plot(persons), assets / "agreement.png")
        mosaic = _mosaic(folder, ratings.groupby("image")["rating"].mean(), theme_of_image, themes)
        pictures["mosaic"] = _save(mosaic, assets / "pictures.png")

    values = {
        "title": data_title(folder.metadata),
        "repo": "path/to/this/folder",
        "summary": f"{ratings['user'].nunique():,} people gave {len(ratings):,} ratings of {ratings['image'].nunique():,} "
        f"pictures on a scale from {low:g} to {high:g}: data for learning what one person likes.",
        "licence": _text(folder.metadata.get("license"), "license"),
        "source": " ".join(str(source[key]) for key in ("name", "url") if source.get(key))
        or _text(None, "pamela.source"),
        "scale": _scale(low, high, own.get("anchors")),
        "rejected": set_aside,
        "spread": [
            _spread("ratings of a person", per_person, "{:,.0f}"),
            _spread("ratings of a picture", per_picture, "{:,.0f}"),
            _spread("rating", ratings["rating"], "{:.2f}"),
            _spread("mean rating of a person", ratings.groupby("user")["rating"].mean(), "{:.2f}"),
            _spread("mean rating of a picture", ratings.groupby("image")["rating"].mean(), "{:.2f}"),
        ],
        "splits": [
            {
                "name": name,
                "ratings": f"{len(rows):,}",
                "people": f"{rows['user'].nunique():,}",
                "pictures": f"{rows['image'].nunique():,}",
                "meaning": SPLITS.get(name, "") if folder.splits != ["train"] else "not split yet",
            }
            for name, rows in ratings.groupby("split", sort=False, observed=True)
        ],
        "contexts": _contexts(folder),
        "rating_text": _rating_text(ratings, low, high),
        "agreement_text": _agreement_text(persons),
        "theme_column": column,
        "themes": [
            (_cell(name), f"{row.pictures:,.0f}", f"{row.ratings:,.0f}", f"{row.mean:.2f}", _spread_text(row.std))
            for name, row in zip(themes.index, themes.itertuples(index=False), strict=True)
        ]
        if themes is not None
        else [],
        "demographics": _demographics(folder),
        "small": _SMALL,
        "anonymity": _anonymity(folder, own),
        "schema": _schema(folder),
        "comparison": _comparison(published, ratings, persons_known=len(folder.users.column_names) > 1),
        "published": [(row["name"], row["source"]) for row in published],
        "limits": _limits(folder, ratings, own.get("limits") or []),
        "ethics": [(question, _text(own.get(key), f"pamela.{key}")) for key, question in QUESTIONS.items()],
        "citation": f"```bibtex\n{str(source['citation']).strip()}\n```"
        if source.get("citation")
        else _text(None, "pamela.source.citation"),
    }
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string((_template_folder() / "README.md").read_text(encoding="utf-8"))
    return template.render(values | pictures)


def theme_column(folder: DataFolder) -> str | None:
    """The column of the pictures that says what they show, with 2 to 30 values; `None` where there is none."""
    for name in _THEMES:
        if name in folder.images.column_names and 2 <= len(folder.images[name].unique()) <= _MAX_THEMES:
            return name
    return None


def agreement(users: np.ndarray, images: np.ndarray, ratings: np.ndarray, least: int = 5) -> np.ndarray:
    """
    Pearson correlation of each person's ratings with the mean of the others' ratings of the same pictures.

    Args:
        users, images (`np.ndarray` of shape `[R]`, int64): Who rated what, from 0.
        ratings (`np.ndarray` of shape `[R]`, float64): On any scale.
        least (`int`): People with fewer pictures that others rated, too, are left out, as are those who do not tell pictures apart.

    Returns:
        `np.ndarray` of shape `[people]`, float64: -1 to 1, in the order of `users`' numbers.

    Example:

    ```python
    >>> users, images = np.repeat([0, 1], 5), np.tile(np.arange(5), 2)
    >>> agreement(users, images, np.array([1.0, 2, 3, 4, 5, 2, 4, 6, 8, 10])).round(3)
    array([1., 1.])

    ```
    """
    total, count = np.bincount(images, ratings), np.bincount(images)
    shared = count[images] > 1
    users, images, ratings = users[shared], images[shared], ratings[shared]
    others = (total[images] - ratings) / (count[images] - 1)
    frame = pd.DataFrame({"user": users, "own": ratings, "others": others})
    frame[["own", "others"]] -= frame.groupby("user")[["own", "others"]].transform("mean")
    frame["product"], frame["a"], frame["b"] = frame["own"] * frame["others"], frame["own"] ** 2, frame["others"] ** 2
    sums = frame.groupby("user")[["product", "a", "b"]].sum()[frame.groupby("user").size() >= least]
    sums = sums[(sums["a"] > 1e-12) & (sums["b"] > 1e-12)]
    return (sums["product"] / np.sqrt(sums["a"] * sums["b"])).to_numpy()


def _template_folder() -> Path:
    """`dataset_card/`: inside the package where it was installed from a wheel, else at the top of the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "dataset_card"
    return installed if installed.is_dir() else package.parent / "dataset_card"


def _ratings(folder: DataFolder) -> pd.DataFrame:
    frames = []
    for split in folder.splits:
        ratings = folder.ratings(split)
        frames.append(pd.DataFrame({"user": ratings.user, "image": ratings.image, "rating": ratings.rating}))
        frames[-1]["split"] = pd.Categorical([split], folder.splits).repeat(len(ratings))
    return pd.concat(frames, ignore_index=True)


def _text(value: Any, key: str) -> str:
    return (
        str(value).strip()
        if value
        else f"*Not stated by the source. The owner states it as `{key}` in the front matter.*"
    )


def _cell(value: object) -> str:
    """Inside a table of Markdown a bar or a line break would end the cell."""
    return " ".join(str(value).replace("|", "\\|").split())


def _scale(low: float, high: float, anchors: Any) -> str:
    named = ", ".join(f"{float(value):g} {_cell(name)}" for value, name in anchors or [])
    return f"{low:g} to {high:g}" + (f" ({named})" if named else "")


def _spread(name: str, values: pd.Series, form: str) -> list[str]:
    points = [values.mean(), *values.quantile([0, 0.1, 0.5, 0.9, 1])]
    return [name, f"{points[0]:,.2f}", *(form.format(point) for point in points[1:])]


def _spread_text(deviation: float) -> str:
    """A single rating has no standard deviation."""
    return "–" if np.isnan(deviation) else f"{deviation:.2f}"


def _themes(ratings: pd.DataFrame, theme_of_image: pd.Series) -> pd.DataFrame:
    """One row a theme, sorted by name: pictures and ratings, mean and standard deviation."""
    table = ratings.groupby(theme_of_image.to_numpy()[ratings["image"]])["rating"].agg(["size", "mean", "std"])
    table.insert(0, "pictures", theme_of_image.value_counts())
    return table.rename(columns={"size": "ratings"}).sort_index()


def _contexts(folder: DataFolder) -> str:
    config = next((entry for entry in folder.metadata["configs"] if entry["config_name"] == "contexts"), None)
    if config is None:
        return ""
    parts = []
    for entry in config["data_files"]:
        table = folder.table("contexts", entry["split"]).to_pandas()
        if len(table):
            size = table["rating_ids"].str.len()
            parts.append(
                f"`{entry['split']}`: {table['draw'].nunique()} draws for {table['user_id'].nunique():,} people, "
                f"{f'{size.min()} to ' if size.min() < size.max() else ''}{size.max()} ratings each"
            )
    return f"Fixed context draws ({'; '.join(parts)}) say which ratings of a new person may be known." if parts else ""


def _rating_text(ratings: pd.DataFrame, low: float, high: float) -> str:
    values = ratings["rating"]
    inside = ratings.groupby("user")["rating"].std().mean()
    return (
        f"{(values == low).mean():.1%} of the ratings are the lowest possible, {(values == high).mean():.1%} the highest. The standard "
        f"deviation of all ratings is {_spread_text(values.std())}, that inside a person {_spread_text(inside)} on average."
    )


def _agreement_text(persons: np.ndarray) -> str:
    if not len(persons):
        return "Too few pictures were rated by several people to say how far they agree."
    first, median, third = np.quantile(persons, [0.25, 0.5, 0.75])
    return (
        f"The correlation of a person's ratings with the mean of all others' ratings of the same pictures is {median:.2f} in the median, "
        f"between {first:.2f} and {third:.2f} for the middle half of {len(persons):,} people; it is negative for "
        f"{(persons < 0).sum():,}. What it falls short of 1 is noise and taste."
    )


def _demographics(folder: DataFolder) -> list[tuple[str, str]]:
    """Each column of the people: its values in coarse bands, with the number of people."""
    result = []
    for name in folder.users.column_names:
        if name in USERS:
            continue
        values = folder.users[name].to_pandas()
        quantity = pd.api.types.is_numeric_dtype(values) and values.nunique() > 10
        shown = band(values, 10) if quantity else values.map(_cell, na_action="ignore")
        counts = shown.value_counts(dropna=False)
        counts.index = ["not stated" if pd.isna(value) else value for value in counts.index]
        frequent = counts[(counts >= _SMALL) | (counts.index == "not stated")]
        first = (lambda item: float(item[0].split("-")[0])) if quantity else (lambda item: -item[1])
        known = sorted(((str(n), int(c)) for n, c in frequent.items() if n != "not stated"), key=first)
        rows = [f"{value} {count:,}" for value, count in known[:15]]
        rare = int(counts.sum() - frequent.sum()) + sum(count for _, count in known[15:])
        rows += [f"rare {rare:,}"] if rare else []
        rows += [f"not stated {counts['not stated']:,}"] if "not stated" in counts else []
        result.append((_cell(name), " · ".join(row.replace("<", "&lt;") for row in rows)))
    return result


def _anonymity(folder: DataFolder, own: Mapping[str, Any]) -> str:
    if len(folder.users.column_names) < 2:
        return ""
    report = anonymity_report(folder.users, _SMALL)
    done = own.get("anonymity")
    steps = ", ".join(f"{step['column']}: {step['to']}" for step in done["steps"]) if done else ""
    return (
        f"Taken together, these columns put {report.exposed:,} of {report.people:,} people into a group of fewer than {_SMALL} who look "
        f"alike (the smallest has {report.k}; `pamela data anonymity`)."
        + (f" They were coarsened for k = {done['k']}: {steps or 'nothing had to change'}." if done else "")
    )


def _schema(folder: DataFolder) -> list[tuple[str, list[tuple[str, str, str]]]]:
    result = []
    for entry in folder.metadata["configs"]:
        name = entry["config_name"]
        described = CONFIGS.get(name, {})
        with open_parquet(folder.files(name, entry["data_files"][0]["split"])[0]) as parquet:
            schema = parquet.schema_arrow
        rows = [
            (
                f"`{column}`",
                _type(feature),
                _cell(described[column].description) if column in described else "As in the source.",
            )
            for column, feature in Features.from_arrow_schema(schema).items()
        ]
        result.append((name, rows))
    return result


def _type(feature: Any) -> str:
    if hasattr(feature, "feature"):
        return f"list of {_type(feature.feature)}"
    return str(feature.dtype) if isinstance(feature, Value) else type(feature).__name__.lower()


def _comparison(published: list[dict[str, Any]], ratings: pd.DataFrame, persons_known: bool) -> list[list[str]]:
    def word(value: str | int | bool | None) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return "–" if value is None else str(value)

    keys = ("name", "pictures", "people", "judgements", "per_picture", "judgement", "identified", "demographics")
    pictures = ratings["image"].nunique()
    this = [
        "**this one**",
        f"{pictures:,}",
        f"{ratings['user'].nunique():,}",
        f"{len(ratings):,}",
        f"{len(ratings) / pictures:.1f} (mean)",
        "rating",
        "yes",
        word(persons_known),
    ]
    return [this, *([_cell(word(row[key])) for key in keys] for row in published)]


def _limits(folder: DataFolder, ratings: pd.DataFrame, stated: list[str]) -> list[str]:
    """What the owner states, and what can be counted."""
    user = ratings.groupby("user")["rating"].agg(["size", "min", "max"])
    constant = int(((user["min"] == user["max"]) & (user["size"] > 1)).sum())
    image = ratings.groupby("image").size()
    counted = {
        "People who gave every picture the same rating": constant,
        "Pictures with fewer than 5 ratings, so that their mean says little": int((image < 5).sum()),
        "Pictures without a rating": len(folder.images) - ratings["image"].nunique(),
        "People without a rating": len(folder.users) - len(user),
        "Pictures without a prompt or caption": folder.images["prompt"].null_count,
    }
    return [
        *map(str, stated),
        *(f"{what}: {number:,}." for what, number in counted.items() if number),
        "Each person rated each picture once here, so a person's noise cannot be told from their taste by these ratings alone.",
        "The people are those who took part; they stand for no population.",
    ]


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=9)
    return figure, axes


def _histogram(ratings: np.ndarray, low: float, high: float) -> Figure:
    figure, axes = _figure(7, 2.8)
    distinct = np.unique(ratings)
    if len(distinct) <= 15:  # a scale of steps: one bar a step
        step = np.diff(distinct).min() if len(distinct) > 1 else 1.0
        axes.bar(distinct, [(ratings == value).mean() for value in distinct], width=0.8 * step, color=_ACCENT)
        axes.set_xticks(distinct)
    else:
        axes.hist(ratings, bins=40, range=(low, high), weights=np.full(len(ratings), 1 / len(ratings)), color=_ACCENT)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("rating")
    axes.set_ylabel("share of the ratings")
    return figure


def _theme_plot(themes: pd.DataFrame, column: str) -> Figure:
    figure, axes = _figure(7, 0.9 + 0.32 * len(themes))
    axes.errorbar(themes["mean"], range(len(themes)), xerr=themes["std"], fmt="o", color=_ACCENT, capsize=3)
    axes.set_yticks(range(len(themes)), [str(name)[:40] for name in themes.index])
    axes.set_ylim(len(themes) - 0.5, -0.5)
    axes.set_xlabel(f"rating by {column}: mean, and one standard deviation to either side")
    return figure


def _agreement_plot(persons: np.ndarray) -> Figure:
    figure, axes = _figure(7, 2.8)
    axes.hist(persons, bins=np.linspace(-1, 1, 41), color=_ACCENT)
    axes.axvline(float(np.median(persons)), color=_INK, linestyle="--", linewidth=1)
    axes.set_xlim(min(-0.5, float(persons.min())), 1)
    axes.set_xlabel("correlation with the mean of the others (dashed: median)")
    axes.set_ylabel("people")
    return figure


def _mosaic(
    folder: DataFolder, mean_of_image: pd.Series, theme_of_image: pd.Series | None, themes: pd.DataFrame | None
) -> PILImage.Image:
    """Per theme (or, without themes, in four rows) pictures at even steps from the lowest to the highest mean rating."""
    ranked = mean_of_image.reset_index().sort_values(["rating", "image"])["image"].to_numpy()
    if theme_of_image is not None and themes is not None:
        of_ranked = theme_of_image.to_numpy()[ranked]
        rows = [_evenly(ranked[of_ranked == name], _MOSAIC_COLUMNS) for name in themes.index[:_MOSAIC_ROWS]]
    else:
        chosen = _evenly(ranked, 4 * _MOSAIC_COLUMNS)
        rows = [chosen[start : start + _MOSAIC_COLUMNS] for start in range(0, len(chosen), _MOSAIC_COLUMNS)]
    wanted = {int(image) for row in rows for image in row}
    tiles = {}
    for number, content in folder.iter_image_bytes():
        if number in wanted:
            try:
                tiles[number] = ImageOps.fit(open_image(content), (_TILE, _TILE))
            except ImageError:
                continue  # a grey tile; `pamela data validate` names the picture
    gap = 4
    mosaic = PILImage.new(
        "RGB", (_MOSAIC_COLUMNS * (_TILE + gap) - gap, max(1, len(rows)) * (_TILE + gap) - gap), "white"
    )
    empty = PILImage.new("RGB", (_TILE, _TILE), "#dddddd")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            mosaic.paste(tiles.get(int(image), empty), (x * (_TILE + gap), y * (_TILE + gap)))
    return mosaic


def _evenly(ranked: np.ndarray, number: int) -> np.ndarray:
    """The middles of `number` equal parts: the very ends are the pictures that repel most, which is no fair picture of a set."""
    if len(ranked) <= number:
        return ranked
    return ranked[((np.arange(number) + 0.5) * len(ranked) / number).astype(int)]


def _save(picture: Figure | PILImage.Image, file: Path) -> str:
    """Writes a PNG without metadata, which would hold a version or a time. Returns its path as the card names it."""
    buffer = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(buffer, format="png", metadata={"Software": None})
    else:
        picture.save(buffer, "PNG", optimize=True)
    with atomic_write(file) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return f"{file.parent.name}/{file.name}"
