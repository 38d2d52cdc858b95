"""Uploading a data set to a Hub repo."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id

from .files import DataError
from .folder import DataFolder, open_parquet
from .schema import CONFIGS


__all__ = ["PushError", "PushPlan", "check_repo_id", "plan_files", "plan_push", "push_folder", "upload"]


class PushError(DataError):
    """A data set or a model cannot be uploaded."""


@dataclass(frozen=True)
class PushPlan:
    """
    What an upload consists of.

    Attributes:
        repo_id (`str`): The repo.
        private (`bool`): Whether a repo that is made is private. One that exists stays as it is.
        files (`dict[str, int]`): Path in the repo to bytes.
        left_out (`list[str]`): Files of the folder that are not uploaded.
    """

    repo_id: str
    private: bool
    files: dict[str, int]
    left_out: list[str]

    def __str__(self) -> str:
        lines = [f"{size:>15,}  {name}" for name, size in self.files.items()]
        who = "private: only you and those you invite see it" if self.private else "PUBLIC: everyone sees it"
        lines.append(f"{sum(self.files.values()):>15,}  bytes in {len(self.files)} files to {self.repo_id} ({who})")
        return "\n".join([*lines, *(f"not uploaded: {name}" for name in self.left_out)])


def plan_push(folder: str | Path, repo_id: str, private: bool = True) -> PushPlan:
    """
    Lists what [`push_folder`] uploads: the card, its plots, and the files that the card's `configs:` name. Nothing else.

    Args:
        folder (`str` or `Path`): A data set in the standard form.
        repo_id (`str`): `owner/name`.
        private (`bool`): Whether a new repo is private.

    Returns:
        [`PushPlan`]

    Raises:
        PushError: `repo_id` is not the id of a repo.
        DataFolderError: `folder` is no data set, or is incomplete or damaged.
    """
    check_repo_id(repo_id)
    data = DataFolder(folder)
    files = [data.path / "README.md", *sorted((data.path / "assets").glob("*.png"))]
    for config in data.metadata["configs"]:
        for entry in config["data_files"]:
            for file in data.files(config["config_name"], entry["split"]):
                with open_parquet(file):  # a file that is cut off has no footer
                    files.append(file)
    return plan_files(data.path, files, repo_id, private)


def check_repo_id(repo_id: str) -> None:
    """A [`PushError`] for what is not the id of a repo, `owner/name`."""
    try:
        validate_repo_id(repo_id)
        if "/" not in repo_id:
            raise HFValidationError("The owner is missing.")
    except HFValidationError as error:
        raise PushError(f"{repo_id!r} is not the id of a repo: expected owner/name. {error}") from error


def plan_files(folder: Path, files: Sequence[Path], repo_id: str, private: bool) -> PushPlan:
    """The plan that these files of a folder go up, and no others."""
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
    every = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return PushPlan(repo_id, private, sizes, [name for name in every if name not in sizes])


def push_folder(folder: str | Path, repo_id: str, private: bool = True, token: str | None = None) -> str:
    """
    Uploads a data set; the repo is made where there is none. Tables and plots of an earlier upload that are no longer part of the
    data set are removed from the repo: `load_dataset` would read them along.

    Args:
        folder (`str` or `Path`): A data set in the standard form, best one written by `pamela data build`.
        repo_id (`str`): `owner/name`.
        private (`bool`): Whether a new repo is private.
        token (`str`, *optional*): By default the one of `hf auth login`.

    Returns:
        `str`: Address of the commit.

    Raises:
        PushError: The Hub refuses it, or cannot be reached.
        DataFolderError: `folder` is no data set, or is incomplete or damaged.
    """
    stale = [*(f"{config}/*.parquet" for config in CONFIGS), "assets/*.png"]
    return upload(folder, plan_push(folder, repo_id, private), "dataset", stale, "Upload the data set", token)


def upload(
    folder: str | Path, plan: PushPlan, repo_type: str, stale: Sequence[str], message: str, token: str | None = None
) -> str:
    """
    Uploads what a plan lists; the repo is made where there is none.

    Args:
        folder (`str` or `Path`): What the plan is of.
        plan ([`PushPlan`]): From [`plan_push`], for example.
        repo_type (`"dataset"` or `"model"`): Kind of the repo.
        stale (sequence of `str`): Patterns of files of the repo that are removed if the plan has them no longer.
        message (`str`): Of the commit.
        token (`str`, *optional*): By default the one of `hf auth login`.

    Returns:
        `str`: Address of the commit.

    Raises:
        PushError: The Hub refuses it, or cannot be reached.
    """
    api = HfApi(token=token)
    try:
        api.create_repo(plan.repo_id, repo_type=repo_type, private=plan.private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=plan.repo_id,
            folder_path=folder,
            repo_type=repo_type,
            allow_patterns=list(plan.files),
            delete_patterns=list(stale),
            commit_message=message,
        )
    except LocalTokenNotFoundError as error:
        raise PushError("There is no token. Run `hf auth login` first.") from error
    except (HfHubHTTPError, OSError) as error:
        raise PushError(
            f"{plan.repo_id} was not uploaded: {error}. Check the connection, the token and its rights."
        ) from error
    return str(commit.commit_url)
