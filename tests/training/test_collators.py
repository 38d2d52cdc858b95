"""Batches: every picture and every person once, and each rating where it belongs."""

import numpy as np
import pytest
import torch

from modeling_pamela.data.embed import FolderEmbeddings
from modeling_pamela.data.folder import Ratings
from modeling_pamela.training.collators import PamelaCollator, RatingDataset, UserDataset


# Person 3 has no training rating, and neither has picture 2.
USERS = np.array([5, 1, 5, 4, 1, 5])
IMAGES = np.array([0, 3, 1, 0, 0, 4])
VALUES = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.fixture
def ratings():
    return Ratings(np.arange(100, 106), USERS, IMAGES, 1 + 4 * VALUES, VALUES)


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    return FolderEmbeddings(
        image=torch.randn(5, 12, generator=generator),
        text=torch.randn(5, 6, generator=generator),
        metadata=torch.randn(5, 5, generator=generator),
        demographics=torch.randn(6, 5, generator=generator),
    )


def test_a_person_is_all_of_their_ratings(ratings):
    people = UserDataset(ratings)
    assert len(people) == 3
    assert [people[index].tolist() for index in range(3)] == [[1, 4], [3], [0, 2, 5]]


def test_a_rating_is_one_row(ratings):
    rows = RatingDataset(ratings)
    assert [rows[index].tolist() for index in range(len(rows))] == [[0], [1], [2], [3], [4], [5]]


@pytest.mark.parametrize("dataset", [UserDataset, RatingDataset])
def test_every_rating_is_about_its_own_picture_and_person(ratings, embeddings, dataset):
    items = [dataset(ratings)[index] for index in (2, 0)]
    rows = np.concatenate(items)
    batch = PamelaCollator(ratings, embeddings, with_user_ids=True)(items)
    assert len(batch["image_embeds"]) == len(batch["text_embeds"]) == len(np.unique(IMAGES[rows]))
    assert len(batch["demographics_embeds"]) == len(batch["user_ids"]) == len(np.unique(USERS[rows]))
    for name in ("image", "text", "metadata"):
        found = batch[f"{name}_embeds"][batch["picture_index"]]
        assert torch.equal(found, getattr(embeddings, name)[IMAGES[rows]])
    assert torch.equal(batch["demographics_embeds"][batch["user_index"]], embeddings.demographics[USERS[rows]])
    assert batch["labels"].dtype == torch.float32
    assert batch["labels"].tolist() == pytest.approx(VALUES[rows].tolist())


def test_rows_of_the_user_table_are_ranks_among_training_people(ratings, embeddings):
    collate = PamelaCollator(ratings, embeddings, with_user_ids=True)
    assert collate([np.array([0]), np.array([3])])["user_ids"].tolist() == [1, 2]
    assert collate([np.array([1])])["user_ids"].tolist() == [0]
    assert "user_ids" not in PamelaCollator(ratings, embeddings, with_user_ids=False)([np.array([0])])


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_token_model"])
def test_a_batch_is_what_the_models_take(ratings, embeddings, fixture, request):
    model = request.getfixturevalue(fixture)
    people = UserDataset(ratings)
    batch = PamelaCollator(ratings, embeddings, with_user_ids=fixture == "tiny_token_model")(
        [people[index] for index in range(3)]
    )
    output = model(**batch)
    assert output.scores.shape == (6,)
    assert output.loss.isfinite()
    # Whether people come together or alone makes no difference to their scores.
    alone = PamelaCollator(ratings, embeddings, with_user_ids=fixture == "tiny_token_model")([people[1]])
    torch.testing.assert_close(model(**alone).scores, output.scores[2:3])
