"""Training on transformers.Trainer, validated by what the model is for: ordering new people's pictures."""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from ..configuration_pamela import PamelaConfig
from ..data.embed import FolderEmbeddings, read_embeddings
from ..data.files import DataError, atomic_folder, link_tree
from ..data.folder import DataFolder, Ratings
from ..data.joint import JointFolder, data_set_of_user, members
from ..data.processes import barrier, local_device, num_processes, process_index
from ..evaluation.protocol import Case, PersonalScorer, evaluate_scorer, validation_cases
from ..evaluation.scorers import PosteriorScorer, TokenScorer
from ..modeling_pamela import PamelaForPersonalizedScoring
from ..processing_pamela import PamelaProcessor
from ..taste.profile import TasteProfile, profile_folder_name
from .adaptation import add_lora, copy_start, module_calls
from .closed_form import fit_closed_form
from .collators import PamelaCollator, RatingDataset, UserDataset
from .noise import fit_noise
from .recipes import RECIPES


__all__ = [
    "USERS_FILE",
    "PamelaTrainer",
    "make_model",
    "save_training_profiles",
    "train",
    "train_recipe",
    "validate",
    "write_checkpoint",
]

# Names of a token model's training people, in the order of its user table.
USERS_FILE = "users.json"
ADAPTER_FOLDER = "adapter"

# Kernel features cost memory and time in the square of their landmarks.
MAX_LANDMARKS = 1024
VALIDATION_CONTEXT = 15
VALIDATION_DRAWS = 3


class PamelaTrainer(Trainer):
    """
    [`~transformers.Trainer`] whose evaluation is the user SROCC of new people (`eval_user_srocc`) with a 15-rating context.

    Args:
        scorer (callable): From the model to its [`PersonalScorer`].
        cases (list of lists of [`Case`]): The fixed validation cases of every data set.
    """

    def __init__(self, scorer: Callable[[Any], PersonalScorer], cases: list[list[Case]], **kwargs: Any) -> None:
        # The trainer insists on an evaluation data set; `evaluate` below reads the cases instead.
        super().__init__(eval_dataset=cases, **kwargs)
        self.scorer = scorer
        self.cases = cases

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Metrics on the validation cases; the arguments of the base class have no meaning here."""
        model = self.accelerator.unwrap_model(self.model)
        scores = _means(self.scorer(model), self.cases, model.config)
        metrics = {f"eval_{name}": value for name, value in scores.items()}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def get_train_dataloader(self) -> Any:
        """All items of a batch in every process: the collator takes this one's share, so a batch is the same however many there are."""
        dataset: Any = self.train_dataset
        loader: Any = DataLoader(
            dataset,
            batch_size=self.args.per_device_train_batch_size,
            shuffle=True,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
        )
        return prepare_data_loader(
            loader,
            device=self.accelerator.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            use_seedable_sampler=True,
            data_seed=self.args.data_seed,
        )

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The mean over the ratings of all processes, which need not have as many each."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if num_processes() == 1:
            return loss
        own = inputs["weights"][inputs["user_index"]].sum()
        # Gradients are averaged over processes.
        return loss * own * num_processes() / self.accelerator.reduce(own, "sum")


def _means(scorer: PersonalScorer, cases: list[list[Case]], config: PamelaConfig) -> dict[str, float]:
    """Every metric as the mean over data sets and, where there are several, for each of them."""
    metrics: dict[str, float] = {}
    scores = [evaluate_scorer(scorer, of_set, VALIDATION_CONTEXT) for of_set in cases]
    for name, key in (("user_srocc", "srocc"), ("user_plcc", "plcc"), ("mse", "mse")):
        values = [float(np.mean(getattr(of_set, key))) for of_set in scores]
        metrics[name] = float(np.mean(values))
        for member, value in zip(config.data_sets or [], values, strict=False):
            metrics[f"{name}_{member['name']}"] = value
    return metrics


def validate(model: PamelaForPersonalizedScoring, folder: DataFolder | JointFolder) -> dict[str, float]:
    """
    `user_srocc`, `user_plcc` and `mse` of a posterior model on `val_unseen`, with contexts of 15 ratings.

    Args:
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        folder ([`DataFolder`]): What it was trained on.
    """
    scorer = PosteriorScorer(model, read_embeddings(folder, model.config), data_set=data_set_of_user(folder))
    return _means(scorer, validation_cases(folder, VALIDATION_DRAWS), model.config)


