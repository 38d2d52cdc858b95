"""PAMELA models: what one person will like, from a picture, its prompt, its metadata and what is known of the person."""

import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .configuration_pamela import PamelaConfig
from .encoders_pamela import EncoderError, FrozenEncoder, load_image_encoder, load_text_encoder
from .gaussian_taste import (
    TastePosterior,
    log_marginal_likelihood,
    predictive_variance,
    rating_noise,
    taste_posterior,
)


__all__ = [
    "PamelaForPersonalizedScoring",
    "PamelaModel",
    "PamelaModelOutput",
    "PamelaPreTrainedModel",
    "PamelaScoringOutput",
]


@dataclass
class PamelaModelOutput(ModelOutput):
    """
    Output of [`PamelaModel`].

    Args:
        pooler_output (`torch.Tensor` of shape `(R, hidden_size)`): The fused representation of every row.
        image_projection (`torch.Tensor` of shape `(N, P)`, *optional*): Picture embeddings as the network sees them.
        text_projection (`torch.Tensor` of shape `(N, P)`, *optional*): Prompt embeddings as the network sees them.
    """

    pooler_output: Tensor | None = None
    image_projection: Tensor | None = None
    text_projection: Tensor | None = None


@dataclass
class PamelaScoringOutput(ModelOutput):
    """
    Output of [`PamelaForPersonalizedScoring`]. N pictures, R rows (a row is a picture for a person), W taste features.

    Args:
        loss (`torch.Tensor` of shape `()`, *optional*):
            Given `labels`. Posterior: negative log marginal likelihood per rating. Token: mean squared error.
        scores (`torch.Tensor` of shape `(R,)`): Personal scores; 0 and 1 are the ends of the rating scale, and a score may leave them.
        population_scores (`torch.Tensor` of shape `(N,)`, *optional*): Scores for nobody in particular (posterior models).
        taste_features (`torch.Tensor` of shape `(N, W)`, *optional*): `phi(x)` of every picture (posterior models).
        std (`torch.Tensor` of shape `(R,)`, *optional*): Standard deviation of `scores`, rating noise not included (posterior models).
        novelty (`torch.Tensor` of shape `(N,)`, *optional*):
            How far every picture lies from the training pictures (models with kernel fusion that use pictures): the share of the picture
            kernel's variance that these do not explain, from 0 (one of them) to 1 (unlike all of them, or no picture given). `std`
            grows with it. Its mean over a person's pictures says how far from home the model is with this person.
    """

    loss: Tensor | None = None
    scores: Tensor | None = None
    population_scores: Tensor | None = None
    taste_features: Tensor | None = None
    std: Tensor | None = None
    novelty: Tensor | None = None


class PamelaPreTrainedModel(PreTrainedModel):
    """Weights, initialisation, loading, and the frozen encoders, which are neither trained nor saved."""

    config: PamelaConfig
    config_class = PamelaConfig
    base_model_prefix = "pamela"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = False
    # What is a `FullPrecisionModule`, for `from_pretrained(dtype=...)`.
    _keep_in_fp32_modules_strict = {"projections", "kernels", "taste", "head", "head_without_prompt"}  # noqa: RUF012
    # Checkpoints older than the noise model have Gaussian noise, alike for all: zeros.
    _keys_to_ignore_on_load_missing = [r"taste\.noise_model"]  # noqa: RUF012

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PamelaProjection):
            for buffer in (module.mean, module.components):
                if buffer is not None:
                    init.zeros_(buffer)
        elif isinstance(module, PamelaFreeDirections):
            init.copy_(module.frequencies, module.draw_frequencies())
            if module.covered is not None:
                init.zeros_(module.covered)
        elif isinstance(module, PamelaKernelFeatures):
            init.zeros_(module.landmarks)
            init.zeros_(module.whitening)
        elif isinstance(module, PamelaTransformerFusion):
            init.normal_(module.cls_token, std=self.config.initializer_range)
        elif isinstance(module, PamelaTaste):
            init.constant_(module.log_noise_std, math.log(0.2))
            init.constant_(module.log_prior_std, math.log(0.1))
            init.zeros_(module.noise_model)
            if module.demographics is not None:
                init.zeros_(module.demographics.weight)
                init.zeros_(module.demographics.bias)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """
        Load a checkpoint as [`~transformers.PreTrainedModel.from_pretrained`] does, but refuse one that is not whole.

        Raises:
            OSError: The weights are cut off, or some of them are missing or of another shape.
        """
        with_info = kwargs.pop("output_loading_info", False)
        model: Any
        info: dict[str, Any]
        try:
            model, info = super().from_pretrained(
                pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
            )
        except (SafetensorError, RuntimeError) as error:
            raise OSError(
                f"The weights in {pretrained_model_name_or_path} cannot be read ({error}). The file is cut off or damaged, or "
                "does not belong to the config beside it; copy or download the checkpoint again."
            ) from error
        if missing := sorted(info["missing_keys"]):
            raise OSError(
                f"The checkpoint {pretrained_model_name_or_path} lacks {len(missing)} of the model's tensors "
                f"({', '.join(missing[:3])}, …). It is incomplete or of another kind of model; copy or download it again."
            )
        return (model, info) if with_info else model

    # Frozen encoders ------------------------------------------------------------------------------------------------

    def encoder(self, role: str) -> FrozenEncoder:
        """
        The frozen encoder of a role, loaded on first use and moved to the model's device.

        Args:
            role (`str`): `"image"`, `"text"` or `"profile"`.

        Raises:
            [`EncoderError`]: The config names none, it cannot be loaded, or it is not the one the head was trained on.
        """
        encoders = self.__dict__.setdefault("_frozen_encoders", {})
        if role not in encoders:
            name = getattr(self.config, f"{role}_encoder")
            if name is None:
                raise EncoderError(
                    f"This model names no {role} encoder, so it takes precomputed embeddings only. Pass `{role}_embeds`, or set "
                    f"`config.{role}_encoder`."
                )
            encoder = load_image_encoder(name) if role == "image" else load_text_encoder(name)
            self._check_encoder(role, encoder)
            encoders[role] = encoder
        # Models share their encoders, so one follows whichever model uses it; its precision stays its own.
        return encoders[role].to(self.device)

    def _check_encoder(self, role: str, encoder: FrozenEncoder) -> None:
        width = getattr(self.config, f"{role}_embed_dim")
        if encoder.embed_dim != width:
            raise EncoderError(
                f"The {role} encoder {encoder.name!r} gives embeddings of width {encoder.embed_dim}, but the model was made for "
                f"width {width}. Name the encoder it was trained with."
            )
        encoder.check_fingerprint(role, self.config.encoder_fingerprints)

    def get_image_embeds(
        self, pixel_values: Tensor, pixel_attention_mask: Tensor | None = None, spatial_shapes: Tensor | None = None
    ) -> Tensor:
        """
        Frozen picture embeddings, with gradient to the pixels.

        Args:
            pixel_values (`torch.Tensor` of shape `(N, 3, H, W)`): As the processor makes them; NaFlex encoders' are `(N, P, D)`.
            pixel_attention_mask (`torch.Tensor` of shape `(N, P)`, *optional*): Which patches are there (NaFlex encoders).
            spatial_shapes (`torch.Tensor` of shape `(N, 2)`, *optional*): Rows and columns of patches (NaFlex encoders).

        Returns:
            `torch.Tensor` of shape `(N, image_embed_dim)`
        """
        encoder = self.encoder("image")
        dtype = next(encoder.parameters()).dtype
        inputs = {"pixel_values": pixel_values.to(self.device, dtype)}
        for name, tensor in {"pixel_attention_mask": pixel_attention_mask, "spatial_shapes": spatial_shapes}.items():
            if tensor is not None:
                inputs[name] = tensor.to(self.device)
        return encoder(**inputs).to(self.embeds_dtype)

    @property
    def embeds_dtype(self) -> torch.dtype:
        """Of embeddings: that of the model, but float32 where the network is in half precision."""
        return torch.promote_types(self.dtype, torch.float32)

    def get_text_embeds(self, input_ids: Tensor, attention_mask: Tensor | None, role: str = "text") -> Tensor:
        """
        Frozen text embeddings. A row without any token (all of its mask is 0) is an absent text and becomes a row of zeros.

        Args:
            input_ids (`torch.Tensor` of shape `(N, T)`): As the processor makes them.
            attention_mask (`torch.Tensor` of shape `(N, T)`, *optional*): Likewise; all ones where not given.
            role (`str`): `"text"` for prompts, `"profile"` for demographics and metadata.

        Returns:
            `torch.Tensor` of shape `(N, D)`
        """
        encoder = self.encoder(role)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        input_ids, attention_mask = input_ids.to(self.device), attention_mask.to(self.device)
        present = attention_mask.any(-1)
        embeds = torch.zeros(len(input_ids), encoder.embed_dim, dtype=self.embeds_dtype, device=self.device)
        if present.any():
            encoded = encoder(input_ids=input_ids[present], attention_mask=attention_mask[present])
            embeds[present] = encoded.to(self.embeds_dtype)
        return embeds


