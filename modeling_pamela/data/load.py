"""Loading a data set in the standard form as `datasets` tables."""

from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from .builder import PamelaDataError, PamelaDatasetBuilder, split_files
from .folder import DataFolderError


__all__ = ["load_pamela"]


def load_pamela(
    path_or_repo: str | Path, config: str = "ratings", split: str | None = None, streaming: bool = False
) -> Any:
    """
    Loads one table of a data set.

    Args:
        path_or_repo (`str` or `Path`): Folder in the standard form, or id of a data set repo, of which only this table is downloaded.
        config (`str`): `"ratings"`, `"users"`, `"images"`, `"pairs"`, `"contexts"`, `"embeddings"` or `"preview"`.
        split (`str`, *optional*): By default all of them.
        streaming (`bool`): Read row by row from the files and write no cache.

    Returns:
        `datasets.Dataset` or `datasets.IterableDataset`, or a dictionary of them by split where `split` is not given.

    Raises:
        DataFolderError: There is no such data set, config or split.

    Example:

    ```python
    >>> ratings = load_pamela("path/to/data", split="train")  # doctest: +SKIP
    >>> ratings[0]["rating"]  # doctest: +SKIP

    ```
    """
    if config not in PamelaDatasetBuilder.builder_configs:
        raise DataFolderError(
            f"There is no config {config!r}; choose one of {', '.join(PamelaDatasetBuilder.builder_configs)}."
        )
    folder = Path(path_or_repo)
    if not folder.is_dir():
        folder = _download(str(path_or_repo), config)
    try:
        splits = split_files(folder, config)
    except PamelaDataError as error:
        raise DataFolderError(str(error)) from error
    if split is not None and split not in splits:
        raise DataFolderError(f"{folder} has no {config} split {split!r}; it has {sorted(splits)}.")
    builder = PamelaDatasetBuilder(config_name=config, data_dir=str(folder.resolve()))
    try:
        if streaming:
            return builder.as_streaming_dataset(split)
        builder.download_and_prepare()
        return builder.as_dataset(split)
    except (datasets.exceptions.DatasetGenerationError, OSError, ValueError) as error:
        raise DataFolderError(
            f"{config} of {folder} cannot be read ({error.__cause__ or error}). Check it with `pamela data validate`."
        ) from error


def _download(repo_id: str, config: str) -> Path:
    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", allow_patterns=["README.md", f"{config}/*"]))
    except HFValidationError as error:
        raise DataFolderError(f"There is no folder {repo_id}, and it is not the id of a repo (owner/name).") from error
    except (RepositoryNotFoundError, LocalEntryNotFoundError, OSError) as error:
        raise DataFolderError(
            f"There is no folder {repo_id}, and no data set repo of that name can be downloaded: {error}"
        ) from error
