"""Small trained models that several tests of evaluation share."""

import pytest

from modeling_pamela.data.embed import read_embeddings
from modeling_pamela.training.closed_form import fit_closed_form
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import make_model


TINY = {"image_projection_dim": 6, "text_projection_dim": 4, "profile_projection_dim": 3}


@pytest.fixture(scope="session")
def posterior(taste_folder):
    config = RECIPES["posterior"].config(**TINY, num_learned_directions=16, num_free_image_directions=8)
    embeddings, ratings = read_embeddings(taste_folder, config), taste_folder.ratings("train")
    model = make_model(config, ratings, embeddings, seed=0)
    fit_closed_form(model, ratings, embeddings)
    return model.eval()


@pytest.fixture(scope="session")
def token(taste_folder):
    """Not trained: who wins is none of this file's business."""
    config = RECIPES["token"].config(**TINY, hidden_size=8, intermediate_size=8, num_attention_heads=2)
    embeddings = read_embeddings(taste_folder, config)
    return make_model(config, taste_folder.ratings("train"), embeddings, seed=0).eval()