def _bind_data_sets(config: PamelaConfig, folder: DataFolder | JointFolder) -> Ratings:
    """
    Write what a folder's sets are into a config; returns the training ratings, on the scale that the scores are on.

    A set's offset and scale give its training ratings the mean and the standard deviation of the first set's. Nothing tells the use of a
    scale from taste: a set whose people like more, or whose pictures are better, is taken for one that is rated higher.
    """
    ratings = folder.ratings("train")
    config.training_split = members(folder)[0].folder.split_fingerprint()
    if not isinstance(folder, JointFolder):
        return ratings
    number = data_set_of_user(folder)[ratings.user]
    values = ratings.rating_norm.copy()
    config.data_sets = []
    for place, member in enumerate(folder.members):
        own = ratings.rating_norm[number == place]
        if not len(own):
            raise DataError(f"{member.folder.path} has no training ratings; leave it out of the joint set.")
        if place == 0:
            mean, spread = own.mean(), own.std()
        # People of different sets use their scales differently. Somebody who rates all alike says nothing of it.
        scale = float(own.std() / spread) if spread > 0 and own.std() > 0 else 1.0
        offset = float(own.mean() - scale * mean) if place else 0.0
        values[number == place] = (own - offset) / scale
        config.data_sets.append(
            {
                "name": member.name,
                "rating_scale": list(member.folder.rating_scale),
                "training_split": member.folder.split_fingerprint(),
                "weight": float(member.weight),
                "offset": offset,
                "scale": scale,
                "num_users": len(np.unique(ratings.user[number == place])),
            }
        )
    return replace(ratings, rating_norm=values)


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
    folder: DataFolder | JointFolder,
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
    dtype: str | None = None,
    callbacks: list[TrainerCallback] | None = None,
    init_from: PamelaForPersonalizedScoring | None = None,
    peft: Literal["lora"] | None = None,
) -> PamelaForPersonalizedScoring:
    """
    Train a model on the `train` split.

    A model with kernel fusion is solved in closed form ([`~modeling_pamela.training.closed_form.fit_closed_form`]) and has no
    epochs; under `torchrun` every process does the same. Any other is trained, each process on its share of every batch, by [`PamelaTrainer`], which keeps the epoch that orders the validation people's pictures best.

    Args:
        folder ([`DataFolder`] or [`JointFolder`]): Split, and embedded with the config's encoders.
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
        dtype (`"bfloat16"` or `"float16"`, *optional*): Precision of the network in the forward and backward pass (autocast); weights
            and algebra stay in full precision, and so does all of the closed form. `"float16"` needs an accelerator.
        callbacks (`list`, *optional*): Further trainer callbacks.
        init_from ([`PamelaForPersonalizedScoring`], *optional*): A model to start from instead of a fresh one; `config` is then its
            [`~modeling_pamela.training.adaptation.start_config`].
        peft (`"lora"`, *optional*): Train adapters of low rank on its network instead of all weights. They are merged into the checkpoint,
            and saved in the format of peft in its folder `adapter`.

    Returns:
        [`PamelaForPersonalizedScoring`]: The best epoch's model, as saved.

    Raises:
        DataError: The folder is not split, or has no training ratings; or `output_dir` holds an interrupted run's state, and
            `resume` is not set.
        MissingEmbeddingsError: The folder is not embedded.
    """
    for member in members(folder):
        if "val_unseen" not in member.folder.splits:
            raise DataError(
                f"{member.folder.path} has no splits (found {', '.join(member.folder.splits)}). Run `pamela data split` first."
            )
    output_dir = Path(output_dir)
    if not resume and (states := sorted(output_dir.glob("checkpoint-*"))):
        raise DataError(
            f"{output_dir} holds the state of an interrupted run ({', '.join(state.name for state in states)}). Go on with it "
            "(`resume=True`, `--resume`), or delete these folders."
        )
    ratings = _bind_data_sets(config, folder)
    embeddings = read_embeddings(folder, config)
    adapter = None
    if init_from is None:
        model = make_model(config, ratings, embeddings, seed)
    else:
        set_seed(seed)
        if config.user_conditioning == "token":
            config.num_users = len(np.unique(ratings.user))
        model = copy_start(init_from, config)
        adapter = add_lora(model, init_from) if peft == "lora" else None
    if config.fusion == "kernel":
        wanted = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model.to(torch.device(local_device(wanted)))
        fit_closed_form(model, ratings, embeddings, seed, data_set_of_user(folder))
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
            bf16=dtype == "bfloat16",
            fp16=dtype == "float16",
        )
        with module_calls() if adapter is not None else nullcontext():
            _run_trainer(model, arguments, folder, ratings, embeddings, patience, resume, callbacks or [])
    model.eval()
    if config.user_conditioning == "posterior":
        fit_noise(model, folder, ratings, embeddings, seed)
    if adapter is not None and process_index() == 0:
        adapter.save_pretrained(str(output_dir / ADAPTER_FOLDER))
    if adapter is not None:
        model = cast(PamelaForPersonalizedScoring, adapter.merge_and_unload())
    if process_index() == 0:
        _save(model, folder, ratings, output_dir)
    barrier(device)
    return model


