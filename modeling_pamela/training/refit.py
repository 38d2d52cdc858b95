"""The last step of a training: the same recipe once more, on everybody, after it was judged on people held out."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch

from ..configuration_pamela import PamelaConfig
from ..data.embed import read_embeddings
from ..data.files import DataError, atomic_folder
from ..data.folder import DataFolder
from ..modeling_pamela import PamelaForPersonalizedScoring
from .closed_form import fit_closed_form
from .trainer import make_model, write_checkpoint


__all__ = ["refit"]


def refit(
    folder: DataFolder,
    held_out: Sequence[PamelaForPersonalizedScoring],
    output_dir: str | Path,
    seed: int = 0,
) -> PamelaForPersonalizedScoring:
    """
    Train a model of the closed form on all ratings of a folder, whatever their splits.

    Its noise model is that of the models given (the mean of its numbers), because it can only be learned from people and pictures that a
    model was not trained on.

    Args:
        folder ([`DataFolder`]): Embedded with the models' encoders. It need not be split.
        held_out (sequence of [`PamelaForPersonalizedScoring`]): One recipe, trained with people held out, on one split or more.
        output_dir (`str` or `Path`): The checkpoint.
        seed (`int`): As in [`~modeling_pamela.training.trainer.train`].

    Returns:
        [`PamelaForPersonalizedScoring`]: As saved.

    Raises:
        DataError: There is no model, one is not of the closed form or was trained on several data sets, or they differ in their settings.
        MissingEmbeddingsError: The folder is not embedded.
    """
    if not held_out or any(model.config.fusion != "kernel" or model.config.data_sets for model in held_out):
        raise DataError(
            'Expected one posterior model of the closed form (`fusion="kernel"`) or more, trained on one data set, to refit.'
        )
    if any(_settings(model.config) != _settings(held_out[0].config) for model in held_out):
        raise DataError("The models to refit differ in their settings; expected runs of one recipe.")
    config = copy.deepcopy(held_out[0].config)
    config.training_split = folder.split_fingerprint(*folder.splits)
    ratings, embeddings = folder.ratings(*folder.splits), read_embeddings(folder, config)
    model = make_model(config, ratings, embeddings, seed)
    fit_closed_form(model, ratings, embeddings, seed)
    noise = torch.stack([trained.posterior_taste.noise_model for trained in held_out])
    model.posterior_taste.noise_model.copy_(noise.mean(0))
    model.eval()
    with atomic_folder(output_dir) as temporary:
        write_checkpoint(model, temporary)
    return model


def _settings(config: PamelaConfig) -> dict[str, object]:
    """What is not computed from the training data."""
    found = config.to_dict()
    for name in (
        "num_landmarks",
        "training_split",
        "_name_or_path",
        "dtype",
        "transformers_version",
        "architectures",
        "auto_map",
    ):
        found.pop(name, None)
    return found
