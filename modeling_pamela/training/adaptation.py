"""A trained model as the start for a new community: all of its weights trained on, or low-rank adapters (LoRA) and what is about people."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from ..configuration_pamela import PamelaConfig
from ..data.files import DataError
from ..data.folder import DataFolder
from ..data.joint import JointFolder
from ..modeling_pamela import PamelaForPersonalizedScoring


__all__ = ["add_lora", "copy_start", "module_calls", "recipe_of", "start_config"]

RANK = 8
# What is about the community and its people is trained whole: it is small, and new people have other tokens.
WHOLE = ("head", "taste", "user_embeddings")


def start_config(start: PamelaForPersonalizedScoring, folder: DataFolder | JointFolder) -> PamelaConfig:
    """
    The configuration of a model that is to be trained on another data set.

    Args:
        start ([`PamelaForPersonalizedScoring`]): The model to start from.
        folder ([`DataFolder`] or [`JointFolder`]): What to train on.

    Raises:
        DataError: The model was solved in closed form, so that it has no network to train.
    """
    if start.config.fusion == "kernel":
        raise DataError(
            f"{start.name_or_path} was solved in closed form: it has no network that steps or LoRA could adapt. It learns new people as it "
            "is (`pamela profile fit`). For a new community train jointly on the old data and the new (`pamela train OLD NEW`), or start "
            "from a model of the recipe posterior-mlp or token."
        )
    config = copy.deepcopy(start.config)
    config.rating_scale = list(folder.rating_scale)
    config.data_sets = None
    return config


def recipe_of(config: PamelaConfig) -> str:
    """Name of the recipe whose steps suit a model."""
    return "token" if config.user_conditioning == "token" else "posterior-mlp"


def copy_start(start: PamelaForPersonalizedScoring, config: PamelaConfig) -> PamelaForPersonalizedScoring:
    """
    A copy of a model for other people: everybody begins as the mean person of a token model, and with the noise of the first data set.

    Args:
        start ([`PamelaForPersonalizedScoring`]): The model to start from.
        config ([`PamelaConfig`]): From [`start_config`], its number of people and data sets filled in.
    """
    model = PamelaForPersonalizedScoring(config)
    state = start.state_dict()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            given = state[name]
            if given.shape != tensor.shape:
                given = given.mean(0) if name.endswith("user_embeddings.weight") else given.reshape(-1)[0]
            tensor.copy_(given.expand_as(tensor))
    return model


def add_lora(model: PamelaForPersonalizedScoring, start: PamelaForPersonalizedScoring) -> PeftModel:
    """
    Freeze a model but for LoRA (Hu et al. 2021) on every linear layer of its network, and its head, taste or user table. In place.

    Args:
        model ([`PamelaForPersonalizedScoring`]): From [`copy_start`].
        start ([`PamelaForPersonalizedScoring`]): Where it comes from, which the adapter names.

    Returns:
        `PeftModel`: `merge_and_unload()` gives the model back, adapted.
    """
    # Attention reads the weights of its own layers past any adapter.
    layers = [f"pamela.{name}" for name, module in model.pamela.named_modules() if type(module) is nn.Linear]
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    config = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=layers,
        modules_to_save=[name for name in WHOLE if name in names],
        base_model_name_or_path=start.name_or_path,
    )
    adapted: Any = model
    return get_peft_model(adapted, config)


@contextmanager
def module_calls() -> Iterator[None]:
    """Context in which transformer layers call their linear layers. In evaluation torch reads their weights instead, past any adapter."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
