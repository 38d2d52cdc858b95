"""
`datasets` builder of a data set in the standard form. This file needs nothing of its package, so that it also is the loading script of
datasets 2 and 3: `load_dataset("builder.py", "ratings", data_dir="path/to/data", trust_remote_code=True)`.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq


# Config to its files; those with a star in the folder's place are one split.
_FILES = {
    "ratings": "ratings/*.parquet",
    "users": "users/*.parquet",
    "images": "images/*.parquet",
    "pairs": "pairs/*.parquet",
    "contexts": "contexts/*.parquet",
    "embeddings": "embeddings/*/part-*.parquet",
    "preview": "preview/*.parquet",
}


class PamelaDataError(ValueError):
    """The folder is no data set in the standard form, or has no such config."""


def split_files(folder: str | Path, config: str) -> dict[str, list[str]]:
    """
    The Parquet files of a config.

    Args:
        folder (`str` or `Path`): A data set in the standard form.
        config (`str`): E.g. `"ratings"`.

    Returns:
        `dict[str, list[str]]`: Split to its files, in order.

    Raises:
        PamelaDataError: There is no such folder, it has no such config, or shards are missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PamelaDataError(f"There is no folder {folder}. Expected a data set in the standard form.")
    splits: dict[str, list[str]] = {}
    for file in sorted(folder.glob(_FILES[config])):
        if not file.name.startswith("."):
            # Shards are named <split>-00000-of-00001; embeddings by what they embed.
            split = "train" if config == "embeddings" else file.stem.partition("-")[0]
            splits.setdefault(split, []).append(str(file))
    if not splits:
        present = [name for name, pattern in _FILES.items() if any(folder.glob(pattern))]
        raise PamelaDataError(
            f"{folder} has no {config!r}; it has {present}."
            if present
            else f"{folder} is not a data set in the standard form. Pass its folder as data_dir=..."
        )
    for files in splits.values():
        number = Path(files[0]).stem.rpartition("-of-")[2]
        if number.isdigit() and len(files) != int(number):
            raise PamelaDataError(f"{folder} has {len(files)} of {int(number)} {config} shards. Download it again.")
    return splits


class PamelaDatasetConfig(datasets.BuilderConfig):
    """A table of the data set. What was prepared is used again only while the files stay the same."""

    def create_config_id(
        self, config_kwargs: dict[str, object], custom_features: datasets.Features | None = None
    ) -> str:
        name: str = super().create_config_id(config_kwargs, custom_features)
        digest = hashlib.sha256()
        if self.data_dir and Path(self.data_dir).is_dir():
            for file in sorted(Path(self.data_dir).glob(_FILES[self.name])):
                status = file.stat()
                digest.update(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
        return f"{name}-{digest.hexdigest()[:16]}"


class PamelaDatasetBuilder(datasets.ArrowBasedBuilder):
    """
    Builder with the configs `ratings` (default), `users`, `images`, `pairs`, `contexts`, `embeddings` and `preview`.

    Tables are handed on as Arrow, never row by row.

    Args:
        config_name (`str`): The table.
        data_dir (`str`): A data set in the standard form; by default the folder in which this script lies.

    Example:

    ```python
    >>> builder = PamelaDatasetBuilder(config_name="ratings", data_dir="path/to/data")  # doctest: +SKIP
    >>> builder.download_and_prepare()  # doctest: +SKIP
    >>> train = builder.as_dataset("train")  # doctest: +SKIP
    >>> stream = builder.as_streaming_dataset("test_unseen")  # doctest: +SKIP

    ```
    """

    BUILDER_CONFIG_CLASS = PamelaDatasetConfig
    BUILDER_CONFIGS = [PamelaDatasetConfig(name=name) for name in _FILES]  # noqa: RUF012
    DEFAULT_CONFIG_NAME = "ratings"

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo()  # features come with the files: each source has columns of its own

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        folder = self.config.data_dir or self.base_path or "."
        splits = split_files(folder, self.config.name)
        # From the Arrow types alone: the features written by one version of datasets are not readable by every other.
        schema = pq.read_schema(next(iter(splits.values()))[0]).remove_metadata()
        features = datasets.Features.from_arrow_schema(schema)
        if "image" in features:
            features["image"] = datasets.Image()
        self.info.features = features
        return [datasets.SplitGenerator(name=split, gen_kwargs={"files": files}) for split, files in splits.items()]

    def _generate_tables(self, files: list[str]) -> Iterator[tuple[tuple[int, int], pa.Table]]:
        schema = self.info.features.arrow_schema
        rows = 64 if "image" in schema.names else 65_536
        for index, file in enumerate(files):
            with pq.ParquetFile(file) as parquet:
                for number, batch in enumerate(parquet.iter_batches(rows)):
                    yield (index, number), pa.Table.from_batches([batch]).cast(schema)
