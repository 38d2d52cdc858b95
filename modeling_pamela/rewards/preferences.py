"""
Ratings as pairs of what one person chose and rejected.

Pairs of prompts are chats, as `trl.DPOTrainer` takes them for a language model that writes prompts. Pairs of pictures are for the DPO of a
text-to-image model and for rewards of pictures, of which TRL has no trainer: `prompt`, `chosen`, `rejected` with pictures.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, Value
from huggingface_hub import metadata_save

from ..data.files import DataError, atomic_folder
from ..data.folder import DataFolder, with_contents


__all__ = ["PREFERENCES", "PreferenceOptions", "PreferenceSummary", "draw_pairs", "write_preferences"]

# A data set of pairs says so in its card, and may be replaced by another.
MARK = "preferences"
_ROW_GROUP = 1_000

PREFERENCES: Mapping[str, Any] = {
    "user_id": Value("string"),
    "prompt": Value("string"),
    "chosen": Image(),
    "rejected": Image(),
    "chosen_id": Value("string"),
    "rejected_id": Value("string"),
    "chosen_prompt": Value("string"),
    "rejected_prompt": Value("string"),
    "chosen_rating": Value("float64"),
    "rejected_rating": Value("float64"),
    "margin": Value("float64"),
}

# A chat, as trainers of language models take it: the template of the model puts it into words.
_ROLES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
_CHAT = [{"role": Value("string"), "content": Value("string")}]


@dataclass(frozen=True)
class PreferenceOptions:
    """
    Which pairs are made.

    Attributes:
        margin (`float`): Least difference of two ratings, as a share of the rating scale, > 0: equal ratings prefer nothing.
        max_pairs (`int`): Of a person in a split, drawn at random where there are more.
        same_prompt (`bool`): Only pictures of one prompt make a pair, as DPO of a text-to-image model needs it. The column `prompt` is
            null without it, where prompts differ.
        texts (`bool`): `chosen` and `rejected` are the pictures' prompts instead, for DPO of a language model that writes prompts; only
            pictures whose prompts differ make a pair. All three columns are chats: what the user asks is `instruction`, and the assistant
            answers with a picture's prompt.
        instruction (`str`): What the language model is asked, of texts.
        seed (`int`): Of the draw. A person's pairs do not depend on who else there is.
    """

    margin: float = 0.1
    max_pairs: int = 100
    same_prompt: bool = False
    texts: bool = False
    instruction: str = "Write the prompt of a picture."
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.margin <= 1 or self.max_pairs < 1:
            raise DataError(
                f"The margin is {self.margin} and at most {self.max_pairs} pairs are asked for; expected a margin above 0, at most 1, and "
                "at least 1 pair."
            )
        if self.texts and self.same_prompt:
            raise DataError(
                "Texts of one prompt are the same text; ask for either texts or pictures of the same prompt."
            )


class PreferenceSummary(NamedTuple):
    """
    What was written.

    Attributes:
        rows (`dict[str, int]`): Split to its pairs.
        people (`dict[str, int]`): Split to its people with at least one.
    """

    rows: dict[str, int]
    people: dict[str, int]

    def __str__(self) -> str:
        return "\n".join(
            f"{split:<14}{rows:>9,} pairs of {self.people[split]:,} people" for split, rows in self.rows.items()
        )


def draw_pairs(
    ratings: np.ndarray,
    groups: np.ndarray | None,
    margin: float,
    max_pairs: int,
    rng: np.random.Generator,
    same: bool = True,
) -> np.ndarray:
    """
    Pairs of rated pictures, each at most once, uniformly among all whose ratings lie far enough apart.

    Args:
        ratings (`np.ndarray` of shape `(n,)`): On 0 to 1.
        groups (`np.ndarray` of shape `(n,)`, *optional*): Only pictures of one group make a pair; of different ones where not `same`.
        margin (`float`): Least difference.
        max_pairs (`int`): How many at most.
        rng (`np.random.Generator`): Of the draw.

    Returns:
        `np.ndarray` of shape `(p, 2)`: Rows of the preferred and of the other picture.

    Example:

    ```python
    >>> import numpy as np
    >>> from modeling_pamela.rewards.preferences import draw_pairs

    >>> draw_pairs(np.array([0.1, 0.9, 0.15]), None, 0.2, 10, np.random.default_rng(0)).tolist()
    [[1, 0], [1, 2]]

    ```
    """
    # Rounding of the scale must not decide about a difference that is the margin.
    preferred = ratings[:, None] - ratings[None, :] >= margin - 1e-9
    if groups is not None:
        preferred &= (groups[:, None] == groups[None, :]) == same
    pairs = np.argwhere(preferred)
    if len(pairs) > max_pairs:
        pairs = pairs[np.sort(rng.permutation(len(pairs))[:max_pairs])]
    return pairs


def write_preferences(
    folder: str | Path,
    out: str | Path,
    options: PreferenceOptions | None = None,
    splits: Sequence[str] | None = None,
    overwrite: bool = False,
) -> PreferenceSummary:
    """
    Write a data set of preferences: a Parquet file a split, which `load_dataset(out)` reads.

    Both pictures of a pair are of one person's ratings in one split, so nothing of another split is in it. The same data and options give
    the same rows.

    Args:
        folder (`str` or `Path`): A data set in the standard form.
        out (`str` or `Path`): Folder to write.
        options ([`PreferenceOptions`], *optional*): Which pairs.
        splits (sequence of `str`, *optional*): Of the ratings; all by default.
        overwrite (`bool`): Replace preferences that stand at `out`.

    Raises:
        DataError: No pair can be made; a split is unknown; or `out` is taken.
    """
    options = options or PreferenceOptions()
    data, out = DataFolder(folder), Path(out)
    _check_target(out, overwrite)
    tables = {split: _pairs_of_split(data, split, options) for split in splits or data.splits}
    tables = {split: table for split, table in tables.items() if len(table)}
    if not tables:
        raise DataError(
            f"No two ratings of one person in {data.path} lie {options.margin:g} of the scale apart"
            f"{' for pictures of one prompt' if options.same_prompt else ''}. Ask for a smaller margin."
        )
    features = dict(PREFERENCES)
    if options.texts:
        features |= dict.fromkeys(("prompt", "chosen", "rejected"), _CHAT)
    with atomic_folder(out) as new:
        pictures = {} if options.texts else _read_pictures(data, tables.values())
        for split, table in tables.items():
            _write_split(table, pictures, features, new / "data" / f"{split}.parquet")
        _write_card(new, data, list(tables), options)
    return PreferenceSummary(
        {split: len(table) for split, table in tables.items()},
        {split: len(Counter(table["user_id"].to_pylist())) for split, table in tables.items()},
    )


def _pairs_of_split(data: DataFolder, split: str, options: PreferenceOptions) -> pa.Table:
    ratings = data.ratings(split)
    prompts = np.array([prompt or "" for prompt in data.prompts], dtype=object)
    # Prompts as numbers; a picture without one is of a prompt of its own.
    _, prompt_group = np.unique(prompts.astype(str), return_inverse=True)
    absent = prompts == ""
    prompt_group[absent] = -1 - np.flatnonzero(absent)
    columns: dict[str, list[Any]] = {name: [] for name in PREFERENCES}
    order = np.argsort(ratings.user, kind="stable")
    users, starts = np.unique(ratings.user[order], return_index=True)
    for user, rows in zip(users, np.split(order, starts)[1:], strict=True):
        images = ratings.image[rows]
        if options.texts:
            rows = rows[~absent[images]]
            images = ratings.image[rows]
        name = data.user_ids[user]
        rng = np.random.default_rng([options.seed, int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)])
        groups = prompt_group[images] if options.same_prompt or options.texts else None
        pairs = draw_pairs(
            ratings.rating_norm[rows], groups, options.margin, options.max_pairs, rng, same=not options.texts
        )
        chosen, rejected = rows[pairs[:, 0]], rows[pairs[:, 1]]
        same = prompt_group[ratings.image[chosen]] == prompt_group[ratings.image[rejected]]
        columns["user_id"] += [name] * len(pairs)
        columns["prompt"] += [
            options.instruction if options.texts else str(prompts[image]) if shared else None
            for image, shared in zip(ratings.image[chosen], same, strict=True)
        ]
        for side, at in (("chosen", chosen), ("rejected", rejected)):
            columns[f"{side}_id"] += [data.image_ids[image] for image in ratings.image[at]]
            columns[f"{side}_prompt"] += [data.prompts[image] for image in ratings.image[at]]
            columns[f"{side}_rating"] += ratings.rating[at].tolist()
            columns[side] += [
                data.prompts[image] if options.texts else data.image_ids[image] for image in ratings.image[at]
            ]
        columns["margin"] += (ratings.rating_norm[chosen] - ratings.rating_norm[rejected]).tolist()
    numbers = {"chosen_rating", "rejected_rating", "margin"}
    return pa.table(
        {name: pa.array(values, pa.float64() if name in numbers else pa.string()) for name, values in columns.items()}
    )


def _read_pictures(data: DataFolder, tables: Iterable[pa.Table]) -> dict[str, bytes]:
    wanted = {name for table in tables for side in ("chosen_id", "rejected_id") for name in table[side].to_pylist()}
    return {data.image_ids[row]: content for row, content in data.iter_image_bytes() if data.image_ids[row] in wanted}


def _write_split(table: pa.Table, pictures: Mapping[str, bytes], features: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = Features(features).arrow_schema
    # A picture is in many pairs; a dictionary holds it once a row group, which its page must have room for.
    with pq.ParquetWriter(path, schema, dictionary_pagesize_limit=2**30) as writer:
        for start in range(0, len(table), _ROW_GROUP):
            block = table.slice(start, _ROW_GROUP)
            for side in ("chosen", "rejected") if pictures else ():
                names = block[side].to_pylist()
                values = [{"bytes": pictures[name], "path": name} for name in names]
                block = _replaced(block, side, values, schema)
            for column, role in () if pictures else _ROLES.items():
                chats = [[{"role": role, "content": text}] for text in block[column].to_pylist()]
                block = _replaced(block, column, chats, schema)
            writer.write_table(block.select(schema.names).cast(schema), row_group_size=_ROW_GROUP)


def _replaced(table: pa.Table, column: str, values: Sequence[Any], schema: pa.Schema) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array(values, schema.field(column).type))


def _write_card(folder: Path, data: DataFolder, splits: Sequence[str], options: PreferenceOptions) -> None:
    card = folder / "README.md"
    what = "prompts (as chats)" if options.texts else "pictures"
    card.write_text(
        f"# Preferences\n\nPairs of {what}: `chosen` was rated higher than `rejected` by the person `user_id`, by `margin` of the rating "
        f"scale, at least {options.margin:g}. Both ratings are of one split; at most {options.max_pairs} pairs a person and split, seed "
        f"{options.seed}.\n",
        encoding="utf-8",
    )
    files = [{"split": split, "path": f"data/{split}.parquet"} for split in splits]
    metadata: dict[str, Any] = {
        "configs": with_contents(folder, [{"config_name": "default", "data_files": files}]),
        "pamela": {"kind": MARK, "rating_scale": list(data.rating_scale)},
    }
    if license_ := data.metadata.get("license"):
        metadata["license"] = license_
    metadata_save(card, metadata)


def _check_target(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    card = out / "README.md"
    is_ours = card.is_file() and f"kind: {MARK}" in card.read_text(encoding="utf-8")
    if not (overwrite and is_ours):
        raise DataError(
            f"{out} is not empty. Choose another folder{', or pass --overwrite to replace these preferences' if is_ours else ''}."
        )
