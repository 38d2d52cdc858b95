r"""
The standard form of a data set of personal picture ratings.

```text
README.md                              YAML front matter: `configs:` and `pamela: {rating_scale: [low, high], ...}`
ratings/<split>.parquet                config "ratings", the default
users/train.parquet                    config "users"
images/train-00000-of-0000N.parquet    config "images", the pictures' bytes inside
pairs/<split>.parquet                  config "pairs", where people chose between two pictures
contexts/<protocol>.parquet            config "contexts", after a split
embeddings/<encoder fingerprint>/      cached embeddings of frozen encoders; config "embeddings", after `pamela data build`
preview/train.parquet                  config "preview": a few ratings with their pictures, likewise
rejected.parquet                       the source's rows that were set aside, and why
```

`load_dataset(folder_or_repo, "ratings", split="test_unseen")` reads it with no code of this package. Besides the columns
named here, ratings, users, images and pairs keep every column of their source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from datasets import Features, Image, List, Value


__all__ = [
    "CHOICES",
    "CONFIGS",
    "CONTEXTS",
    "EMBEDDINGS",
    "IMAGES",
    "PAIRS",
    "PART_OF_PERSON",
    "PART_OF_PICTURE",
    "PREVIEW",
    "PROTOCOLS",
    "RATINGS",
    "REJECTED",
    "SPLITS",
    "UNSEEN",
    "USERS",
    "Column",
    "arrow_schema",
]


@dataclass(frozen=True)
class Column:
    """A column of the standard form: its `datasets` feature and what stands in it."""

    feature: Any
    description: str


RATINGS: Mapping[str, Column] = {
    "rating_id": Column(Value("int64"), "Row of the source's ratings, from 0; unique in the data set."),
    "user_id": Column(Value("string"), "The person who rated; a row of `users`."),
    "image_id": Column(
        Value("string"), "The picture that was rated; a row of `images`. One rating per person and picture."
    ),
    "rating": Column(Value("float64"), "The rating as given, on the data set's own scale (`pamela.rating_scale`)."),
    "rating_norm": Column(Value("float64"), "(rating - low) / (high - low): 0 to 1."),
}

USERS: Mapping[str, Column] = {
    "user_id": Column(Value("string"), "Unique name of the person."),
}

IMAGES: Mapping[str, Column] = {
    "image_id": Column(Value("string"), "Unique name of the picture. The same bytes may occur under two names."),
    "image": Column(Image(), "The picture: the source file's bytes, unchanged, and its name."),
    "sha256": Column(Value("string"), "SHA-256 of the bytes, hexadecimal; the key of its embeddings."),
    "width": Column(Value("int32"), "Pixels, after EXIF rotation."),
    "height": Column(Value("int32"), "Pixels, after EXIF rotation."),
    "prompt": Column(Value("string"), "The prompt or caption, or null."),
}

PAIRS: Mapping[str, Column] = {
    "pair_id": Column(Value("int64"), "Row of the source's comparisons, from 0; unique in the data set."),
    "user_id": Column(Value("string"), "The person who chose; a row of `users`."),
    "left_id": Column(Value("string"), "The picture on the left; a row of `images`."),
    "right_id": Column(Value("string"), "The picture on the right; a row of `images`."),
    "choice": Column(Value("string"), "The picture that was preferred: `left`, `right`, or `tie` for neither."),
    "prompt_id": Column(Value("string"), "The prompt both pictures were made for, or null."),
    "left_condition": Column(Value("string"), "How the left picture was made, e.g. by which method, or null."),
    "right_condition": Column(Value("string"), "How the right picture was made, or null."),
}

CONTEXTS: Mapping[str, Column] = {
    "protocol": Column(
        Value("string"),
        "`train`: the context comes from the person's ratings in `<base>_context`, and all of the person's ratings in `split` "
        "are queries. `query`: it comes from `split` itself, and the ratings in it are left out of the queries.",
    ),
    "split": Column(Value("string"), "The query split: `val_unseen` or `test_unseen`."),
    "draw": Column(Value("int32"), "Number of the random draw, from 0."),
    "user_id": Column(Value("string"), "The person."),
    "rating_ids": Column(
        List(Value("int64")),
        "The context in order: the first k are the context of k ratings. The queries are the same for every k.",
    ),
}

# Lists of any length: encoders differ in width, and all parts of one config have one type.
EMBEDDINGS: Mapping[str, Column] = {
    "key": Column(
        Value("string"), "SHA-256, hexadecimal, of what was embedded: `images.sha256`, or that of a text in UTF-8."
    ),
    "kind": Column(Value("string"), "`image` or `text`."),
    "encoder": Column(Value("string"), "Name of the frozen encoder (`pamela.encoders`), or null."),
    "fingerprint": Column(Value("string"), "Fingerprint of the encoder's weights and preprocessing."),
    "embedding": Column(List(Value("float16")), "The embedding, in half precision."),
}

PREVIEW: Mapping[str, Column] = {
    "image": IMAGES["image"],
    "prompt": IMAGES["prompt"],
    **RATINGS,
}

CONFIGS: Mapping[str, Mapping[str, Column]] = {
    "ratings": RATINGS,
    "users": USERS,
    "images": IMAGES,
    "pairs": PAIRS,
    "contexts": CONTEXTS,
    "embeddings": EMBEDDINGS,
    "preview": PREVIEW,
}

REJECTED: Mapping[str, Column] = {
    "file": Column(Value("string"), "The source file."),
    "line": Column(
        Value("int64"),
        "Line or spreadsheet row of that file on which the row starts; the header is line 1. In JSON and Parquet the number of "
        "the record, from 1.",
    ),
    "reason": Column(Value("string"), "The kind of problem."),
    "detail": Column(Value("string"), "What is wrong with this row."),
    "row": Column(Value("string"), "The row as it stood in the source: a JSON object of column to text."),
}

SPLITS: Mapping[str, str] = {
    "train": "training people, training pictures",
    "val_seen": "training people, validation pictures",
    "val_unseen": "validation people, validation pictures",
    "test_seen": "training people, test pictures",
    "test_unseen": "test people, test pictures",
    "val_context": "validation people, training pictures: what may be known of them",
    "test_context": "test people, training and validation pictures: what may be known of them",
    "reserve": "used by nobody: validation people's ratings of test pictures, and training people without a training rating",
}

# Whose ratings, and of which pictures, stand in a split: 0 training, 1 validation, 2 test. `reserve` says nothing, and
# `test_context` nothing of the pictures, which are training or validation ones.
PART_OF_PERSON: Mapping[str, int] = {
    "train": 0,
    "val_seen": 0,
    "test_seen": 0,
    "val_context": 1,
    "val_unseen": 1,
    "test_context": 2,
    "test_unseen": 2,
}
PART_OF_PICTURE: Mapping[str, int] = {
    "train": 0,
    "val_context": 0,
    "val_seen": 1,
    "val_unseen": 1,
    "test_seen": 2,
    "test_unseen": 2,
}

UNSEEN = ("val_unseen", "test_unseen")
PROTOCOLS = ("train", "query")
CHOICES = ("left", "right", "tie")


def arrow_schema(columns: Mapping[str, Column], source: pa.Schema | None = None) -> pa.Schema:
    """
    Arrow schema of a table in the standard form, with the metadata by which `datasets` knows its features.

    Args:
        columns (`Mapping[str, Column]`): The standard columns, e.g. [`RATINGS`].
        source (`pa.Schema`, *optional*): Schema of a table whose other columns are kept, after the standard ones.

    Returns:
        `pa.Schema`

    Example:

    ```python
    >>> arrow_schema(USERS, pa.schema({"user_id": pa.string(), "age": pa.int64()})).names
    ['user_id', 'age']

    ```
    """
    features = {name: column.feature for name, column in columns.items()}
    if source is not None:
        extra = [field for field in source if field.name not in columns]
        features.update(Features.from_arrow_schema(pa.schema(extra)))
    return Features(features).arrow_schema
