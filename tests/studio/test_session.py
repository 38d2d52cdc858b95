"""Rating a folder without a page: real pictures, a tiny random encoder, a real database."""

import hashlib
import os
import shutil

import pytest
import torch

from modeling_pamela import TasteProfile
from modeling_pamela.data.files import DataError
from modeling_pamela.data.images import find_images
from modeling_pamela.data.pictures import encode_files
from modeling_pamela.studio import session as session_module
from modeling_pamela.studio.answers import Answers
from modeling_pamela.studio.library import Library
from modeling_pamela.studio.session import RatingSession
from modeling_pamela.taste.profile import ProfileError


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def start(folder, model, processor, tmp_path):
    """Start to rate; with `wait`, when everything is encoded."""
    started = []

    def start(wanted=4, folder=folder, out="out", wait=True):
        library = Library(folder, tmp_path / out / "embeddings.sqlite", model.encoder("image"), processor)
        session = RatingSession(library, Answers(tmp_path / out / "answers.sqlite"), model, wanted)
        if wait:
            library.start()
            library.wait()
        started.append(session)
        return session

    yield start
    for session in started:
        session.library.close()
        session.answers.close()


def rate(session, *ratings):
    questions = []
    for rating in ratings:
        questions.append(session.next())
        session.answer(questions[-1].picture, rating)
    return [question.name for question in questions]


def test_from_the_first_question_to_the_ranking(start, folder, model, processor):
    session = start()
    names = rate(session, 1.0, 5.0, 2.5)
    assert not session.finished
    names += rate(session, 4.0)
    assert session.finished
    assert session.next() is None
    assert len(set(names)) == 4
    # The same as learning from these ratings by hand.
    found = encode_files([folder], model.encoder("image"), processor, show_progress=False)
    rows = [found.files.index(folder / name) for name in names]
    expected = TasteProfile.fit(
        model, torch.tensor([1.0, 5.0, 2.5, 4.0]), scale=(1, 5), image_ids=names, image_embeds=found.image_embeds[rows]
    )
    ranking = session.ranking()
    ids = [file.relative_to(folder).as_posix() for file in found.files]
    by_hand = expected.rank(model, image_ids=ids, image_embeds=found.image_embeds)
    assert [picture.image_id for picture in ranking] == [picture.image_id for picture in by_hand]
    for ours, theirs in zip(ranking, by_hand, strict=True):
        assert ours[1:] == pytest.approx(theirs[1:], abs=2e-5)
    assert len(ranking) == 8
    assert session.profile().evidence.rating_ids == names


def test_the_question_is_the_most_telling_picture(start, model):
    session = start()
    rate(session, 1.0, 5.0)
    pictures = session.library.pictures()
    asked = {answer.picture for answer in session.answers.standing()}
    left = [picture for picture in pictures if picture not in asked]
    best = session.profile().suggest_next(
        model,
        1,
        targets={"image_embeds": session.library.embeddings(list(pictures))},
        image_embeds=session.library.embeddings(left),
    )
    assert session.next().picture == left[int(best)]


def test_undo_asks_the_same_picture_again(start):
    session = start()
    assert session.undo() is None
    first, second = session.next(), None
    session.answer(first.picture, 5.0)
    second = session.next()
    session.answer(second.picture, None)
    assert session.undo().picture == second.picture
    assert session.next().picture == second.picture
    assert session.undo().picture == first.picture
    assert session.progress().rated == 0
    assert session.next().picture == first.picture


def test_undo_goes_back_from_the_ranking(start):
    session = start(wanted=2)
    names = rate(session, 1.0, 5.0)
    assert session.finished
    assert session.undo().name == names[1]
    assert not session.finished


def test_skipped_pictures_do_not_count(start):
    session = start(wanted=4)
    skipped = rate(session, None, None)
    rated = rate(session, 1.0, 2.0, 3.0, 4.0)
    assert not set(skipped) & set(rated)
    assert session.profile().num_ratings == 4
    assert session.progress().skipped == 2
    assert {picture.image_id for picture in session.ranking()} >= set(skipped)


def test_a_restart_goes_on_and_does_not_encode_again(start, tmp_path, monkeypatch):
    session = start()
    names = rate(session, 1.0, 5.0)
    following = session.next().name
    session.library.close()
    session.answers.close()

    def fail(*_, **__):
        raise AssertionError("encoded again")

    again = start(wait=False)
    monkeypatch.setattr(again.library._encoder, "forward", fail)
    again.library.start()
    again.library.wait()
    assert again.progress().rated == 2
    assert again.profile().evidence.rating_ids == names
    assert again.next().name == following


def test_two_pages_see_each_other_and_keep_both_answers(start):
    left, right = start(), start()
    question = left.next()
    assert right.next().picture == question.picture
    left.answer(question.picture, 2.0)
    right.answer(question.picture, 4.0)
    assert [answer.rating for answer in left.answers.standing()] == [2.0, 4.0]
    assert left.profile().num_ratings == 2
    assert left.next().picture == right.next().picture != question.picture


def test_more_ratings(start):
    session = start(wanted=2)
    rate(session, 1.0, 2.0)
    session.more(5)
    assert session.progress().wanted == 7
    rate(session, *[3.0] * 5)
    assert session.finished
    session.more(5)  # one picture is left
    assert session.progress().wanted == 8
    rate(session, 3.0)
    assert session.finished
    assert session.progress().left == 0


@pytest.mark.parametrize("number", [1, 2])
def test_tiny_folders(start, tmp_path, write_picture, number):
    small = tmp_path / "small"
    for seed in range(number):
        write_picture(small / f"{seed}.png", seed)
    session = start(wanted=15, folder=small)
    assert session.progress().wanted == number
    rate(session, *[4.0] * number)
    assert session.finished
    assert len(session.ranking()) == number