def train_recipe(
    folder: DataFolder | JointFolder,
    name: str,
    output_dir: str | Path,
    fields: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> PamelaForPersonalizedScoring:
    """
    Train a recipe as it stands, or go on with an interrupted run of it.

    Args:
        folder, output_dir, device: As in [`train`].
        name (`str`): Of [`~modeling_pamela.training.recipes.RECIPES`].
        fields (`Mapping[str, Any]`, *optional*): Other values for fields of [`PamelaConfig`].
    """
    recipe = RECIPES[name]
    config = recipe.config(**{"rating_scale": list(folder.rating_scale), **(fields or {})})
    return train(folder, config, output_dir, resume=True, device=device, **recipe.training())


def _save(
    model: PamelaForPersonalizedScoring, folder: DataFolder | JointFolder, ratings: Ratings, output_dir: Path
) -> None:
    """Write the checkpoint whole, or leave what is there as it is; the states of the run end with it."""
    with atomic_folder(output_dir) as temporary:
        write_checkpoint(model, temporary)
        if model.config.user_conditioning == "token":
            user_ids = folder.user_ids
            (temporary / USERS_FILE).write_text(json.dumps([user_ids[row] for row in np.unique(ratings.user)]))
        if output_dir.is_dir():
            states = {state.name for state in output_dir.glob("checkpoint-*")}
            link_tree(output_dir, temporary, skip=frozenset({*states, USERS_FILE}))


def write_checkpoint(model: PamelaForPersonalizedScoring, directory: Path) -> None:
    """Weights, settings, processor and code of a model, as files of a folder that exists."""
    model.save_pretrained(directory)
    PamelaProcessor.from_config(model.config).save_pretrained(directory)


def _run_trainer(
    model: PamelaForPersonalizedScoring,
    arguments: TrainingArguments,
    folder: DataFolder | JointFolder,
    ratings: Ratings,
    embeddings: FolderEmbeddings,
    patience: int | None,
    resume: bool,
    callbacks: list[TrainerCallback],
) -> None:
    is_token = model.config.user_conditioning == "token"
    data_set, raw = data_set_of_user(folder), folder.ratings("train")
    set_weights = [member.weight for member in members(folder)]

    def scorer(current: PamelaForPersonalizedScoring) -> PersonalScorer:
        if is_token:
            # Neighbours are found by ratings as given.
            return TokenScorer(current, embeddings, raw, data_set)
        return PosteriorScorer(current, embeddings, data_set=data_set)

    trainer = PamelaTrainer(
        model=model,
        args=arguments,
        train_dataset=RatingDataset(ratings) if is_token else UserDataset(ratings),
        data_collator=PamelaCollator(
            ratings, embeddings, with_user_ids=is_token, data_set=data_set, set_weights=set_weights
        ),
        scorer=scorer,
        cases=validation_cases(folder, VALIDATION_DRAWS),
        callbacks=[*([EarlyStoppingCallback(patience)] if patience else []), *callbacks],
    )
    output_dir = str(arguments.output_dir)
    if resume and process_index() == 0:
        # The trainer writes this file last: a state without it was cut off, and the one before it is still there.
        for state in Path(output_dir).glob("checkpoint-*"):
            if not (state / TRAINER_STATE_NAME).is_file():
                shutil.rmtree(state)
    barrier("cpu" if arguments.use_cpu else None)
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