def _present(rows: Tensor) -> Tensor:
    """`(N, 1)`: which rows are inputs that are known; an absent one is all zeros. (One with NaN is not absent.)"""
    return torch.linalg.vector_norm(rows.detach(), dim=-1, keepdim=True) != 0


class FullPrecisionModule(nn.Module):
    """
    A module whose tensors stay float32 (or float64) when the rest of the model goes to half precision, whose inputs are
    brought to it, and which autocast leaves alone: differences of near kernel values and sums over many features drown in 8 bits.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FullPrecisionModule":
        def keep(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            is_halved = moved.dtype in (torch.float16, torch.bfloat16) and tensor.dtype != moved.dtype
            return tensor.to(moved.device) if is_halved else moved

        return super()._apply(keep, recurse)


def _full_precision(tensor: Tensor) -> AbstractContextManager:
    """Context in which autocast is off."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


class PamelaHead(FullPrecisionModule, nn.Linear):
    """A linear map in full precision: the score is one dot product of all features."""

    def forward(self, inputs: Tensor) -> Tensor:
        """`(R, in_features)` -> `(R, out_features)`"""
        with _full_precision(inputs):
            return super().forward(inputs.to(self.weight.dtype))


class PamelaProjection(FullPrecisionModule):
    """
    Frozen embeddings as the network sees them: standardised, every block of them weighing the same, and rotated to principal
    components with a mean square of 1 per component. Without a `projection_dim` they stay as they are.

    A row of zeros is an absent input (no frozen encoder gives one), and stays one.
    """

    mean: Tensor | None
    components: Tensor | None

    def __init__(self, embed_dim: int, projection_dim: int | None, blocks: list[int] | None = None) -> None:
        super().__init__()
        mean, components = torch.zeros(embed_dim, dtype=torch.float32), None
        if projection_dim is not None:
            components = torch.zeros(embed_dim, projection_dim, dtype=torch.float32)
        self.register_buffer("mean", None if components is None else mean)
        self.register_buffer("components", components)
        self.embed_dim = embed_dim
        self.output_dim = projection_dim or embed_dim
        self.blocks = blocks or [embed_dim]
        if sum(self.blocks) != embed_dim:
            raise ValueError(
                f"The embedding's blocks {self.blocks} add up to {sum(self.blocks)}, expected {embed_dim}."
            )

    def forward(self, embeds: Tensor) -> Tensor:
        """`(N, embed_dim)` -> `(N, output_dim)`"""
        if self.mean is None or self.components is None:
            return embeds
        with _full_precision(embeds):
            embeds = embeds.to(self.components.dtype)
            # The mean is taken off after the rotation, where rows are short.
            return torch.where(_present(embeds), embeds @ self.components - self.mean @ self.components, 0.0)

    @torch.no_grad()
    def fit(self, embeds: Tensor) -> None:
        """Set means and components from training embeddings `(N, embed_dim)`."""
        embeds = embeds[embeds.ne(0).any(-1)].double()
        if self.mean is None or self.components is None or not len(embeds):
            return  # Nothing is known of an input that no training row has; its zeros stay zeros.
        mean = embeds.mean(0)
        std = embeds.std(0, unbiased=False)
        # A channel that never fires in training gets no weight from the components; only its division by 0 is to be avoided.
        scale = torch.cat([1 / (block.clamp_min(1e-6) * len(block) ** 0.5) for block in std.split(self.blocks)])
        standardised = (embeds - mean) * scale
        _, _, directions = torch.linalg.svd(standardised, full_matrices=False)
        components = directions[: self.output_dim].T
        spread = (standardised @ components).square().mean().sqrt().clamp_min(1e-12)
        self.mean.copy_(mean)
        self.components.zero_()
        self.components[:, : components.shape[1]] = scale[:, None] * components / spread


