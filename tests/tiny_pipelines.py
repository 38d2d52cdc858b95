"""Text-to-image pipelines of the real classes, tiny and random: they draw noise, a function of prompt and seed, in a moment."""

from collections.abc import Callable
from functools import wraps

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from tiny_encoders import TEXT, TOKENS, TOWER, VOCABULARY, make_tokenizer
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
)


SIZE = 16
FAST = {"num_inference_steps": 2, "height": SIZE, "width": SIZE}
# As Mistral's and Qwen's templates are called: a message's content is a text, or a list of parts.
_CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}{{ part.text }} {% endfor %}{% endif %}{% endfor %}"
)


def _tokenizer(length: int = 77, **fields: object) -> PreTrainedTokenizerFast:
    tokenizer = make_tokenizer(pad_token="<pad>", **fields)
    tokenizer.model_max_length = length
    return tokenizer


def _vae(**fields: object) -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(8,),
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIZE,
        **fields,
    )


def _unet(**fields: object) -> UNet2DConditionModel:
    torch.manual_seed(2)
    return UNet2DConditionModel(
        sample_size=SIZE,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        **fields,
    )


def _clip_text(model: type = CLIPTextModel) -> CLIPTextModel | CLIPTextModelWithProjection:
    torch.manual_seed(3)
    # The random weights of the config's own scale would make all prompts alike.
    return model(
        CLIPTextConfig(**{**TEXT, **TOKENS, "max_position_embeddings": 77}, projection_dim=16, initializer_range=0.5)
    )


def _ready(make: Callable[..., DiffusionPipeline]) -> Callable[..., DiffusionPipeline]:
    """As `from_pretrained` would give it: without dropout."""

    def ready(**options: object) -> DiffusionPipeline:
        pipeline = make(**options)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return wraps(make)(ready)


@_ready
def stable_diffusion(with_checker: bool = False) -> StableDiffusionPipeline:
    checker, extractor = None, None
    if with_checker:
        torch.manual_seed(4)
        tower = {**TOWER, "image_size": SIZE, "patch_size": 8}
        checker = StableDiffusionSafetyChecker(
            CLIPConfig(text_config={**TEXT, **TOKENS}, vision_config=tower, projection_dim=16)
        )
        extractor = CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=_clip_text(),
        tokenizer=_tokenizer(),
        unet=_unet(cross_attention_dim=16),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=checker,
        feature_extractor=extractor,
        requires_safety_checker=with_checker,
    )


@_ready
def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_clip_text(),
        text_encoder_2=_clip_text(CLIPTextModelWithProjection),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=_unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 16,
        ),
        scheduler=EulerDiscreteScheduler(),
        add_watermarker=False,
    )


@_ready
def flux() -> FluxPipeline:
    torch.manual_seed(2)
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    torch.manual_seed(4)
    t5 = T5EncoderModel(T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=VOCABULARY))
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip_text(),
        tokenizer=_tokenizer(),
        text_encoder_2=t5,
        tokenizer_2=_tokenizer(),
        transformer=transformer,
    )


def _flux2_parts(guidance_embeds: bool, width: int) -> dict:
    torch.manual_seed(2)
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=width,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )
    torch.manual_seed(1)
    vae = AutoencoderKLFlux2(
        block_out_channels=(8,),
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIZE,
    )
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "vae": vae,
        "transformer": transformer,
        "tokenizer": _tokenizer(512, chat_template=_CHAT_TEMPLATE),
    }


_DECODER = {**TOWER, "num_key_value_heads": 1, "vocab_size": VOCABULARY, "initializer_range": 0.3}


@_ready
def flux2() -> Flux2Pipeline:
    torch.manual_seed(4)
    config = Mistral3Config(
        # The pipeline takes the hidden states 10, 20 and 30.
        text_config={"model_type": "mistral", **_DECODER, "num_hidden_layers": 30, "head_dim": 8},
        vision_config={"model_type": "pixtral", **TOWER, "image_size": 16, "patch_size": 8},
        image_token_index=3,
    )
    return Flux2Pipeline(text_encoder=Mistral3ForConditionalGeneration(config), **_flux2_parts(True, 3 * 16))


@_ready
def flux2_klein() -> Flux2KleinPipeline:
    torch.manual_seed(4)
    config = Qwen3Config(**{**_DECODER, "num_hidden_layers": 27, "head_dim": 8})
    return Flux2KleinPipeline(text_encoder=Qwen3ForCausalLM(config), **_flux2_parts(False, 3 * 16))


@_ready
def lumina2() -> Lumina2Pipeline:
    torch.manual_seed(2)
    transformer = Lumina2Transformer2DModel(
        sample_size=4,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=2,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(128, 128, 128),
        cap_feat_dim=16,
    )
    torch.manual_seed(4)
    return Lumina2Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.1, scaling_factor=0.4),
        # The pipeline takes the last hidden state but one.
        text_encoder=Gemma2Model(Gemma2Config(**{**_DECODER, "num_hidden_layers": 2, "head_dim": 8})),
        tokenizer=_tokenizer(),
    )


PIPELINES = {
    "StableDiffusion": stable_diffusion,
    "StableDiffusionXL": stable_diffusion_xl,
    "Flux": flux,
    "Flux2": flux2,
    "Flux2Klein": flux2_klein,
}
