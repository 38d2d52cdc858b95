"""Rating a folder: which picture comes next, what an answer does, and when it is done. Nothing here knows of a page."""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from ..data.files import DataError
from ..data.images import ImageError, open_image
from ..modeling_pamela import PamelaForPersonalizedScoring
from ..taste.profile import RankedPicture, TasteProfile
from .answers import HIGHEST, LOWEST, Answer, Answers
from .library import Library


__all__ = ["MAX_POOL", "Progress", "Question", "RatingSession"]

# What to ask is chosen from so many pictures, drawn at random where there are more. It takes 0.2 s.
MAX_POOL = 1000
# The first question waits for so many, not for all: it would be chosen badly among few.
_FIRST_POOL = 32


@dataclass(frozen=True)
class Question:
    """
    A picture to rate.

    Attributes:
        picture (`str`): SHA-256 of its file.
        name (`str`): The file's path below the folder.
        image (`PIL.Image.Image`): The picture itself.
    """

    picture: str
    name: str
    image: Image.Image


@dataclass(frozen=True)
class Progress:
    """
    How far it is.

    Attributes:
        rated, skipped (`int`): Answers that stand.
        wanted (`int`): Ratings after which the folder is ranked; never more than there are pictures to rate.
        left (`int`): Pictures that were not answered.
        encoded, files (`int`): Picture files that were encoded or set aside, of all.
    """

    rated: int
    skipped: int
    wanted: int
    left: int
    encoded: int
    files: int


class RatingSession:
    """
    A person rates pictures of a folder, those first that teach most about how they rank it. All that is said is in `answers`, so several
    pages, threads and processes may share one folder, and any of them may end at any time.

    Args:
        library ([`Library`]): The pictures.
        answers ([`Answers`]): What was said so far.
        model ([`PamelaForPersonalizedScoring`]): A posterior model with the library's encoder.
        wanted (`int`): Ratings after which the folder is ranked.

    Raises:
        ProfileError: The model has no posterior.
    """

    def __init__(self, library: Library, answers: Answers, model: PamelaForPersonalizedScoring, wanted: int) -> None:
        self.library, self.answers, self.model = library, answers, model
        self._wanted = wanted
        self._anybody = TasteProfile.prior(model, scale=(LOWEST, HIGHEST))
        self._lock = threading.Lock()

    def progress(self) -> Progress:
        """How far it is."""
        answers, library = self.answers.standing(), self.library
        rated = sum(answer.rating is not None for answer in answers)
        pictures = library.pictures()
        # What is not encoded yet may turn out to be a picture that is there twice.
        left = len(pictures.keys() - {answer.picture for answer in answers})
        left += len(library.files) - len(library.set_aside) - len(library.encoded)
        return Progress(
            rated,
            len(answers) - rated,
            max(rated, min(self._wanted, rated + left)),
            left,
            len(library.encoded) + len(library.set_aside),
            len(library.files),
        )

    @property
    def finished(self) -> bool:
        """Whether as many pictures as wanted are rated, or there is none left to ask about."""
        progress = self.progress()
        return progress.rated >= progress.wanted and (progress.rated >= self._wanted or self.library.complete)

    def next(self) -> Question | None:
        """The next picture to rate; `None` where it is finished, or while too few pictures are encoded."""
        with self._lock:
            while not self.finished:
                pictures = self.library.pictures()
                asked = {answer.picture for answer in self.answers.standing()}
                left = [picture for picture in pictures if picture not in asked][:MAX_POOL]
                if not left or not (self.library.complete or len(pictures) >= _FIRST_POOL):
                    return None
                pool = self.library.embeddings(list(pictures)[:MAX_POOL])
                best = self.profile().suggest_next(
                    self.model, 1, targets={"image_embeds": pool}, image_embeds=self.library.embeddings(left)
                )
                if question := self._question(left[int(best)]):
                    return question
            return None

    def answer(self, picture: str, rating: float | None) -> None:
        """
        Keep what was said of a picture, now and again if it was answered before; on the disk when this returns.

        Args:
            picture (`str`): Of the question.
            rating (`float`, *optional*): From 1 (bad) to 5 (excellent); `None` where the person cannot judge it.

        Raises:
            DataError: There is no such picture, the rating is off the scale, or the disk does not take it.
        """
        file = self.library.pictures().get(picture)
        if file is None:
            raise DataError("This picture is no longer in the folder. Reload the page.")
        self.answers.add(picture, self.library.name(file), rating)

    def undo(self) -> Question | None:
        """Take the last answer back, and ask again; `None` where nothing was answered, or that picture is gone."""
        last = self.answers.undo()
        return self._question(last.picture) if last is not None else None

    def more(self, number: int) -> None:
        """Ask for further ratings before the folder is ranked again."""
        self._wanted = self.progress().rated + number

    def profile(self) -> TasteProfile:
        """The person's taste, from the ratings that stand; without those of [`set_aside`]."""
        known = self.library.pictures()
        rated = [
            (answer.rating, embedding, self._name(answer, known))
            for answer in self.answers.standing()
            if answer.rating is not None and (embedding := self.library.embedding(answer.picture)) is not None
        ]
        if not rated:
            return self._anybody
        ratings, embeddings, names = zip(*rated, strict=True)
        return self._anybody.update(
            self.model, torch.tensor(ratings), image_ids=names, image_embeds=torch.stack(embeddings)
        )

    def set_aside(self) -> list[str]:
        """Pictures that cannot be used, and ratings of pictures that are gone and that this model's encoder never saw, with the reason."""
        files = [f"{self.library.name(file)}: {reason}" for file, reason in list(self.library.set_aside.items())]
        gone = [
            f"{answer.name}: gone, and never seen by this model; what you said of it is kept, but not used"
            for answer in self.answers.standing()
            if self.library.complete and answer.rating is not None and self.library.embedding(answer.picture) is None
        ]
        return sorted(files) + gone

    def ranking(self) -> list[RankedPicture]:
        """All pictures that can be used, best first for the person; `image_id` is the path below the folder."""
        files = list(self.library.encoded.items())
        if not files:
            problems = self.set_aside()
            first = f" The first: {problems[0]}." if problems else ""
            raise DataError(f"None of the {len(self.library.files)} pictures can be read.{first}")
        embeds = self.library.embeddings([picture for _, picture in files])
        names = [self.library.name(file) for file, _ in files]
        return self.profile().rank(self.model, image_ids=names, image_embeds=embeds)

    def _name(self, answer: Answer, known: dict[str, Path]) -> str:
        return self.library.name(known[answer.picture]) if answer.picture in known else answer.name

    def open(self, file: Path) -> Image.Image | None:
        """One of the pictures, read anew; set aside, and `None`, where that fails or another has taken its place."""
        picture = self.library.encoded.get(file)
        try:
            content = self.library.read(file)
            if hashlib.sha256(content).hexdigest() != picture:
                raise ImageError(str(file), "changed since it was encoded; start again to see it anew")
            return open_image(content)
        except ImageError as error:
            self.library.set_aside[file] = error.reason
            self.library.encoded.pop(file, None)
            return None

    def _question(self, picture: str) -> Question | None:
        file = self.library.pictures().get(picture)
        image = None if file is None else self.open(file)
        return None if file is None or image is None else Question(picture, self.library.name(file), image)