class PamelaKernelFeatures(FullPrecisionModule):
    """
    Features whose products are an RBF kernel `exp(-|x - y|^2 / (2 l^2))`, exactly so for landmarks (the Nystroem method; Williams
    & Seeger 2001): kernel values at the landmarks, whitened. The lengthscale l counts in root mean squared distances
    between two training embeddings.
    """

    landmarks: Tensor
    whitening: Tensor

    def __init__(self, input_dim: int, num_landmarks: int, lengthscale: float) -> None:
        super().__init__()
        self.lengthscale = lengthscale * math.sqrt(2 * input_dim)
        self.register_buffer("landmarks", torch.zeros(num_landmarks, input_dim, dtype=torch.float32))
        self.register_buffer("whitening", torch.zeros(num_landmarks, num_landmarks, dtype=torch.float32))

    def forward(self, inputs: Tensor) -> Tensor:
        """`(N, input_dim)` -> `(N, num_landmarks)`, rows of length at most 1; a row of zeros (an absent input) gives zeros."""
        with _full_precision(inputs):
            inputs = inputs.to(self.landmarks.dtype)
            return torch.where(_present(inputs), self.kernel(inputs, self.landmarks) @ self.whitening, 0.0)

    @torch.no_grad()
    def fit(self, inputs: Tensor) -> None:
        """Take landmarks from training inputs `(N, input_dim)`: all distinct ones, or evenly many of them."""
        distinct = torch.unique(inputs[inputs.ne(0).any(-1)], dim=0)
        size = len(self.landmarks)
        if len(distinct) > size:
            chosen = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(0))[:size]
            distinct = distinct[chosen.to(distinct.device)]
        values, vectors = torch.linalg.eigh(self.kernel(distinct, distinct).double())
        # Directions that rounding alone decides are left out.
        inverse_root = torch.where(values > 1e-5 * values[-1:], values, torch.inf).rsqrt()
        self.landmarks.zero_()
        self.whitening.zero_()
        self.landmarks[: len(distinct)] = distinct
        self.whitening[: len(distinct), : len(distinct)] = vectors * inverse_root

    def kernel(self, inputs: Tensor, landmarks: Tensor) -> Tensor:
        """`(N, input_dim)` and `(M, input_dim)` -> kernel values `(N, M)`"""
        squared = inputs.square().sum(-1, keepdim=True) + landmarks.square().sum(-1) - 2 * inputs @ landmarks.mT
        return (-squared.clamp_min(0) / (2 * self.lengthscale**2)).exp()


class PamelaFreeDirections(FullPrecisionModule):
    """
    Directions in which anybody may differ: orthogonal random Fourier features of an RBF kernel (Rahimi & Recht 2007; Yu et al.
    2016), whose products approximate `exp(-|x - y|^2 / (2 l^2))`, less what the learned directions already cover.

    With kernel fusion the latter is exact: near the landmarks these features vanish, far from them they are the whole kernel.
    """

    frequencies: Tensor
    covered: Tensor | None

    def __init__(self, input_dim: int, num_features: int, lengthscale: float, kernel_dim: int | None) -> None:
        super().__init__()
        if num_features % 2:
            raise ValueError(
                f"Free directions come in pairs of sine and cosine; {num_features} is odd. Use an even number."
            )
        self.input_dim = input_dim
        self.num_features = num_features
        self.lengthscale = lengthscale * math.sqrt(2 * input_dim)
        self.register_buffer("frequencies", self.draw_frequencies())
        covered = None if kernel_dim is None else torch.zeros(kernel_dim, num_features, dtype=torch.float32)
        self.register_buffer("covered", covered)

    def draw_frequencies(self) -> Tensor:
        """`(input_dim, num_features / 2)`, the same for every model of the same shape."""
        generator = torch.Generator().manual_seed(0)
        number, blocks = self.num_features // 2, []
        for _ in range(0, number, self.input_dim):
            gaussian, other = (
                torch.randn(self.input_dim, self.input_dim, generator=generator, dtype=torch.float32) for _ in range(2)
            )
            orthogonal, _ = torch.linalg.qr(gaussian)
            lengths = other.norm(dim=0)
            blocks.append(orthogonal * lengths)
        return torch.cat(blocks, dim=1)[:, :number] / self.lengthscale

    def forward(self, inputs: Tensor, pooled: Tensor) -> Tensor:
        """`(N, input_dim)` and `(N, pooled_dim)` -> `(N, num_features)`; a row of zeros (an absent input) gives zeros."""
        with _full_precision(inputs):
            inputs = inputs.to(self.frequencies.dtype)
            angles = inputs @ self.frequencies
            features = torch.cat([angles.cos(), angles.sin()], dim=-1) * math.sqrt(2 / self.num_features)
            if self.covered is not None:
                features = features - pooled @ self.covered
            return torch.where(_present(inputs), features, 0.0)

    @torch.no_grad()
    def fit(self, inputs: Tensor, pooled: Tensor) -> None:
        """Set what the kernel features cover, from training inputs `(N, input_dim)` and `(N, pooled_dim)`."""
        if self.covered is not None:
            self.covered.zero_()
            features = self(inputs, pooled).double().cpu()
            # Features depend on each other. The driver that copes with it is there on the CPU only.
            self.covered.copy_(torch.linalg.lstsq(pooled.double().cpu(), features, driver="gelsd").solution)


def _token_mlp(input_dim: int, config: PamelaConfig) -> nn.Module:
    """From one input to a token of the shared width."""
    return nn.Sequential(
        nn.Linear(input_dim, config.hidden_size),
        nn.GELU(),
        nn.Dropout(config.hidden_dropout_prob),
        nn.Linear(config.hidden_size, config.hidden_size),
    )


class PamelaMLPFusion(nn.Module):
    """All tokens side by side through a multilayer perceptron."""

    def __init__(self, num_tokens: int, config: PamelaConfig) -> None:
        super().__init__()
        width = num_tokens * config.hidden_size
        layers: list[nn.Module] = [nn.GELU(), nn.Dropout(config.hidden_dropout_prob)]
        for _ in range(config.num_hidden_layers - 1):
            layers += [nn.Linear(width, config.intermediate_size), nn.GELU(), nn.Dropout(config.hidden_dropout_prob)]
            width = config.intermediate_size
        self.layers = nn.Sequential(*layers, nn.Linear(width, config.hidden_size), nn.GELU())

    def forward(self, tokens: Tensor) -> Tensor:
        """`(R, T, hidden_size)` -> `(R, hidden_size)`"""
        return self.layers(tokens.flatten(1))


