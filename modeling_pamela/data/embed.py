"""Fill a data set's embedding store from the frozen encoders, and read it back for training and evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..configuration_pamela import PamelaConfig
from ..encoders_pamela import FrozenEncoder, load_image_encoder, load_text_encoder
from ..processing_pamela import PamelaProcessor, describe
from .files import DataError
from .folder import DataFolder, write_card
from .joint import JointFolder
from .pictures import chunks, embed_pictures
from .processes import local_device, num_processes, process_index
from .store import EmbeddingStore, text_key


__all__ = ["FolderEmbeddings", "bind_encoders", "embed_folder", "folder_texts", "read_embeddings"]

# Columns of `images/` that the paper calls metadata, and their names in other data sets. A split group, a source or a
# file name says nothing of a picture's look, so nothing else is taken.
METADATA_COLUMNS = ("group", "style", "type", "category", "genre", "theme", "semantic")
# Columns of `users/` that do not describe a person.
NOT_DEMOGRAPHICS = ("user_id", "simulated")

PART_SIZE = 512  # Pictures a part of the store; an interrupted run loses less than one part.


@dataclass(frozen=True)
class FolderEmbeddings:
    """
    Frozen embeddings of a data folder, in its row order; a row of zeros is an unknown input.

    Attributes:
        image (`torch.Tensor` of shape `(N, image_embed_dim)`)
        text (`torch.Tensor` of shape `(N, text_embed_dim)`): Prompts.
        metadata (`torch.Tensor` of shape `(N, profile_embed_dim)`)
        demographics (`torch.Tensor` of shape `(U, profile_embed_dim)`)
    """

    image: Tensor
    text: Tensor
    metadata: Tensor
    demographics: Tensor


def bind_encoders(config: PamelaConfig) -> dict[str, str]:
    """
    Write the widths and fingerprints of the encoders that a config names into it. Their weights are hashed, not loaded.

    Returns:
        `dict[str, str]`: Role to fingerprint.

    Raises:
        EncoderError: One cannot be had, or the config's model was trained on another one.
    """
    encoders = {
        "image": load_image_encoder(config.image_encoder, weights=False),
        "text": load_text_encoder(config.text_encoder, weights=False),
        "profile": load_text_encoder(config.profile_encoder, weights=False),
    }
    for role, encoder in encoders.items():
        encoder.check_fingerprint(role, config.encoder_fingerprints)
        setattr(config, f"{role}_embed_dim", encoder.embed_dim)
    config.image_embed_blocks = list(encoders["image"].embed_blocks)
    config.encoder_fingerprints = {role: encoder.fingerprint for role, encoder in encoders.items()}
    return config.encoder_fingerprints


def embed_folder(folder: DataFolder, config: PamelaConfig, batch_size: int = 4, device: str = "cpu") -> dict[str, int]:
    """
    Encode what the store does not hold yet: pictures, prompts, metadata and demographics.

    Args:
        folder ([`DataFolder`]): The data set; `embeddings/` in it is added to, and `pamela.encoders` of its card names the encoders.
        config ([`PamelaConfig`]): Names the encoders.
        batch_size (`int`): Pictures or texts a forward pass.
        device (`str`): Where to encode.

    Under `torchrun` every process encodes the inputs whose keys fall to it, on its own accelerator. Which these are does not
    depend on what the others have stored, so nothing is encoded twice.

    Returns:
        `dict[str, int]`: How many of each were encoded in this run, by this process.
    """
    device = local_device(device)
    processor = PamelaProcessor.from_config(config)
    image_encoder = load_image_encoder(config.image_encoder).to(device)
    names = {image_encoder.fingerprint: config.image_encoder}
    store = EmbeddingStore(folder.path, image_encoder.fingerprint, "image")
    keys = folder.images["sha256"].to_pylist()
    wanted = set(_own_share(store.missing(keys)))
    encoded = {"pictures": len(wanted)}

    def pending() -> Iterator[tuple[str, bytes]]:
        for row, content in folder.iter_image_bytes():
            if keys[row] in wanted:
                wanted.discard(keys[row])
                yield keys[row], content

    with tqdm(
        total=len(wanted), desc="Encoding pictures", unit="picture", disable=not wanted or process_index() > 0
    ) as progress:
        for part in chunks(pending() if wanted else iter(()), PART_SIZE):
            embeds = embed_pictures((content for _, content in part), image_encoder, processor, batch_size, progress)
            store.add([key for key, _ in part], embeds)

    for name, role, texts in (
        ("prompts", "text", folder.prompts),
        ("metadata", "profile", _metadata_sentences(folder)),
        ("demographics", "profile", _demographics_sentences(folder)),
    ):
        encoder_name = config.text_encoder if role == "text" else config.profile_encoder
        encoder = load_text_encoder(encoder_name).to(device)
        names[encoder.fingerprint] = encoder_name
        encoded[name] = _embed_texts(folder.path, texts, encoder, processor, role, batch_size)
    if process_index() == 0:
        _name_encoders(folder, names)
    return encoded


def read_embeddings(folder: DataFolder | JointFolder, config: PamelaConfig) -> FolderEmbeddings:
    """
    All embeddings of a data folder from its store; of a joint one, set after set.

    Raises:
        MissingEmbeddingsError: Some were never encoded, or with another encoder; run `pamela embed`.
        EncoderError: The encoders at hand are not those that the config's model was trained on.
    """
    if isinstance(folder, JointFolder):
        parts = [read_embeddings(member.folder, config) for member in folder.members]
        names = ("image", "text", "metadata", "demographics")
        return FolderEmbeddings(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})
    fingerprints = bind_encoders(config)
    images = EmbeddingStore(folder.path, fingerprints["image"], "image")
    return FolderEmbeddings(
        image=torch.from_numpy(images.get(folder.images["sha256"].to_pylist())),
        text=_read_texts(folder.path, folder.prompts, fingerprints["text"], config.text_embed_dim),
        metadata=_read_texts(
            folder.path, _metadata_sentences(folder), fingerprints["profile"], config.profile_embed_dim
        ),
        demographics=_read_texts(
            folder.path, _demographics_sentences(folder), fingerprints["profile"], config.profile_embed_dim
        ),
    )


def folder_texts(folder: DataFolder) -> list[str]:
    """The texts of a data set that are embedded: prompts, and sentences of metadata and demographics; each once."""
    texts = [*folder.prompts, *_metadata_sentences(folder), *_demographics_sentences(folder)]
    return list(dict.fromkeys(text for text in texts if text and text.strip()))


def _name_encoders(folder: DataFolder, names: dict[str, str | None]) -> None:
    """Writes fingerprint and name of encoders into the card, which is read anew: others may have written to it meanwhile."""
    metadata = DataFolder(folder.path).metadata
    known = metadata["pamela"].get("encoders") or {}
    if known | names != known:
        metadata["pamela"]["encoders"] = dict(sorted((known | names).items()))
        write_card(folder.path, metadata)


def _own_share(keys: list[str]) -> list[str]:
    """The keys, hexadecimal hashes, that this process encodes."""
    return [key for key in keys if int(key[:8], 16) % num_processes() == process_index()]


def _metadata_sentences(folder: DataFolder) -> list[str]:
    return _sentences(folder.images, [name for name in METADATA_COLUMNS if name in folder.images.column_names])


def _demographics_sentences(folder: DataFolder) -> list[str]:
    return _sentences(folder.users, [name for name in folder.users.column_names if name not in NOT_DEMOGRAPHICS])


def _sentences(table: pa.Table, columns: list[str]) -> list[str]:
    if not columns:
        return [""] * len(table)
    return [describe(row) for row in table.select(columns).to_pylist()]


def _embed_texts(
    path: Path,
    texts: Sequence[str | None],
    encoder: FrozenEncoder,
    processor: PamelaProcessor,
    role: str,
    batch_size: int,
) -> int:
    store = EmbeddingStore(path, encoder.fingerprint, "text")
    by_key = {text_key(text): text for text in texts if text and text.strip()}
    wanted = _own_share(store.missing(list(by_key)))
    device = next(encoder.parameters()).device
    with tqdm(
        total=len(wanted), desc="Encoding texts", unit="text", disable=not wanted or process_index() > 0
    ) as progress:
        for keys in chunks(wanted, PART_SIZE):
            embeds = []
            for batch in chunks(keys, batch_size):
                tokens = processor.tokenize([by_key[key] for key in batch], role=role).to(device)
                with torch.no_grad():
                    embeds.append(encoder(**tokens).float().cpu().numpy())
                progress.update(len(batch))
            store.add(keys, np.concatenate(embeds))
    return len(wanted)


def _read_texts(path: Path, texts: Sequence[str | None], fingerprint: str, width: int) -> Tensor:
    store = EmbeddingStore(path, fingerprint, "text")
    present = [row for row, text in enumerate(texts) if text and text.strip()]
    embeds = torch.zeros(len(texts), width)
    if present:
        found = torch.from_numpy(store.get([text_key(texts[row] or "") for row in present]))
        if found.shape[1] != width:
            raise DataError(
                f"The store holds text embeddings of width {found.shape[1]}, but the model takes width {width}."
            )
        embeds[present] = found
    return embeds
