"""The tastes of a great many people in one file that is read through a memory map."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from io import BufferedRandom
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..data.files import atomic_write
from ..gaussian_taste import taste_posterior
from .comparisons import GaussianSites
from .evidence import TasteEvidence
from .profile import ProfileError, TasteProfile


if TYPE_CHECKING:
    from ..modeling_pamela import PamelaForPersonalizedScoring

__all__ = ["TasteStore", "TopPeople", "TopPictures"]

FORMAT_VERSION = 1
# Tensors are written as profiles come in, before their number is known; the header goes into the place kept for it.
HEADER_BYTES = 16_384
# Half precision is widened a block at a time: so many rows stay in a core's cache, which is faster than fewer or more.
BLOCK_ROWS = 4_096
DEFAULT_MEMORY = 64 * 2**20

# What there is one row of a person, an observation (a rating, or a comparison of two pictures) or a picture.
_PERSON = {"observation_ends": np.int64, "name_ends": np.int64, "prior_rows": np.int32, "noise_variances": np.float64}
_OBSERVATION = {
    "targets": np.float64,
    "variances": np.float64,
    "ratings": np.float64,
    "first_pictures": np.int32,
    # -1 for a rating, which is of one picture.
    "second_pictures": np.int32,
    "ties": np.uint8,
}
_DTYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32", "uint8": "U8"}


class TopPeople(NamedTuple):
    """
    The people who would like a picture best.

    Attributes:
        user_ids (`list[str]` of length n): Best first.
        scores (`torch.Tensor` of shape `(n,)`): Expected scores, float32.
    """

    user_ids: list[str]
    scores: Tensor


class TopPictures(NamedTuple):
    """
    The pictures that a person would like best.

    Attributes:
        rows (`torch.Tensor` of shape `(n,)`): Of the features that were given, best first.
        scores (`torch.Tensor` of shape `(n,)`): Expected scores, float32.
    """

    rows: Tensor
    scores: Tensor


class TasteStore:
    """
    Taste profiles of one model in one safetensors file: posterior means in half precision to score with, and each person's
    evidence, from which [`get`] rebuilds the whole posterior. Covariances are not kept, nor embeddings of pictures.

    Scores are the model's: of people of a data set other than its first, not on their own scale, but in the same order.
    Opening reads next to nothing; scoring reads the means once, in blocks. Tastes are personal data: the file holds what people
    said of which picture, under their ids.

    Example:

    ```python
    >>> import tempfile
    >>> import torch
    >>> from modeling_pamela import PamelaConfig, PamelaForPersonalizedScoring, TasteProfile
    >>> from modeling_pamela.taste.store import TasteStore

    >>> _ = torch.manual_seed(0)
    >>> model = PamelaForPersonalizedScoring(PamelaConfig(image_embed_dim=8, hidden_size=16)).eval()
    >>> pictures, names = torch.randn(3, 8), ["sea", "hill", "town"]
    >>> profile = TasteProfile.fit(model, torch.tensor([0.9, 0.2, 0.4]), image_ids=names, image_embeds=pictures)
    >>> store = TasteStore.create(tempfile.mkdtemp() + "/people.safetensors", [("ann", profile)])
    >>> features = model(image_embeds=pictures).taste_features
    >>> store.top_people(features[0], 1).user_ids, store.top_pictures("ann", features, 2).rows.shape
    (['ann'], torch.Size([2]))
    >>> store.get("ann", dict(zip(names, features, strict=True))).num_ratings
    3

    ```
    """

    def __init__(self, path: str | Path, model: "PamelaForPersonalizedScoring | None" = None) -> None:
        """
        Open a store.

        Args:
            path (`str` or `Path`): A file that [`create`] wrote.
            model ([`PamelaForPersonalizedScoring`], *optional*): Whose taste features it will be used with, to be checked.

        Raises:
            ProfileError: There is no store at `path`, it is cut off or damaged, or it belongs to another model.
        """
        self.path = Path(path)
        try:
            with safe_open(self.path, framework="pt") as file:
                facts = file.metadata() or {}
                self._tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if facts.get("format_version") != str(FORMAT_VERSION):
                raise ValueError(f"format version {facts.get('format_version')}, expected {FORMAT_VERSION}")
            self.model_fingerprint = facts["model_fingerprint"]
            self.encoder_fingerprints: dict[str, str] | None = json.loads(facts["encoder_fingerprints"])
            self.data_set: str | None = json.loads(facts["data_set"])
            self._checksum = facts["checksum"]
            self.means = self._tensors["means"]
            self._check_shapes()
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ProfileError(
                f"{self.path} holds no readable taste store ({error}). It may be cut off: copy it again, or create it anew."
            ) from error
        if model is not None and (fingerprint := model.fingerprint()) != self.model_fingerprint:
            raise ProfileError(
                f"The store {self.path} belongs to the model {self.model_fingerprint}, not to {fingerprint}. Load the model it was "
                "made with, or create a store of migrated profiles."
            )

    def __len__(self) -> int:
        return len(self.means)

    @classmethod
    def create(cls, path: str | Path, profiles: Iterable[tuple[str, TasteProfile]]) -> "TasteStore":
        """
        Write a store, one profile after the other, in memory that does not grow with their means or evidence.

        Args:
            path (`str` or `Path`): File to write; replaced as a whole, or not at all on an error.
            profiles (iterable of `(user_id, TasteProfile)`): All of one model, each user_id once.

        Raises:
            ProfileError: There are no profiles, two of one person, or profiles of different models.
        """
        path = Path(path)
        with atomic_write(path) as temporary, _Writer(temporary) as writer:
            for user_id, profile in profiles:
                writer.add(user_id, profile)
            writer.finish()
        return cls(path)

    def verify(self) -> None:
        """
        Read the whole file, in about a second a gigabyte, and refuse it where it was changed. Opening looks at lengths only.

        Raises:
            ProfileError: Tastes or evidence are not what was written.
        """
        with self.path.open("rb") as file:
            file.seek(HEADER_BYTES)
            if hashlib.file_digest(file, "sha256").hexdigest() != self._checksum:
                raise ProfileError(f"{self.path} was changed since it was written. Copy it again, or create it anew.")

    def get(self, user_id: str, features: Mapping[str, Tensor]) -> TasteProfile:
        """
        A person's whole profile, its posterior rebuilt from their evidence.

        Args:
            user_id (`str`): Whose.
            features (mapping from `str` to `torch.Tensor` of shape `(W,)`): Taste features of pictures by name, among them those that the
                person rated or compared (see [`evidence_ids`]).

        Raises:
            ProfileError: Nobody is stored under this id, or features are missing.
        """
        row = self._row(user_id)
        parts = self._observations(row)
        names = self.evidence_ids(user_id)
        if missing := [name for name in names if name not in features]:
            raise ProfileError(
                f"Taste features of {len(missing)} of the {len(names)} pictures in the evidence of {user_id!r} are missing (the first: "
                f"{missing[0]!r}). Give them, to rebuild the posterior."
            )
        pictures = torch.stack([features[name] for name in names]) if names else self.means.new_zeros(0, self.width)
        pictures = pictures.detach().float().cpu()
        # Rows of `names` instead of the store's.
        used = parts["second_pictures"] >= 0
        place = {number: at for at, number in enumerate(self._pictures_of(parts))}
        first, second = (
            torch.tensor([place.get(number, -1) for number in parts[f"{which}_pictures"].tolist()], dtype=torch.int64)
            for which in ("first", "second")
        )
        evidence = TasteEvidence(
            features=pictures,
            image_ids=tuple(names),
            rated=first[~used],
            ratings=parts["ratings"][~used],
            compared=torch.stack([first[used], second[used]], dim=1),
            tied=parts["ties"][used].bool(),
        )
        prior_row = int(self._tensors["prior_rows"][row])
        prior_mean = self._tensors["priors"][prior_row].double()
        demographics = self._tensors["demographics"][prior_row : prior_row + 1].clone()
        rows = torch.cat([evidence.rating_features, evidence.comparison_features])
        sites = GaussianSites(parts["targets"], parts["variances"])
        low, high = self._tensors["scales"][row].tolist()
        return TasteProfile(
            posterior=taste_posterior(rows, *sites, prior_mean),
            prior_mean=prior_mean,
            noise_variance=float(self._tensors["noise_variances"][row]),
            evidence=evidence,
            sites=sites,
            scale=(low, high),
            model_fingerprint=self.model_fingerprint,
            encoder_fingerprints=self.encoder_fingerprints,
            demographics_embeds=demographics if demographics.any() else None,
            data_set=self.data_set,
        )

    @property
    def width(self) -> int:
        """W, the number of taste features."""
        return self.means.shape[1]

    def user_id(self, row: int) -> str:
        """Whose taste a row holds."""
        return self._name("name", row)

    def mean(self, user_id: str) -> Tensor:
        """A person's posterior mean `(W,)`, float16; a [`ProfileError`] where nobody is stored under this id."""
        return self.means[self._row(user_id)]

    def evidence_ids(self, user_id: str) -> list[str]:
        """Names of the pictures that a person rated or compared, each once."""
        return [self._name("picture", number) for number in self._pictures_of(self._observations(self._row(user_id)))]

    def scores(self, features: Tensor, max_bytes: int = DEFAULT_MEMORY) -> Iterator[tuple[int, Tensor]]:
        """
        Scores of n pictures for everybody, some people at a time.

        Args:
            features (`torch.Tensor` of shape `(n, W)`): Taste features of the pictures.
            max_bytes (`int`): How much memory to work in. What the matrix product itself packs, a few MB, comes on top.

        Yields:
            The first row of a block of people, and their scores `(rows, n)`, float32. The tensor is used again for the next block.

        Raises:
            ProfileError: The features are of another width, or the memory is too little for one person.
        """
        features = self._check_features(features)
        transposed = features.mT
        step = self._block_rows(4 * (self.width + len(features)), max_bytes)
        widened = torch.empty(step, self.width)
        out = torch.empty(step, len(features))
        for start in range(0, len(self), step):
            block = self.means[start : start + step]
            rows = widened[: len(block)].copy_(block)
            yield start, torch.matmul(rows, transposed, out=out[: len(block)])

    def top_people(self, features: Tensor, n: int, max_bytes: int = DEFAULT_MEMORY) -> TopPeople:
        """
        The n people whose expected score of a picture is highest; all of them where there are fewer.

        Args:
            features (`torch.Tensor` of shape `(W,)`): Taste features of the picture.
            n (`int`): How many people, at least 1.
            max_bytes (`int`): How much memory to work in.

        Raises:
            ProfileError: As [`scores`].
        """
        best = _Top(n)
        for start, scores in self.scores(features[None], max_bytes):
            best.add(start, scores.squeeze(1))
        return TopPeople([self.user_id(row) for row in best.rows.tolist()], best.scores)

    def top_pictures(self, user_id: str, features: Tensor, n: int, max_bytes: int = DEFAULT_MEMORY) -> TopPictures:
        """
        The n pictures whose expected score is highest for a person; all of them where there are fewer.

        Args:
            user_id (`str`): Whose taste.
            features (`torch.Tensor` of shape `(N, W)`): Taste features of the pictures, in any precision; may be a memory map.
            n (`int`): How many pictures, at least 1.
            max_bytes (`int`): How much memory to work in.

        Raises:
            ProfileError: Nobody is stored under this id, or as [`scores`].
        """
        mean = self.means[self._row(user_id)].float()
        best = _Top(n)
        self._check_features(features[:0])
        step = self._block_rows(4 * (self.width + 1), max_bytes)
        for start in range(0, len(features), step):
            best.add(start, features[start : start + step].float() @ mean)
        return TopPictures(best.rows, best.scores)

    # Inside ---------------------------------------------------------------------------------------------------------

    def _check_features(self, features: Tensor) -> Tensor:
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ProfileError(
                f"The taste features have shape {tuple(features.shape)}, expected (pictures, {self.width}). Take them from the model "
                f"{self.model_fingerprint}."
            )
        return features.detach().float().cpu()

    def _block_rows(self, bytes_per_row: int, max_bytes: int) -> int:
        if max_bytes < bytes_per_row:
            raise ProfileError(
                f"max_bytes is {max_bytes}; one row alone takes {bytes_per_row}. Allow more, or give fewer pictures."
            )
        return min(BLOCK_ROWS, max_bytes // bytes_per_row)

    def _row(self, user_id: str) -> int:
        hashes = self._tensors["name_hashes"].numpy()
        wanted = _hash(user_id)
        for at in range(int(np.searchsorted(hashes, wanted)), len(hashes)):
            if hashes[at] != wanted:
                break
            row = int(self._tensors["hash_rows"][at])
            if self.user_id(row) == user_id:
                return row
        raise ProfileError(f"Nobody is stored as {user_id!r} among the {len(self):,} people of {self.path}.")

    def _observations(self, row: int) -> dict[str, Tensor]:
        ends = self._tensors["observation_ends"]
        start, end = (int(ends[row - 1]) if row else 0), int(ends[row])
        return {name: self._tensors[name][start:end].clone() for name in _OBSERVATION}

    @staticmethod
    def _pictures_of(observations: dict[str, Tensor]) -> list[int]:
        """The store's numbers of the pictures, in the order in which they come first."""
        pairs = torch.stack([observations["first_pictures"], observations["second_pictures"]], dim=1)
        return list(dict.fromkeys(number for number in pairs.flatten().tolist() if number >= 0))

    def _name(self, of: str, row: int) -> str:
        ends = self._tensors[f"{of}_ends"]
        start, end = (int(ends[row - 1]) if row else 0), int(ends[row])
        return self._tensors[f"{of}_bytes"][start:end].numpy().tobytes().decode("utf-8")

    def _check_shapes(self) -> None:
        people, width = self.means.shape
        last = {
            name: int(self._tensors[name][-1]) if len(self._tensors[name]) else 0
            for name in ("observation_ends", "name_ends", "picture_ends")
        }
        lengths = {
            **dict.fromkeys([*_PERSON, "scales", "name_hashes", "hash_rows"], people),
            **dict.fromkeys(_OBSERVATION, last["observation_ends"]),
            "name_bytes": last["name_ends"],
            "picture_bytes": last["picture_ends"],
        }
        for name, length in lengths.items():
            if len(self._tensors[name]) != length:
                raise ValueError(f"{name} has {len(self._tensors[name])} rows instead of {length}")
        if self._tensors["priors"].shape[1] != width:
            raise ValueError(f"means of width {width} beside priors of width {self._tensors['priors'].shape[1]}")


class _Top:
    """The n highest of scores that come in blocks."""

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ProfileError(f"Expected to be asked for at least 1, got {n}.")
        self.n = n
        self.rows = torch.zeros(0, dtype=torch.int64)
        self.scores = torch.zeros(0)

    def add(self, start: int, scores: Tensor) -> None:
        block = scores.topk(min(self.n, len(scores)))
        candidates = torch.cat([self.scores, block.values])
        best = candidates.topk(min(self.n, len(candidates)))
        self.scores = best.values
        self.rows = torch.cat([self.rows, block.indices + start])[best.indices]


class _Writer(ExitStack):
    """Means go straight into the file; what follows them waits in temporary files beside it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file: BufferedRandom = self.enter_context(path.open("w+b"))
        self.file.write(b" " * HEADER_BYTES)
        self.parts: dict[str, Any] = {
            name: self.enter_context(tempfile.TemporaryFile(dir=path.parent))  # noqa: SIM115
            for name in (*_PERSON, "scales", *_OBSERVATION, "name_bytes", "picture_bytes", "picture_ends")
        }
        self.first: TasteProfile | None = None
        self.hashes: list[int] = []
        self.seen: set[str] = set()
        self.pictures: dict[str, int] = {}
        self.priors: dict[bytes, tuple[int, np.ndarray, np.ndarray]] = {}
        self.num_observations = self.name_bytes = self.picture_bytes = 0

    def add(self, user_id: str, profile: TasteProfile) -> None:
        first = self.first = self.first or profile
        if profile.model_fingerprint != first.model_fingerprint:
            raise ProfileError(
                f"The profile of {user_id!r} belongs to the model {profile.model_fingerprint}, those before to "
                f"{first.model_fingerprint}. Migrate all to one model."
            )
        if profile.data_set != first.data_set:
            raise ProfileError(
                f"The profile of {user_id!r} is of the data set {profile.data_set!r}, those before of {first.data_set!r}, whose people "
                "use their scales differently. Make a store for each."
            )
        if user_id in self.seen:
            raise ProfileError(f"There are two profiles of {user_id!r}; expected each user_id once.")
        self.seen.add(user_id)
        with np.errstate(over="ignore"):
            mean = profile.posterior.mean.numpy().astype(np.float16)
        if not np.isfinite(mean).all():
            raise ProfileError(f"The taste of {user_id!r} does not fit half precision.")
        self.file.write(mean.tobytes())
        evidence, sites = profile.evidence, profile.sites
        numbers = np.array([self._picture(name) for name in evidence.image_ids], dtype=np.int32)
        rated, compared = evidence.rated.numpy(), evidence.compared.numpy()
        name = user_id.encode("utf-8")
        self.num_observations += len(rated) + len(compared)
        self.name_bytes += len(name)
        self.hashes.append(_hash(user_id))
        rows = {
            "observation_ends": self.num_observations,
            "name_ends": self.name_bytes,
            "prior_rows": self._prior(profile),
            "noise_variances": profile.noise_variance,
            "targets": sites.target.numpy(),
            "variances": sites.noise_variance.numpy(),
            "ratings": np.concatenate([evidence.ratings.numpy(), np.zeros(len(compared))]),
            "first_pictures": numbers[np.concatenate([rated, compared[:, 0]])],
            "second_pictures": np.concatenate([np.full(len(rated), -1), numbers[compared[:, 1]]]),
            "ties": np.concatenate([np.zeros(len(rated)), evidence.tied.numpy()]),
        }
        for key, dtype in (_PERSON | _OBSERVATION).items():
            self.parts[key].write(np.asarray(rows[key], dtype=dtype).tobytes())
        self.parts["scales"].write(np.array(profile.scale, dtype=np.float64).tobytes())
        self.parts["name_bytes"].write(name)

    def _picture(self, image_id: str) -> int:
        if image_id not in self.pictures:
            self.pictures[image_id] = len(self.pictures)
            name = image_id.encode("utf-8")
            self.picture_bytes += len(name)
            self.parts["picture_bytes"].write(name)
            self.parts["picture_ends"].write(np.int64(self.picture_bytes).tobytes())
        return self.pictures[image_id]

    def _prior(self, profile: TasteProfile) -> int:
        """Many people share a prior: those of whom nothing is known but their ratings, and those of the same demographics."""
        mean = profile.prior_mean.numpy().astype(np.float32)
        demographics = profile.demographics_embeds
        known = np.zeros(0, np.float32) if demographics is None else demographics[0].float().numpy()
        key = mean.tobytes() + known.tobytes()
        if key not in self.priors:
            self.priors[key] = (len(self.priors), mean, known)
        return self.priors[key][0]

    def finish(self) -> None:
        if self.first is None:
            raise ProfileError("There are no profiles to store.")
        people, width = len(self.hashes), len(self.first.posterior.mean)
        hashes = np.array(self.hashes, dtype=np.int64)
        order = np.argsort(hashes, kind="stable")
        demographics_width = max(len(known) for _, _, known in self.priors.values())
        demographics = np.zeros((len(self.priors), demographics_width), np.float32)
        for row, _, known in self.priors.values():
            demographics[row, : len(known)] = known
        header: dict[str, Any] = {
            "__metadata__": {
                "format_version": str(FORMAT_VERSION),
                "model_fingerprint": self.first.model_fingerprint,
                "encoder_fingerprints": json.dumps(self.first.encoder_fingerprints),
                "data_set": json.dumps(self.first.data_set),
            }
        }
        offset = 0

        def declare(name: str, dtype: Any, shape: tuple[int, ...]) -> None:
            nonlocal offset
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            header[name] = {
                "dtype": _DTYPES[np.dtype(dtype).name],
                "shape": shape,
                "data_offsets": [offset, offset + size],
            }
            offset += size

        declare("means", np.float16, (people, width))
        # Numbers of 8 bytes start at a multiple of 8.
        padding = -offset % 8
        declare("padding", np.uint8, (padding,))
        self.file.write(bytes(padding))
        lengths = {
            **dict.fromkeys(_PERSON, people),
            **dict.fromkeys(_OBSERVATION, self.num_observations),
            "picture_ends": len(self.pictures),
            "name_bytes": self.name_bytes,
            "picture_bytes": self.picture_bytes,
        }
        dtypes = {
            **_PERSON,
            **_OBSERVATION,
            "picture_ends": np.int64,
            "name_bytes": np.uint8,
            "picture_bytes": np.uint8,
        }
        whole = {
            "name_hashes": hashes[order],
            "hash_rows": order.astype(np.int64),
            "priors": np.stack([mean for _, mean, _ in self.priors.values()]),
            "demographics": demographics,
        }
        entries: list[tuple[str, Any, tuple[int, ...]]] = [
            (name, dtype, (lengths[name],)) for name, dtype in dtypes.items()
        ]
        entries += [
            ("scales", np.float64, (people, 2)),
            *((name, rows.dtype, rows.shape) for name, rows in whole.items()),
        ]
        for name, dtype, shape in sorted(entries, key=lambda entry: -np.dtype(entry[1]).itemsize):
            declare(name, dtype, shape)
            if name in whole:
                self.file.write(np.ascontiguousarray(whole[name]).tobytes())
            else:
                self.parts[name].seek(0)
                shutil.copyfileobj(self.parts[name], self.file, 2**20)
        self.file.seek(HEADER_BYTES)
        header["__metadata__"]["checksum"] = hashlib.file_digest(self.file, "sha256").hexdigest()
        text = json.dumps(header).encode("ascii")
        self.file.seek(0)
        self.file.write((HEADER_BYTES - 8).to_bytes(8, "little") + text)
        self.file.flush()


def _hash(user_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(user_id.encode("utf-8"), digest_size=8).digest(), "little", signed=True)