class PamelaTransformerFusion(nn.Module):
    """The paper's fusion: [CLS] and the tokens through a shallow transformer encoder; the [CLS] output is the result."""

    def __init__(self, config: PamelaConfig) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        layer = nn.TransformerEncoderLayer(
            config.hidden_size,
            config.num_attention_heads,
            config.intermediate_size,
            config.hidden_dropout_prob,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(
            layer, config.num_hidden_layers, norm=nn.LayerNorm(config.hidden_size), enable_nested_tensor=False
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """`(R, T, hidden_size)` -> `(R, hidden_size)`"""
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.encoder(tokens)[:, 0]


class PamelaModel(PamelaPreTrainedModel):
    """
    The network without a head: projections of all inputs and their fusion.

    A posterior model fuses what belongs to the picture only (picture, prompt, metadata). A token model (the paper) also fuses
    the demographics and, where one is given, a user token.
    """

    def __init__(self, config: PamelaConfig) -> None:
        super().__init__(config)
        fuses_person = config.user_conditioning == "token"
        inputs = {
            "image": (config.use_image, config.image_embed_dim, config.image_projection_dim),
            "text": (config.use_text, config.text_embed_dim, config.text_projection_dim),
            "metadata": (config.use_metadata, config.profile_embed_dim, config.profile_projection_dim),
            "demographics": (
                config.use_demographics and fuses_person,
                config.profile_embed_dim,
                config.profile_projection_dim,
            ),
        }
        projections = {
            name: PamelaProjection(width, projected, config.image_embed_blocks if name == "image" else None)
            for name, (used, width, projected) in inputs.items()
            if used
        }
        if not projections:
            raise ValueError("Every input is switched off (`use_image`, `use_text`, …): there is nothing to score by.")
        self.projections: Mapping[str, PamelaProjection] = nn.ModuleDict(projections)  # type: ignore[assignment]

        self.user_embeddings: nn.Embedding | None = None
        self.output_dim = config.hidden_size
        if config.fusion == "kernel":
            if fuses_person:
                raise ValueError(
                    '`fusion="kernel"` fuses pictures, not people; a token model needs "transformer" or "mlp".'
                )
            self.kernels: Mapping[str, PamelaKernelFeatures] = nn.ModuleDict(  # type: ignore[assignment]
                {
                    name: PamelaKernelFeatures(projection.output_dim, config.num_landmarks, config.kernel_lengthscale)
                    for name, projection in projections.items()
                }
            )
            self.output_dim = len(projections) * config.num_landmarks
        else:
            self.tokens: Mapping[str, nn.Module] = nn.ModuleDict(  # type: ignore[assignment]
                {name: _token_mlp(projection.output_dim, config) for name, projection in projections.items()}
            )
            if fuses_person and config.use_user:
                self.user_embeddings = nn.Embedding(config.num_users, config.hidden_size)
            if config.fusion == "transformer":
                self.fusion: nn.Module = PamelaTransformerFusion(config)
            else:
                self.fusion = PamelaMLPFusion(len(projections) + (self.user_embeddings is not None), config)
        self.post_init()

    def forward(
        self,
        image_embeds: Tensor | None = None,
        text_embeds: Tensor | None = None,
        metadata_embeds: Tensor | None = None,
        demographics_embeds: Tensor | None = None,
        user_tokens: Tensor | None = None,
        picture_index: Tensor | None = None,
        user_index: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> PamelaModelOutput:
        """
        Args:
            image_embeds (`torch.Tensor` of shape `(N, image_embed_dim)`, *optional*): Frozen picture embeddings.
            text_embeds (`torch.Tensor` of shape `(N, text_embed_dim)`, *optional*): Frozen prompt embeddings.
            metadata_embeds (`torch.Tensor` of shape `(N, profile_embed_dim)`, *optional*): Frozen embeddings of the metadata sentences.
            demographics_embeds (`torch.Tensor` of shape `(U, profile_embed_dim)`, *optional*): Frozen embeddings of the
                demographics sentences (token models).
            user_tokens (`torch.Tensor` of shape `(U, hidden_size)`, *optional*): User tokens (token models); left out for
                the population score.
            picture_index, user_index (`torch.Tensor` of shape `(R,)`, *optional*): Row of the picture and of the person
                inputs that each output row is about. By default every picture is one row.

        An input that is absent, or a row of it that is all zeros, is an unknown one.
        """
        given = {
            "image": image_embeds,
            "text": text_embeds,
            "metadata": metadata_embeds,
            "demographics": demographics_embeds,
        }
        pictures = [embeds for name, embeds in given.items() if name != "demographics" and embeds is not None]
        if not pictures:
            raise ValueError("No picture, prompt or metadata was given; pass at least one of them.")
        num_pictures = len(pictures[0])
        num_rows = num_pictures if picture_index is None else len(picture_index)

        if self.training and self.config.prompt_dropout and text_embeds is not None:
            hidden = torch.rand(num_pictures, 1, device=text_embeds.device) < self.config.prompt_dropout
            given["text"] = text_embeds.masked_fill(hidden, 0.0)

        projected, fused = {}, []
        for name, projection in self.projections.items():
            embeds, index = given[name], user_index if name == "demographics" else picture_index
            if embeds is None:
                # Unknown for all: one row of zeros, which every projection and kernel leaves zeros, is enough.
                projected[name], index = pictures[0].new_zeros(1, projection.output_dim), None
            else:
                projected[name] = projection(embeds)
            if self.config.fusion == "kernel":
                kernel = self.kernels[name]
                absent = pictures[0].new_zeros(1, len(kernel.landmarks))
                features = absent if embeds is None else kernel(projected[name])
            else:
                features = self.tokens[name](projected[name].to(self.dtype))
            fused.append(features.expand(num_rows, -1) if index is None else features[index])
        if self.config.fusion == "kernel":
            pooled = torch.cat(fused, dim=-1)
        else:
            if self.user_embeddings is not None:
                fused += self._user_tokens(user_tokens, user_index, self.user_embeddings, num_rows)
            pooled = self.fusion(torch.stack(fused, dim=1))
        return PamelaModelOutput(
            pooler_output=pooled,
            image_projection=projected.get("image"),
            text_projection=projected.get("text"),
        )

    def _user_tokens(
        self, user_tokens: Tensor | None, user_index: Tensor | None, table: nn.Embedding, num_rows: int
    ) -> list[Tensor]:
        if user_tokens is not None:
            user_tokens = user_tokens.to(table.weight.dtype)
            return [user_tokens.expand(num_rows, -1) if user_index is None else user_tokens[user_index]]
        if self.config.fusion == "transformer":
            return []
        # The perceptron has a fixed place for the token; zeros there say that nobody is known.
        return [table.weight.new_zeros(num_rows, self.config.hidden_size)]


class PamelaTaste(FullPrecisionModule):
    """
    The parts of a posterior model that are about people: taste features `phi(x)`, the prior of a taste, and the rating noise.

    `phi` is, in this order: a constant and the population score's deviation from its mean (so that a person's bias and scale are part of their
    taste); learned directions, along which the training people differ; free directions, a fixed map of the frozen
    embeddings, along which anybody may differ. Each part is scaled by a prior standard deviation of its own, so that the
    prior of `w` is a unit Gaussian around the population's taste. With `use_user=False` only the first part is left, and nobody's taste
    differs from it.
    """

    parts = ("bias", "scale", "learned", "free_image", "free_text")
    noise_model: Tensor

    def __init__(self, config: PamelaConfig, pooled_dim: int, image_dim: int | None, text_dim: int | None) -> None:
        super().__init__()
        self.is_used = config.use_user
        self.directions = PamelaHead(pooled_dim, config.num_learned_directions, bias=False)
        sizes = {
            "image": (image_dim, config.num_free_image_directions),
            "text": (text_dim, config.num_free_text_directions),
        }
        kernel_dim = pooled_dim if config.fusion == "kernel" else None
        self.free: Mapping[str, PamelaFreeDirections] = nn.ModuleDict(  # type: ignore[assignment]
            {
                name: PamelaFreeDirections(dim, number, config.kernel_lengthscale, kernel_dim)
                for name, (dim, number) in sizes.items()
                if dim and number
            }
        )
        self.log_prior_std = nn.Parameter(torch.zeros(len(self.parts), dtype=torch.float32))
        # One number, or one a data set.
        shape = (config.num_data_sets,) if config.num_data_sets > 1 else ()
        self.log_noise_std = nn.Parameter(torch.zeros(shape, dtype=torch.float32))
        # How people's noise differs (`training/noise.py`): median over people less `log_noise_std`, and spread over people, of the
        # logarithm of the noise; heaviness of its tails; standard deviation of a new picture's score, which is everybody's.
        # Zeros are one Gaussian noise for all.
        self.register_buffer("noise_model", torch.zeros(4, dtype=torch.float32))
        # Demographics move the prior mean along the directions that have a meaning, not along the random ones.
        self.num_named = 2 + config.num_learned_directions
        self.demographics: nn.Linear | None = None
        if config.use_demographics:
            self.demographics = PamelaHead(config.profile_embed_dim, self.num_named)

    @property
    def width(self) -> int:
        """W, the number of taste features."""
        if not self.is_used:
            return 2
        return self.num_named + sum(free.num_features for free in self.free.values())

    def features(self, network: PamelaModelOutput, deviation: Tensor) -> Tensor:
        """Taste features `(N, W)` from the network's output and the population score's deviation `(N,)` from its mean."""
        std = self.log_prior_std.exp()
        parts = [std[0].expand(len(deviation), 1), std[1] * deviation.unsqueeze(-1)]
        if self.is_used:
            parts.append(std[2] * self.directions(network.pooler_output))
            projections = {"image": network.image_projection, "text": network.text_projection}
            for name, free in self.free.items():
                features = free(projections[name], network.pooler_output)
                parts.append(std[self.parts.index(f"free_{name}")] * features.expand(len(deviation), -1))
        return torch.cat(parts, dim=-1)

    def prior_mean(self, mean_score: Tensor, demographics_embeds: Tensor | None, num_people: int) -> Tensor:
        """
        `(U, W)`: the population's taste, whose scores are `mu(x)`, moved by `B d_u` for people of whom something is known.
        """
        std = self.log_prior_std.exp()
        rest = mean_score.new_zeros(self.width - 2)
        mean = torch.cat([mean_score / std[0], 1 / std[1:2], rest]).expand(num_people, -1)
        if self.is_used and self.demographics is not None and demographics_embeds is not None:
            shift = torch.where(_present(demographics_embeds), self.demographics(demographics_embeds), 0.0)
            mean = mean + nn.functional.pad(shift, (0, self.width - self.num_named))
        return mean


class PamelaForPersonalizedScoring(PamelaPreTrainedModel):
    """
    Predicts what one person will like.

    With `config.user_conditioning="posterior"` the score is `phi(x) . w_u`, where a person is a taste `w_u` with a closed-form posterior
    around the population's taste, whose scores are `mu(x)`. With `"token"` it is the paper's model (arXiv 2604.07427, section 4), and a person is a user token.

    Example:

    ```python
    >>> import torch
    >>> from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring

    >>> model = PamelaForPersonalizedScoring(PamelaConfig(image_embed_dim=8, hidden_size=16)).eval()
    >>> output = model(image_embeds=torch.randn(3, 8))
    >>> output.scores.shape, output.std.shape, output.taste_features.shape
    (torch.Size([3]), torch.Size([3]), torch.Size([3, 290]))

    ```
    """

    def __init__(self, config: PamelaConfig) -> None:
        super().__init__(config)
        self.pamela = PamelaModel(config)
        self.head = PamelaHead(self.pamela.output_dim, 1)
        # Kernel features add up over inputs. What a prompt would have said of a picture, the picture has to say without one.
        self.head_without_prompt: nn.Linear | None = None
        if config.fusion == "kernel" and config.use_text:
            self.head_without_prompt = PamelaHead(self.pamela.output_dim, 1, bias=False)
        self.taste: PamelaTaste | None = None
        if config.user_conditioning == "posterior":
            dims = {name: projection.output_dim for name, projection in self.pamela.projections.items()}
            self.taste = PamelaTaste(config, self.pamela.output_dim, dims.get("image"), dims.get("text"))
        self.post_init()

    @property
    def taste_width(self) -> int:
        """Numbers that describe a person: W of a posterior model, the width of a user token otherwise."""
        return self.config.hidden_size if self.taste is None else self.taste.width

    @property
    def posterior_taste(self) -> PamelaTaste:
        """The parts of a posterior model that are about people; a `ValueError` for a token model, which has none."""
        if self.taste is None:
            raise ValueError('This is a model with `user_conditioning="token"`; a posterior model is needed.')
        return self.taste

    @property
    def noise_variance(self) -> float:
        """Variance of a rating around the score of the median person, on the 0..1 scale (posterior models); of the first data set."""
        return self.noise_variances[0].item()

    @property
    def noise_variances(self) -> Tensor:
        """`(S,)`: [`noise_variance`] of every data set."""
        taste = self.posterior_taste
        return (taste.log_noise_std.detach() + taste.noise_model[0]).double().exp().square().reshape(-1)

    @property
    def picture_variance(self) -> float:
        """Variance of a new picture's score that no taste explains, the same for everybody (posterior models)."""
        return self.posterior_taste.noise_model[3].double().square().item()

    def fingerprint(self) -> str:
        """16 hex digits that change with the weights or the encoders: what a saved taste belongs to."""
        config = self.config
        settings = (config.fusion, config.user_conditioning, config.use_user, config.kernel_lengthscale)
        made_of = repr((settings, sorted((config.encoder_fingerprints or {}).items())))
        state = sorted(self.state_dict().items())
        # Hashing takes longer than learning a taste does. Changes in place raise a tensor's version; some of its values also tell of
        # those made behind its back, through `.data`.
        samples = torch.cat([rows.detach().reshape(-1)[:: 1 + rows.numel() // 64].cpu() for _, rows in state])
        key = (made_of, [(name, rows.data_ptr(), rows._version) for name, rows in state], samples.tolist())
        known = self.__dict__.get("_fingerprint")
        if known is None or known[0] != key:
            digest = hashlib.sha256()
            for name, tensor in state:
                digest.update(name.encode())
                digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
            digest.update(made_of.encode())
            known = self.__dict__["_fingerprint"] = (key, digest.hexdigest()[:16])
        return known[1]

    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        metadata_input_ids: Tensor | None = None,
        metadata_attention_mask: Tensor | None = None,
        demographics_input_ids: Tensor | None = None,
        demographics_attention_mask: Tensor | None = None,
        pixel_attention_mask: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
        image_embeds: Tensor | None = None,
        text_embeds: Tensor | None = None,
        metadata_embeds: Tensor | None = None,
        demographics_embeds: Tensor | None = None,
        taste: Tensor | None = None,
        taste_reduction: Tensor | None = None,
        user_ids: Tensor | None = None,
        picture_index: Tensor | None = None,
        user_index: Tensor | None = None,
        labels: Tensor | None = None,
        data_set: Tensor | None = None,
        weights: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> PamelaScoringOutput:
        """
        Score N pictures for U people in R rows.

        Args:
            pixel_values, pixel_attention_mask, spatial_shapes (*optional*): Pictures as the processor makes them; see
                [`~PamelaPreTrainedModel.get_image_embeds`].
            input_ids, attention_mask (`torch.Tensor` of shape `(N, T)`, *optional*): Tokenised prompts.
            metadata_input_ids, metadata_attention_mask (`torch.Tensor` of shape `(N, T)`, *optional*): Tokenised metadata.
            demographics_input_ids, demographics_attention_mask (`torch.Tensor` of shape `(U, T)`, *optional*): Tokenised demographics.
            image_embeds, text_embeds, metadata_embeds (`torch.Tensor` of shape `(N, D)`, *optional*):
                Frozen embeddings, instead of the raw inputs; a row of zeros is an unknown input.
            demographics_embeds (`torch.Tensor` of shape `(U, D)`, *optional*): Frozen embeddings, instead of the raw inputs.
            taste (`torch.Tensor` of shape `(U, taste_width)`, *optional*):
                Who scores: posterior means of tastes, or user tokens. Without it the prior mean given the demographics (posterior), or
                the population (token).
            taste_reduction (`torch.Tensor` of shape `(U, m, taste_width)`, *optional*):
                The posteriors' covariances (see [`~modeling_pamela.gaussian_taste.TastePosterior`]); the prior's where not given.
            user_ids (`torch.Tensor` of shape `(U,)`, *optional*): Rows of the user table, instead of `taste` (token models).
            picture_index, user_index (`torch.Tensor` of shape `(R,)`, *optional*):
                Which picture and which person every row is about. By default R = N, and the person is the only one given.
            labels (`torch.Tensor` of shape `(R,)`, *optional*): Ratings on the 0..1 scale.
            data_set (`torch.Tensor` of shape `(U,)`, *optional*): Whose noise a person's `labels` have; the first set's by default.
            weights (`torch.Tensor` of shape `(U,)`, *optional*): What a person's `labels` count for in the loss, a mean; 1 by default.

        Returns:
            [`PamelaScoringOutput`]

        Raises:
            ValueError: Widths or numbers of rows do not fit; the message names the input.
            EncoderError: Raw inputs were given, and the encoder for them is not at hand.
        """
        if image_embeds is None and pixel_values is not None:
            image_embeds = self.get_image_embeds(pixel_values, pixel_attention_mask, spatial_shapes)
        if text_embeds is None and input_ids is not None:
            text_embeds = self.get_text_embeds(input_ids, attention_mask)
        if metadata_embeds is None and metadata_input_ids is not None:
            metadata_embeds = self.get_text_embeds(metadata_input_ids, metadata_attention_mask, "profile")
        if demographics_embeds is None and demographics_input_ids is not None:
            demographics_embeds = self.get_text_embeds(demographics_input_ids, demographics_attention_mask, "profile")
        pictures = {"image_embeds": image_embeds, "text_embeds": text_embeds, "metadata_embeds": metadata_embeds}
        self._check_inputs(pictures, demographics_embeds, taste, taste_reduction, picture_index, user_index, labels)

        if self.taste is None:
            if taste is None and user_ids is not None and self.pamela.user_embeddings is not None:
                taste = self.pamela.user_embeddings(user_ids)
            network = self.pamela(
                **pictures,
                demographics_embeds=demographics_embeds,
                user_tokens=taste,
                picture_index=picture_index,
                user_index=user_index,
            )
            scores = self.head(network.pooler_output).squeeze(-1)
            loss = None
            if labels is not None:
                squared = (scores - labels.to(scores.dtype)).square()
                shares = squared.new_ones(len(labels)) if weights is None else weights[user_index].to(squared.dtype)
                loss = (shares * squared).sum() / shares.sum().clamp_min(1e-12)
            return PamelaScoringOutput(loss=loss, scores=scores)

        network = self.pamela(**pictures)
        population_scores, features = self._population_and_features(network)
        num_pictures = len(population_scores)
        if picture_index is None:
            picture_index = torch.arange(num_pictures, device=features.device)
        if user_index is None:
            user_index = torch.zeros_like(picture_index)
        row_scores, row_features = population_scores[picture_index], features[picture_index]

        loss = None
        if labels is not None:
            loss = self._negative_log_likelihood(
                row_scores, row_features, demographics_embeds, user_index, labels, data_set, weights
            )
        if taste is None:
            shift = self.prior_taste(demographics_embeds, int(user_index.max()) + 1) - self.prior_taste()
            scores = row_scores + (row_features * shift[user_index]).sum(-1)
        else:
            scores = (row_features * taste[user_index].to(row_features.dtype)).sum(-1)
        with torch.no_grad():
            if not self.config.use_user:
                variance = torch.zeros_like(scores)
            elif taste_reduction is None:
                variance = row_features.square().sum(-1)
            else:
                posterior = TastePosterior(taste[user_index], taste_reduction[user_index])  # type: ignore[index]
                variance = predictive_variance(posterior, row_features.unsqueeze(-2)).squeeze(-1)
        return PamelaScoringOutput(
            loss=loss,
            scores=scores,
            population_scores=population_scores,
            taste_features=features,
            std=variance.sqrt().to(scores.dtype),
            novelty=self._novelty(network),
        )

    def prior_taste(self, demographics_embeds: Tensor | None = None, num_people: int = 1) -> Tensor:
        """
        Prior means of tastes: the population's, moved by the demographics where these are known (posterior models).

        Args:
            demographics_embeds (`torch.Tensor` of shape `(U, profile_embed_dim)`, *optional*): Frozen embeddings.
            num_people (`int`): U, where no demographics are given.

        Returns:
            `torch.Tensor` of shape `(U, taste_width)`
        """
        num_people = num_people if demographics_embeds is None else len(demographics_embeds)
        return self.posterior_taste.prior_mean(self.head.bias, demographics_embeds, num_people)

    @torch.no_grad()
    def learn_taste(
        self,
        features: Tensor,
        ratings: Tensor,
        prior: Tensor | None = None,
        noise_variance: Tensor | float | None = None,
    ) -> TastePosterior:
        """
        The posterior of a taste given ratings, in closed form (posterior models).

        Args:
            features (`torch.Tensor` of shape `(..., k, taste_width)`): Taste features of the rated pictures, from the output.
            ratings (`torch.Tensor` of shape `(..., k)`): On the 0..1 scale.
            prior (`torch.Tensor` of shape `(..., taste_width)`, *optional*): From [`prior_taste`]; the population's by default.
            noise_variance (`float` or `torch.Tensor` of shape `(...)`, *optional*): Of the median person's ratings; [`noise_variance`] by default.

        Returns:
            [`~modeling_pamela.gaussian_taste.TastePosterior`]
        """
        if prior is None:
            prior = self.prior_taste()[0].to(features.device).expand(*features.shape[:-2], -1)
        if not self.config.use_user:
            # Ratings teach nothing of a person when persons do not differ.
            features, ratings = features[..., :0, :], ratings[..., :0]
        ratings = ratings.to(features.device)
        return taste_posterior(
            features, ratings, self.rating_noise(features, ratings, prior, noise_variance)[0], prior
        )

    @torch.no_grad()
    def get_taste_features(self, **pictures: Tensor) -> Tensor:
        """
        Taste features `(N, W)` of pictures, given as in `forward`, without scoring them (posterior models).
        """
        if not all(name.endswith("_embeds") for name in pictures):
            return self(**pictures).taste_features
        self._check_inputs(dict(pictures), None, None, None, None, None, None)
        return self._population_and_features(self.pamela(**pictures))[1]

    @torch.no_grad()
    def rating_noise(
        self, features: Tensor, ratings: Tensor, prior: Tensor, noise_variance: Tensor | float | None = None
    ) -> tuple[Tensor, Tensor]:
        """
        Noise variances of a person's ratings `(..., k)` and of the person `(...)`, in closed form (posterior models); arguments as in
        [`learn_taste`].
        """
        _, spread, heaviness, _ = self.posterior_taste.noise_model.tolist()
        deviations = ratings.double() - (features.double() @ prior.double().unsqueeze(-1)).squeeze(-1)
        if noise_variance is None:
            noise_variance = self.noise_variance
        return rating_noise(features, deviations, noise_variance, spread, heaviness)

    @torch.no_grad()
    def score_matrix(
        self, image_embeds: Tensor, taste: Tensor, out: Tensor | None = None, **picture_inputs: Tensor | None
    ) -> Tensor:
        """
        Scores of N pictures for U people as one matrix product (posterior), or person by person (token).

        Args:
            image_embeds (`torch.Tensor` of shape `(N, image_embed_dim)`): Frozen picture embeddings.
            taste (`torch.Tensor` of shape `(U, taste_width)`): Posterior means, or user tokens.
            out (`torch.Tensor` of shape `(U, N)`, *optional*): Where to write the scores.
            picture_inputs: `text_embeds`, `metadata_embeds`, as in `forward`.

        Returns:
            `torch.Tensor` of shape `(U, N)`: `out`, where it was given.
        """
        was_training = self.training
        self.eval()
        try:
            if self.taste is not None:
                network = self.pamela(image_embeds=image_embeds, **picture_inputs)
                _, features = self._population_and_features(network)
                with _full_precision(features):
                    return torch.matmul(taste.to(features.dtype), features.mT, out=out)
            if out is None:
                out = image_embeds.new_empty(len(taste), len(image_embeds), dtype=self.embeds_dtype)
            for row, token in zip(out, taste, strict=True):
                row.copy_(self(image_embeds=image_embeds, taste=token[None], **picture_inputs).scores)
            return out
        finally:
            self.train(was_training)

    @torch.no_grad()
    def fit_inputs(self, mean_rating: float, **embeds: Tensor | None) -> None:
        """
        Set what is computed from training inputs before anything is learned: principal components, landmarks, the mean rating.

        Args:
            mean_rating (`float`): Mean training rating on the 0..1 scale; where the scores start.
            embeds: `image`, `text`, `metadata` of the same N training pictures and `demographics` of the training people:
                frozen embeddings `(N, D)`.
        """
        self.head.bias.fill_(mean_rating)
        given = {name: rows.to(self.device) for name, rows in embeds.items() if rows is not None}
        for name, projection in self.pamela.projections.items():
            if name in given:
                projection.fit(given[name])
                if self.config.fusion == "kernel":
                    self.pamela.kernels[name].fit(projection(given[name]))
        if self.taste is not None:
            network = self.pamela(**{f"{name}_embeds": rows for name, rows in given.items() if name != "demographics"})
            projections = {"image": network.image_projection, "text": network.text_projection}
            for name, free in self.taste.free.items():
                free.fit(projections[name], network.pooler_output)

    def _population_and_features(self, network: PamelaModelOutput) -> tuple[Tensor, Tensor]:
        """`mu` of shape `(N,)` and `phi` of shape `(N, W)`."""
        pooled, prompts = network.pooler_output, network.text_projection
        assert pooled is not None
        pooled = pooled.to(self.head.weight.dtype)
        with _full_precision(pooled):
            deviation = pooled @ self.head.weight.mT
        if self.head_without_prompt is not None and prompts is not None:
            deviation = torch.where(_present(prompts), deviation, self.head_without_prompt(pooled))
        deviation = deviation.squeeze(-1)
        return deviation + self.head.bias, self.posterior_taste.features(network, deviation)

    def _novelty(self, network: PamelaModelOutput) -> Tensor | None:
        """`(N,)`: the kernel of a picture with itself, 1, less its share along the landmarks; the picture's columns come first."""
        if self.config.fusion != "kernel" or not self.config.use_image:
            return None
        assert network.pooler_output is not None
        explained = network.pooler_output[:, : self.config.num_landmarks].square().sum(-1)
        return (1 - explained).clamp_min(0.0)

    def _negative_log_likelihood(
        self,
        row_scores: Tensor,
        row_features: Tensor,
        demographics_embeds: Tensor | None,
        user_index: Tensor,
        labels: Tensor,
        data_set: Tensor | None,
        weights: Tensor | None,
    ) -> Tensor:
        """Every person's ratings are one observation: the taste behind them is integrated out. Mean per rating."""
        num_people = int(user_index.max()) + 1
        if not self.config.use_user:
            row_features = row_features[:, :0]
        elif demographics_embeds is not None:
            shift = self.prior_taste(demographics_embeds) - self.prior_taste()
            row_scores = row_scores + (row_features * shift[user_index]).sum(-1)
        residuals = labels.to(row_scores.dtype) - row_scores
        slots, mask = _padding_slots(user_index, num_people)
        padded_features = row_features.new_zeros(*mask.shape, row_features.shape[-1])
        padded_residuals = residuals.new_zeros(mask.shape)
        padded_features = padded_features.index_put(slots, row_features)
        padded_residuals = padded_residuals.index_put(slots, residuals)
        noise_variance = self.posterior_taste.log_noise_std.double().exp().square()
        if noise_variance.ndim:
            noise_variance = noise_variance[0] if data_set is None else noise_variance[data_set, None]
        log_likelihood = log_marginal_likelihood(padded_features, padded_residuals, noise_variance, mask=mask)
        if weights is None:
            return -log_likelihood.sum() / len(labels)
        weights = weights.to(log_likelihood.dtype)
        return -(weights * log_likelihood).sum() / weights[user_index].sum().clamp_min(1e-12)

    def _check_inputs(
        self,
        pictures: dict[str, Tensor | None],
        demographics_embeds: Tensor | None,
        taste: Tensor | None,
        taste_reduction: Tensor | None,
        picture_index: Tensor | None,
        user_index: Tensor | None,
        labels: Tensor | None,
    ) -> None:
        widths = {
            "image_embeds": self.config.image_embed_dim,
            "text_embeds": self.config.text_embed_dim,
            "metadata_embeds": self.config.profile_embed_dim,
            "demographics_embeds": self.config.profile_embed_dim,
            "taste": self.taste_width,
        }
        for name, tensor in {**pictures, "demographics_embeds": demographics_embeds, "taste": taste}.items():
            if tensor is not None and (tensor.ndim != 2 or tensor.shape[1] != widths[name]):
                raise ValueError(
                    f"`{name}` has shape {tuple(tensor.shape)}, expected (rows, {widths[name]}). Was it made with another encoder "
                    "or for another model?"
                )
        rows = {len(tensor) for tensor in pictures.values() if tensor is not None}
        if len(rows) > 1:
            raise ValueError(
                f"Picture inputs are about different numbers of pictures: {sorted(rows)}. Give one row a picture to each."
            )
        if 0 in rows:
            raise ValueError("There are no pictures to score: the picture inputs have 0 rows.")
        if taste_reduction is not None and taste is None:
            raise ValueError("`taste_reduction` was given without the `taste` that it belongs to.")
        num_rows = next(iter(rows), 0) if picture_index is None else len(picture_index)
        people = [tensor for tensor in (demographics_embeds, taste) if tensor is not None]
        if user_index is None and any(len(tensor) != 1 for tensor in people):
            raise ValueError("Several people were given without `user_index`; say which of them every row is about.")
        for name, tensor in {"user_index": user_index, "labels": labels}.items():
            if tensor is not None and len(tensor) != num_rows:
                raise ValueError(f"`{name}` has {len(tensor)} entries, but there are {num_rows} rows to score.")


def _padding_slots(user_index: Tensor, num_people: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """
    Where flat rows go in a (people, longest) table: index pair of shape `(R,)` each, and the mask of filled places.
    """
    counts = torch.bincount(user_index, minlength=num_people)
    order = torch.argsort(user_index, stable=True)
    starts = counts.cumsum(0) - counts
    place = torch.empty_like(user_index)
    place[order] = torch.arange(len(user_index), device=user_index.device) - starts.repeat_interleave(counts)
    mask = torch.arange(int(counts.max()), device=user_index.device) < counts[:, None]
    return (user_index, place), mask
