"""What a person said of pictures, kept so that their taste can be learned anew at any time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


__all__ = ["TasteEvidence", "picture_id"]


def picture_id(embeds: Tensor) -> str:
    """
    Name of a picture that was given without one: 16 hex digits of the SHA-256 of its frozen embedding `(D,)` in half precision.

    Example:

    ```python
    >>> import torch
    >>> picture_id(torch.zeros(4)) == picture_id(torch.zeros(4, dtype=torch.float16))
    True

    ```
    """
    return hashlib.sha256(embeds.to("cpu", torch.float16).contiguous().numpy().tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class TasteEvidence:
    """
    Ratings and comparisons of pictures, in the order in which they were given. A picture rated twice has two rows.

    Attributes:
        features (`torch.Tensor` of shape `(P, W)`): Taste features of the pictures, by the model the profile belongs to.
        image_ids (`tuple[str, ...]` of length P): Names of the pictures.
        embeds (`dict[str, torch.Tensor]`): `image_embeds` and where known `text_embeds`, … of shape `(P, D)`, in half precision:
            what another model computes its features from. A row of zeros is an unknown input.
        rated (`torch.Tensor` of shape `(k,)`, int64): Row of the rated picture.
        ratings (`torch.Tensor` of shape `(k,)`, float64): Ratings, 0 to 1.
        compared (`torch.Tensor` of shape `(c, 2)`, int64): Rows of the preferred and of the other picture.
        tied (`torch.Tensor` of shape `(c,)`, bool): Where neither was preferred.
    """

    features: Tensor
    image_ids: tuple[str, ...] = ()
    embeds: dict[str, Tensor] = field(default_factory=dict)
    rated: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    ratings: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    compared: Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.int64))
    tied: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))

    def __post_init__(self) -> None:
        pictures, comparisons = len(self.image_ids), len(self.compared)
        lengths = {len(self.features), *(len(rows) for rows in self.embeds.values())}
        rows = torch.cat([self.rated, self.compared.flatten()])
        if (
            lengths != {pictures}
            or self.features.ndim != 2
            or self.rated.shape != self.ratings.shape
            or self.compared.shape != (comparisons, 2)
            or self.tied.shape != (comparisons,)
            or (len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < pictures)
        ):
            raise ValueError("evidence whose parts do not fit each other")

    @classmethod
    def empty(cls, width: int) -> "TasteEvidence":
        """Nothing said yet, for a model with `width` taste features."""
        return cls(torch.zeros(0, width))

    @property
    def rating_ids(self) -> list[str]:
        """Picture of every rating."""
        return [self.image_ids[row] for row in self.rated.tolist()]

    @property
    def comparison_ids(self) -> list[tuple[str, str]]:
        """Preferred and other picture of every comparison."""
        return [(self.image_ids[first], self.image_ids[second]) for first, second in self.compared.tolist()]

    @property
    def rating_features(self) -> Tensor:
        """Taste features `(k, W)` of the rated pictures, float64."""
        return self.features[self.rated].double()

    @property
    def comparison_features(self) -> Tensor:
        """Taste features `(c, W)` of the preferred picture less those of the other, float64."""
        features = self.features.double()
        return features[self.compared[:, 0]] - features[self.compared[:, 1]]

    def add_pictures(
        self, features: Tensor, embeds: Mapping[str, Tensor], image_ids: Sequence[str] | None
    ) -> tuple["TasteEvidence", Tensor]:
        """
        The evidence with n more pictures of which nothing is said yet, and their rows `(n,)`.

        Args:
            features (`torch.Tensor` of shape `(n, W)`): Their taste features.
            embeds (`dict[str, torch.Tensor]`): Their frozen embeddings `(n, D)`.
            image_ids (sequence of `str`, *optional*): Their names; hashes of the embeddings where not given.
        """
        number, before = len(features), len(self.image_ids)
        if image_ids is None:
            rows = next(iter(embeds.values()), features)
            image_ids = [picture_id(row) for row in rows]
        joined = {}
        for name in {**self.embeds, **embeds}:
            width = (self.embeds if name in self.embeds else embeds)[name].shape[1]
            # What is known of only some pictures is unknown of the others.
            old = self.embeds.get(name, torch.zeros(before, width, dtype=torch.float16))
            new = embeds.get(name, torch.zeros(number, width))
            joined[name] = torch.cat([old, new.detach().to("cpu", torch.float16)])
        evidence = replace(
            self,
            features=torch.cat([self.features.to(features.dtype), features.detach().cpu()]),
            image_ids=(*self.image_ids, *image_ids),
            embeds=joined,
        )
        return evidence, torch.arange(before, before + number)

    def add_ratings(self, rows: Tensor, ratings: Tensor) -> "TasteEvidence":
        """The evidence with ratings `(n,)`, 0 to 1, of the pictures in `rows` `(n,)`."""
        return replace(self, rated=torch.cat([self.rated, rows]), ratings=torch.cat([self.ratings, ratings.double()]))

    def add_comparisons(self, pairs: Tensor, tied: Tensor) -> "TasteEvidence":
        """The evidence with comparisons of the preferred and the other picture in rows `pairs` `(n, 2)`; `tied` `(n,)` is bool."""
        return replace(self, compared=torch.cat([self.compared, pairs]), tied=torch.cat([self.tied, tied]))

    def without(self, image_id: str) -> "TasteEvidence":
        """The evidence less everything said of a picture, comparisons with it included. A `KeyError` where there is nothing."""
        kept = torch.tensor([name != image_id for name in self.image_ids], dtype=torch.bool)
        if kept.all():
            raise KeyError(image_id)
        rating_kept, pair_kept = kept[self.rated], kept[self.compared].all(1)
        used = torch.zeros(len(kept), dtype=torch.bool)
        used[self.rated[rating_kept]] = True
        used[self.compared[pair_kept].flatten()] = True
        place = used.cumsum(0) - 1
        return replace(
            self,
            features=self.features[used],
            image_ids=tuple(name for name, keep in zip(self.image_ids, used.tolist(), strict=True) if keep),
            embeds={name: rows[used] for name, rows in self.embeds.items()},
            rated=place[self.rated[rating_kept]],
            ratings=self.ratings[rating_kept],
            compared=place[self.compared[pair_kept]],
            tied=self.tied[pair_kept],
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """All tensors under flat names, as they are saved."""
        named = {
            name: getattr(self, name).contiguous() for name in ("features", "rated", "ratings", "compared", "tied")
        }
        return named | {f"embeds.{name}": rows.contiguous() for name, rows in self.embeds.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], image_ids: Sequence[str]) -> "TasteEvidence":
        """The reverse of [`to_tensors`]; a `KeyError` or `ValueError` where something is missing or does not fit."""
        named = {name: tensors[name] for name in ("features", "rated", "ratings", "compared", "tied")}
        embeds = {name.removeprefix("embeds."): rows for name, rows in tensors.items() if name.startswith("embeds.")}
        return cls(image_ids=tuple(image_ids), embeds=embeds, **named)