def test_nothing_but_skips_ranks_as_anybody(start, tmp_path, write_picture, model):
    for seed in range(3):
        write_picture(tmp_path / "small" / f"{seed}.png", seed)
    session = start(folder=tmp_path / "small")
    rate(session, None, None, None)
    assert session.finished
    assert session.profile().num_ratings == 0
    assert len(session.ranking()) == 3


def test_folders_without_pictures(start, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match=r"no picture in .*empty"):
        start(folder=tmp_path / "empty")
    with pytest.raises(DataError, match="no folder"):
        start(folder=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_only_broken_pictures(start, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"not a picture")
    session = start(folder=tmp_path / "bad")
    assert session.next() is None
    assert session.set_aside() == ["a.jpg: not a picture in a known format"]
    with pytest.raises(DataError, match=r"None of the 1 pictures can be read. The first: "):
        session.ranking()


def test_pictures_that_go_away_or_change_are_named(start, folder, write_picture):
    session = start()
    gone = session.next()
    (folder / gone.name).unlink()
    changed = session.next()
    assert changed.picture != gone.picture
    write_picture(folder / changed.name, 99)
    assert session.next().picture not in (gone.picture, changed.picture)
    gone_reason, changed_reason = (
        next(reason for reason in session.set_aside() if reason.startswith(name)) for name in (gone.name, changed.name)
    )
    assert "No such file" in gone_reason
    assert "changed since" in changed_reason
    with pytest.raises(DataError, match="no longer in the folder"):
        session.answer(gone.picture, 3.0)
    assert len(session.ranking()) == 6


def test_renamed_and_deleted_pictures_keep_their_ratings(start, folder):
    session = start()
    first, second = rate(session, 1.0, 5.0)
    before = session.profile()
    (folder / first).rename(folder / "renamed.png")
    (folder / second).unlink()
    session.library.close()
    again = start()
    assert again.profile().evidence.rating_ids == ["renamed.png", second]
    assert torch.equal(again.profile().posterior.mean, before.posterior.mean)
    assert again.next().name not in ("renamed.png", first, second)
    assert again.set_aside() == []


def test_ratings_of_pictures_that_the_encoder_never_saw_are_named(start, folder, tmp_path):
    session = start()
    first, second = rate(session, 1.0, 5.0)
    session.library.close()
    (tmp_path / "out" / "embeddings.sqlite").unlink()
    (folder / first).unlink()
    again = start()
    assert again.profile().evidence.rating_ids == [second]
    assert again.progress().rated == 2
    (reason,) = again.set_aside()
    assert reason.startswith(first)


def test_the_same_picture_twice_is_asked_once_and_ranked_twice(start, folder):
    shutil.copy(folder / "0.png", folder / "copy.png")
    session = start(wanted=15)
    assert session.progress().wanted == 8
    assert len(set(rate(session, *[3.0] * 8))) == 8
    assert session.finished
    assert len(session.ranking()) == 9


def test_links_out_of_the_folder_are_not_followed(start, folder, tmp_path, write_picture):
    secret = write_picture(tmp_path / "elsewhere" / "secret.png", 50)
    (folder / "link.png").symlink_to(secret)
    (folder / "linked").symlink_to(secret.parent, target_is_directory=True)
    (folder / "inner.png").symlink_to(folder / "0.png")
    session = start()
    assert session.set_aside() == ["link.png: a link that leads out of the folder"]
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    assert digest not in session.library.pictures()
    with pytest.raises(DataError, match="no longer in the folder"):
        session.answer(digest, 5.0)
    # A picture that is swapped for a link after it was encoded.
    file = folder / session.next().name
    file.unlink()
    file.symlink_to(secret)
    assert session.open(file) is None
    assert "leads out" in session.library.set_aside[file]


def test_nothing_is_written_to_the_folder(start, folder):
    before = sorted(folder.rglob("*"))
    folder.chmod(0o555)
    rate(start(), 1.0, 2.0, 3.0, 4.0)
    folder.chmod(0o755)
    assert sorted(folder.rglob("*")) == before


def test_of_many_pictures_some_are_asked_about_and_all_are_ranked(start, folder, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_POOL", 3)
    session = start(wanted=15)
    names = rate(session, *[3.0] * 8)
    assert set(names[:2]) <= {session.library.name(file) for file in session.library.files[:4]}
    assert len(session.ranking()) == 8


def test_the_first_question_waits_for_a_pool_only(start, tmp_path, write_picture):
    for seed in range(40):
        write_picture(tmp_path / "forty" / f"{seed}.png", seed)
    session = start(folder=tmp_path / "forty", wait=False)
    assert session.next() is None
    assert not session.finished
    session.library._encode_some(session.library.files[:31])
    assert session.next() is None
    session.library._encode_some(session.library.files[31:32])
    assert session.next() is not None
    assert session.progress().encoded == 32


def test_what_stops_the_encoding_is_said(start, folder, monkeypatch):
    session = start(wait=False)

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(session.library._encoder, "forward", fail)
    session.library.start()
    with pytest.raises(RuntimeError, match="out of memory"):
        session.library.wait()


def test_a_token_model_is_refused(start, tiny_token_model):
    session = start()
    with pytest.raises(ProfileError, match="token model"):
        RatingSession(session.library, session.answers, tiny_token_model, 15)


def test_pictures_come_in_an_order_of_their_own_that_stays(start, folder):
    first, second = start(wait=False), start(wait=False)
    assert first.library.files == second.library.files != find_images([folder])
    assert os.path.samefile(first.library.folder, folder)
