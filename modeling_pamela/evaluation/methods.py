"""The methods that a data folder and its models allow, each tuned with the same validation people, ready to be judged."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from ..data.embed import FolderEmbeddings, read_embeddings
from ..data.files import DataError
from ..data.folder import DataFolder
from ..modeling_pamela import PamelaForPersonalizedScoring
from .baselines import CrowdOracle, ResidualRidge, tune_residual_ridge
from .factorisation import MatrixFactorisation, tune_factorisation
from .protocol import Case, validation_cases
from .scorers import PopulationScorer, PosteriorScorer, TokenScorer


__all__ = ["Methods", "check_split", "ridge_features"]

# Besides the linear kernel: RBF kernels about as wide as two pictures are apart.
RIDGE_BANDWIDTHS = (None, 0.7, 1.4)
VALIDATION_DRAWS = 3


class Methods:
    """
    A posterior model, the paper's token model and the baselines, over one split data folder.

    What has to be tuned is tuned for every context size on the same cases: the people of `val_unseen`, three draws each, with contexts from other
    pictures where the split has such, by user SROCC (so on `val_unseen` itself the tuned methods are flattered).

    Args:
        folder ([`~modeling_pamela.data.folder.DataFolder`]): Split and embedded.
        model ([`PamelaForPersonalizedScoring`]): A posterior model.
        token_model ([`PamelaForPersonalizedScoring`], *optional*): The paper's model, trained on the same split.
        with_prompts (`bool`): Whether the methods may see prompts.
        trained_on ([`~modeling_pamela.data.folder.DataFolder`], *optional*):
            Another data set, that the posterior model was trained on: it is then judged across data sets, without a token model, whose
            people would be strangers here. People of two data sets are never taken for the same ones; a common picture is an error.

    Raises:
        DataError: A model was trained on another split, or not on `trained_on`, or that has a picture in common with the folder.
    """

    def __init__(
        self,
        folder: DataFolder,
        model: PamelaForPersonalizedScoring,
        token_model: PamelaForPersonalizedScoring | None = None,
        with_prompts: bool = True,
        trained_on: DataFolder | None = None,
    ) -> None:
        if trained_on is not None:
            _check_across(folder, model, token_model, trained_on)
        for judged in (model, token_model):
            if trained_on is None and judged is not None:
                check_split(judged, folder)
        self.folder, self.model, self.token_model = folder, model, token_model
        self.embeddings: FolderEmbeddings = read_embeddings(folder, model.config)
        if not with_prompts:
            self.embeddings = replace(self.embeddings, text=torch.zeros_like(self.embeddings.text))
        self.data_set = _data_set(model, trained_on or folder) or 0
        self._ridges: dict[int | None, ResidualRidge] = {}
        self._factorisations: dict[int | None, MatrixFactorisation] = {}

    @cached_property
    def validation(self) -> list[Case]:
        """What is tuned on."""
        (cases,) = validation_cases(self.folder, VALIDATION_DRAWS)
        return cases

    @cached_property
    def oracle(self) -> CrowdOracle:
        """The mean rating by everybody else."""
        every = self.folder.ratings(*self.folder.splits)
        return CrowdOracle(every.user, every.image, every.rating_norm)

    @cached_property
    def population(self) -> PopulationScorer:
        """The posterior model's score for nobody in particular."""
        return PopulationScorer(self.model, self.embeddings, self.data_set)

    @cached_property
    def posterior(self) -> PosteriorScorer:
        """The posterior model."""
        return PosteriorScorer(self.model, self.embeddings, data_set=self.data_set)

    @cached_property
    def token(self) -> TokenScorer | None:
        """The paper's model, where there is one."""
        if self.token_model is None:
            return None
        data_set = _data_set(self.token_model, self.folder) or 0
        return TokenScorer(self.token_model, self.embeddings, self.folder.ratings("train"), data_set)

    def ridge(self, k: int | None) -> ResidualRidge:
        """Population score plus a ridge on the person's residuals over the same frozen features, tuned for contexts of k ratings."""
        if k not in self._ridges:
            self._ridges[k] = tune_residual_ridge(
                self.population.scores, self.features, self.validation, k, bandwidths=RIDGE_BANDWIDTHS
            )
        return self._ridges[k]

    def factorisation(self, contexts: Sequence[int | None]) -> dict[int | None, MatrixFactorisation]:
        """Matrix factorisation with side information, tuned for each context size."""
        if missing := [k for k in contexts if k not in self._factorisations]:
            train = self.folder.ratings("train")
            self._factorisations |= tune_factorisation(
                train, self.population.scores, self.features, self.validation, missing
            )
        return self._factorisations

    @cached_property
    def features(self) -> np.ndarray:
        """`(N, D)`: see [`ridge_features`]."""
        return ridge_features(self.model, self.embeddings)


@torch.no_grad()
def ridge_features(model: PamelaForPersonalizedScoring, embeddings: FolderEmbeddings) -> np.ndarray:
    """`(N, D)`: the inputs that a posterior model sees, side by side, each with a mean square of 1 a row."""
    columns = []
    given = {"image": embeddings.image, "text": embeddings.text, "metadata": embeddings.metadata}
    for name, embeds in given.items():
        if name in model.pamela.projections:
            projected = model.pamela.projections[name](embeds.to(model.device)).double().cpu().numpy()
            columns.append(projected / projected.shape[1] ** 0.5)
    return np.concatenate(columns, axis=1)


def check_split(model: PamelaForPersonalizedScoring, folder: DataFolder) -> None:
    """
    Refuses to judge a model on people or pictures that it may have been trained on.

    Raises:
        DataError: The folder is not split, or the model was trained on another split than the folder's, or on everybody.
    """
    if list(folder.splits) == ["train"]:
        raise DataError(f"{folder.path} has no splits, so nobody to judge it on. Run `pamela data split` first.")
    if _data_set(model, folder) is None:
        raise DataError(
            f"A model was trained on another split than that of {folder.path}, or on all of its people, so it may have seen what it would be "
            "tested on. Train it on this split, or evaluate on the folder it was trained on; to judge it on another data set, say which one "
            "it was trained on (`pamela evaluate --cross`)."
        )


def _check_across(
    folder: DataFolder,
    model: PamelaForPersonalizedScoring,
    token_model: PamelaForPersonalizedScoring | None,
    trained_on: DataFolder,
) -> None:
    if token_model is not None:
        raise DataError("A token model knows nobody of another data set. Leave it out.")
    if _data_set(model, trained_on) is None:
        raise DataError(f"The model was not trained on the split of {trained_on.path}.")
    common = set(folder.images["sha256"].to_pylist()) & set(trained_on.images["sha256"].to_pylist())
    if common:
        raise DataError(
            f"{folder.path} and {trained_on.path}, which the model was trained on, have {len(common)} pictures in common. Choose data "
            "sets without common pictures."
        )


def _data_set(model: PamelaForPersonalizedScoring, folder: DataFolder) -> int | None:
    """Which of the data sets that a model was trained on a folder is; `None` where it is none of them."""
    trained_on = [member["training_split"] for member in model.config.data_sets or []] or [model.config.training_split]
    fingerprint = folder.split_fingerprint()
    return next((number for number, split in enumerate(trained_on) if split in (None, fingerprint)), None)
