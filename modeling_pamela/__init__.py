"""
modeling_pamela: personal taste for generative pictures.

The models and their Auto classes are ready after `import modeling_pamela`; everything else is imported on first use.
"""

from importlib import import_module
from typing import Any

from transformers import AutoConfig, AutoModel, AutoProcessor

from .configuration_pamela import PamelaConfig
from .modeling_pamela import PamelaForPersonalizedScoring, PamelaModel
from .processing_pamela import PamelaProcessor


__version__ = "0.1.0"

_LAZY = {
    "DiffusersRenderer": ".steering.diffusers_renderer",
    "DifferentiableReward": ".rewards.differentiable",
    "DiffusionReward": ".rewards.diffusion_rl",
    "Guards": ".steering.guards",
    "ImageTextReward": ".rewards.image_text",
    "InferenceClientProposer": ".steering.inference_client",
    "LLMProposer": ".steering.llm",
    "ModifierProposer": ".steering.modifiers",
    "PamelaReward": ".rewards.trl",
    "PamelaSteeringPipeline": ".steering.pipeline",
    "PersonalReward": ".rewards.personal",
    "SearchSettings": ".steering.search",
    "load_pamela": ".data.load",
    "TasteProfile": ".taste.profile",
    "TasteStore": ".taste.store",
    "blend": ".taste.groups",
    "checkpoint": ".checkpoints",
    "group_profile": ".taste.groups",
    "onboarding_order": ".taste.onboarding",
    "suggest_next": ".taste.onboarding",
    "suggest_pair": ".taste.onboarding",
}

__all__ = [
    "PamelaConfig",
    "PamelaForPersonalizedScoring",
    "PamelaModel",
    "PamelaProcessor",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)


AutoConfig.register(PamelaConfig.model_type, PamelaConfig, exist_ok=True)
AutoModel.register(PamelaConfig, PamelaForPersonalizedScoring, exist_ok=True)
AutoProcessor.register(PamelaConfig, PamelaProcessor, exist_ok=True)
# A checkpoint carries these files, so that it also loads where this package is not installed.
PamelaConfig.register_for_auto_class()
PamelaForPersonalizedScoring.register_for_auto_class("AutoModel")
PamelaProcessor.register_for_auto_class()
