"""Training on transformers.Trainer, validated by what the model is for: ordering new people's pictures."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from ..configuration_pamela import PamelaConfig
from ..data.embed import FolderEmbeddings, read_embeddings
from ..data.files import DataError
from ..data.folder import DataFolder, Ratings
from ..evaluation.protocol import Case, PersonalScorer, Scores, evaluate_scorer, unseen_cases
from ..evaluation.scorers import PosteriorScorer, TokenScorer
from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor
from ..taste.profile import TasteProfile, profile_folder_name
from .closed_form import fit_closed_form
from .collators import PamelaCollator, RatingDataset, UserDataset
from .noise import fit_noise


__all__ = ["USERS_FILE", "PamelaTrainer", "make_model", "save_training_profiles", "train", "validate"]

# Names of a token model's training people, in the order of its user table.
USERS_FILE = "users.json"

# Kernel features cost memory and time in the square of their landmarks.
MAX_LANDMARKS = 1024
VALIDATION_CONTEXT = 15
VALIDATION_DRAWS = 3


class PamelaTrainer(Trainer):
    """
    [`~transformers.Trainer`] whose evaluation is the user SROCC of new people (`eval_user_srocc`) with a 15-rating context.

    Args:
        scorer (callable): From the model to its [`PersonalScorer`].
        cases (list of [`Case`]): The fixed validation cases.
    """

    def __init__(self, scorer: Callable[[Any], PersonalScorer], cases: list[Case], **kwargs: Any) -> None:
        # The trainer insists on an evaluation data set; `evaluate` below reads the cases instead.
        super().__init__(eval_dataset=cases, **kwargs)
        self.scorer = scorer
        self.cases = cases

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Metrics on the validation cases; the arguments of the base class have no meaning here."""
        scores = evaluate_scorer(
            self.scorer(self.accelerator.unwrap_model(self.model)), self.cases, VALIDATION_CONTEXT
        )
        metrics = {f"eval_{name}": value for name, value in _means(scores).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def _means(scores: Scores) -> dict[str, float]:
    return {
        "user_srocc": float(np.mean(scores.srocc)),
        "user_plcc": float(np.mean(scores.plcc)),
        "mse": float(np.mean(scores.mse)),
    }


def validate(model: PamelaForPersonalizedScoring, folder: DataFolder) -> dict[str, float]:
    """
    `user_srocc`, `user_plcc` and `mse` of a posterior model on `val_unseen`, with contexts of 15 ratings.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        folder ([`DataFolder`]): What it was trained on.
    """
    cases = unseen_cases(folder, "val_unseen", max_draws=VALIDATION_DRAWS)
    scorer = PosteriorScorer(model, read_embeddings(folder, model.config))
    return _means(evaluate_scorer(scorer, cases, VALIDATION_CONTEXT))


def make_model(
    config: PamelaConfig, train_ratings: Ratings, embeddings: FolderEmbeddings, seed: int
) -> PamelaForPersonalizedScoring:
    """
    A fresh model with everything set that is computed from the training data: input components, mean rating, size of the user table.

    Args:
        config ([`PamelaConfig`]): Its `num_users` or `num_landmarks` is filled in.
        train_ratings ([`~modeling_pamela.data.folder.Ratings`]): Training ratings.
        embeddings ([`~modeling_pamela.data.embed.FolderEmbeddings`]): Of their data folder.
        seed (`int`): Of the initial weights.
    """
    set_seed(seed)
    pictures, users = np.unique(train_ratings.image), np.unique(train_ratings.user)
    if config.user_conditioning == "token":
        config.num_users = len(users)
    if config.fusion == "kernel":
        config.num_landmarks = min(len(pictures), MAX_LANDMARKS)
    model = PamelaForPersonalizedScoring(config)
    model.fit_inputs(
        float(train_ratings.rating_norm.mean()),
        image=embeddings.image[pictures],
        text=embeddings.text[pictures],
        metadata=embeddings.metadata[pictures],
        demographics=embeddings.demographics[users],
    )
    return model


def train(
    folder: DataFolder,
    config: PamelaConfig,
    output_dir: str | Path,
    *,
    num_epochs: float,
    learning_rate: float,
    batch_size: int,
    weight_decay: float = 0.01,
    warmup_steps: float = 100,
    lr_scheduler_type: str = "constant_with_warmup",
    patience: int | None = None,
    seed: int = 0,
    resume: bool = False,
    device: str | None = None,
    callbacks: list[TrainerCallback] | None = None,
) -> PamelaForPersonalizedScoring:
    """
    Train a model on the `train` split.

    A model with kernel fusion is solved in closed form ([`~modeling_pamela.training.closed_form.fit_closed_form`]) and has no
    epochs. Any other is trained by [`PamelaTrainer`], which keeps the epoch that orders the validation people's pictures best.

    Args:
        folder ([`DataFolder`]): Split, and embedded with the config's encoders.
        config ([`PamelaConfig`]): What to train.
        output_dir (`str` or `Path`): The checkpoint: config, weights, processor. The trainer's own resume state is kept in
            `checkpoint-*` folders inside it until the run ends.
        num_epochs (`float`): Not with kernel fusion, as all that follow but `seed`: passes over the training people (posterior) or ratings (token).
        learning_rate, weight_decay, warmup_steps, lr_scheduler_type: Of AdamW and its schedule; a `warmup_steps` below 1 is a share of all steps.
        batch_size (`int`): People (posterior) or ratings (token) a step.
        patience (`int`, *optional*): Stop after so many epochs without a better validation.
        seed (`int`): Same seed, same data, same machine: same weights.
        resume (`bool`): Go on from the last state in `output_dir`, to the same result as an uninterrupted run.
        device (`str`, *optional*): `"cpu"` keeps a machine's accelerator out of it.
        callbacks (`list`, *optional*): Further trainer callbacks.

    Returns:
        [`PamelaForPersonalizedScoring`]: The best epoch's model, as saved.

    Raises:
        DataError: The folder is not split, or has no training ratings; or `output_dir` holds an interrupted run's state, and
            `resume` is not set.
        MissingEmbeddingsError: The folder is not embedded.
    """
    if "val_unseen" not in folder.splits:
        raise DataError(
            f"{folder.path} has no splits (found {', '.join(folder.splits)}). Run `pamela data split` first."
        )
    output_dir = Path(output_dir)
    if not resume and (states := sorted(output_dir.glob("checkpoint-*"))):
        raise DataError(
            f"{output_dir} holds the state of an interrupted run ({', '.join(state.name for state in states)}). Go on with it "
            "(`resume=True`, `--resume`), or delete these folders."
        )
    config.training_split = folder.split_fingerprint()
    ratings = folder.ratings("train")
    embeddings = read_embeddings(folder, config)
    model = make_model(config, ratings, embeddings, seed)
    if config.fusion == "kernel":
        fit_closed_form(model, ratings, embeddings, seed)
    else:
        arguments = TrainingArguments(
            output_dir=str(output_dir),
            num_train_epochs=num_epochs,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            lr_scheduler_type=lr_scheduler_type,
            per_device_train_batch_size=batch_size,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=1,
            restore_callback_states_from_checkpoint=True,
            load_best_model_at_end=True,
            metric_for_best_model="user_srocc",
            greater_is_better=True,
            logging_strategy="epoch",
            report_to="none",
            seed=seed,
            data_seed=seed,
            remove_unused_columns=False,
            label_names=["labels"],
            dataloader_pin_memory=False,
            use_cpu=device == "cpu",
        )
        _run_trainer(model, arguments, folder, ratings, embeddings, patience, resume, callbacks or [])
    model.eval()
    if config.user_conditioning == "posterior":
        fit_noise(model, folder, embeddings, seed)
    # Without weights a folder is no checkpoint: an old one's must not stand beside a new config if this is interrupted.
    (output_dir / "model.safetensors").unlink(missing_ok=True)
    model.save_pretrained(output_dir)
    PamelaProcessor.from_config(config).save_pretrained(output_dir)
    if config.user_conditioning == "token":
        names = [folder.user_ids[row] for row in np.unique(ratings.user)]
        (output_dir / USERS_FILE).write_text(json.dumps(names))
    for state in output_dir.glob("checkpoint-*"):
        shutil.rmtree(state)
    return model


def _run_trainer(
    model: PamelaForPersonalizedScoring,
    arguments: TrainingArguments,
    folder: DataFolder,
    ratings: Ratings,
    embeddings: FolderEmbeddings,
    patience: int | None,
    resume: bool,
    callbacks: list[TrainerCallback],
) -> None:
    is_token = model.config.user_conditioning == "token"

    def scorer(current: PamelaForPersonalizedScoring) -> PersonalScorer:
        return TokenScorer(current, embeddings, ratings) if is_token else PosteriorScorer(current, embeddings)

    trainer = PamelaTrainer(
        model=model,
        args=arguments,
        train_dataset=RatingDataset(ratings) if is_token else UserDataset(ratings),
        data_collator=PamelaCollator(ratings, embeddings, with_user_ids=is_token),
        scorer=scorer,
        cases=unseen_cases(folder, "val_unseen", max_draws=VALIDATION_DRAWS),
        callbacks=[*([EarlyStoppingCallback(patience)] if patience else []), *callbacks],
    )
    output_dir = str(arguments.output_dir)
    if resume:
        # The trainer writes this file last: a state without it was cut off, and the one before it is still there.
        for state in Path(output_dir).glob("checkpoint-*"):
            if not (state / TRAINER_STATE_NAME).is_file():
                shutil.rmtree(state)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(output_dir) if resume else None)


def save_training_profiles(model: PamelaForPersonalizedScoring, folder: DataFolder, directory: str | Path) -> int:
    """
    Save the tastes of the training people of a posterior model, one folder a person.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        folder ([`DataFolder`]): What it was trained on.
        directory (`str` or `Path`): Where to write; a person's folder has their user_id, percent-encoded, as its name.

    Returns:
        `int`: Number of profiles.

    Raises:
        ProfileError: The model is a token model, whose user table is part of its weights.
    """
    ratings, embeddings = folder.ratings("train"), read_embeddings(folder, model.config)
    people, device = UserDataset(ratings), model.device
    for rows in people.rows:
        user, images = ratings.user[rows[0]], ratings.image[rows]
        profile = TasteProfile.fit(
            model,
            torch.from_numpy(ratings.rating_norm[rows]),
            image_embeds=embeddings.image[images].to(device),
            text_embeds=embeddings.text[images].to(device),
            metadata_embeds=embeddings.metadata[images].to(device),
            demographics_embeds=embeddings.demographics[[user]].to(device),
        )
        profile.save_pretrained(Path(directory) / profile_folder_name(folder.user_ids[user]))
    return len(people)
