"""Uploading a model to a Hub repo."""

from pathlib import Path

from huggingface_hub import ModelCard
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig

from ..configuration_pamela import PamelaConfig
from ..data.push import PushError, PushPlan, check_repo_id, plan_files, upload
from . import checkpoint_names


__all__ = ["plan_model_push", "push_model"]

# What `from_pretrained` reads, and the card. Not the people of a training run: their names, tastes or states of a run.
NEEDED = ("README.md", "config.json", "processor_config.json", "model.safetensors")
PATTERNS = (
    "*_pamela.py",
    "gaussian_taste.py",
    "tokenizer*",
    "special_tokens_map.json",
    "vocab.txt",
    "profile_tokenizer/*",
    ".eval_results/*.yaml",
)


def plan_model_push(folder: str | Path, repo_id: str, private: bool = True) -> PushPlan:
    """
    Lists what [`push_model`] uploads: weights, settings, processor, code and card. Nothing else, and no person's taste.

    Args:
        folder (`str` or `Path`): A checkpoint.
        repo_id (`str`): `owner/name`.
        private (`bool`): Whether a new repo is private.

    Returns:
        [`~modeling_pamela.data.push.PushPlan`]

    Raises:
        PushError: `repo_id` is not the id of a repo, or `folder` is not a whole checkpoint with its code and card.
    """
    check_repo_id(repo_id)
    folder = Path(folder)
    if not folder.exists() and str(folder) in checkpoint_names():
        raise PushError(
            f"{folder} is part of the package. Write a copy first: pamela checkpoint {folder} DIR; then push DIR."
        )
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        hint = " `pamela bench card` writes a card." if missing == ["README.md"] else ""
        raise PushError(
            f"{folder} lacks {', '.join(missing)}; expected a checkpoint that `pamela train` or `pamela checkpoint` wrote, with its card.{hint}"
        )
    try:
        config = AutoConfig.from_pretrained(folder)
        with safe_open(folder / "model.safetensors", "pt") as weights:
            weights.keys()
        ModelCard.load(folder / "README.md")
    except (OSError, ValueError, SafetensorError) as error:
        raise PushError(f"{folder} is damaged: {error}") from error
    if not isinstance(config, PamelaConfig):
        raise PushError(f"{folder} is a {config.model_type!r} model, not a PAMELA checkpoint.")
    code = [f"{reference.partition('.')[0]}.py" for reference in (getattr(config, "auto_map", None) or {}).values()]
    if not code or not all((folder / name).is_file() for name in code):
        raise PushError(
            f"{folder} does not carry the code to load it. For a model of the package, `pamela checkpoint` writes a copy that does."
        )
    files = [folder / name for name in NEEDED]
    files += sorted({file for pattern in PATTERNS for file in folder.glob(pattern) if file.is_file()})
    return plan_files(folder, files, repo_id, private)


def push_model(folder: str | Path, repo_id: str, private: bool = True, token: str | None = None) -> str:
    """
    Uploads a model; the repo is made where there is none.

    Args:
        folder, repo_id, private: As in [`plan_model_push`].
        token (`str`, *optional*): By default the one of `hf auth login`.

    Returns:
        `str`: Address of the commit.

    Raises:
        PushError: As [`plan_model_push`]; or the Hub refuses it, or cannot be reached.
    """
    plan = plan_model_push(folder, repo_id, private)
    return upload(folder, plan, "model", PATTERNS, "Upload the model", token)
