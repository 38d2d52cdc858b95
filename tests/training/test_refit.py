import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from modeling_pamela import PamelaForPersonalizedScoring
from modeling_pamela.cli import app
from modeling_pamela.data.embed import read_embeddings
from modeling_pamela.data.files import DataError
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.refit import refit
from modeling_pamela.training.trainer import make_model, train


pytestmark = pytest.mark.usefixtures("one_thread")
FIELDS = {"num_learned_directions": 4, "num_free_image_directions": 4, "num_free_text_directions": 2}


@pytest.fixture(scope="module")
def judged(taste_folder, tmp_path_factory):
    """A model trained on the training people of the folder, and its checkpoint."""
    directory = tmp_path_factory.mktemp("refit") / "judged"
    config = RECIPES["posterior"].config(rating_scale=list(taste_folder.rating_scale), **FIELDS)
    return train(taste_folder, config, directory, device="cpu", **RECIPES["posterior"].training()), directory


def test_it_knows_every_picture_and_keeps_the_recipe(judged, taste_folder, tmp_path):
    model, directory = judged
    run = CliRunner().invoke(
        app, ["train", str(taste_folder.path), "--refit", str(directory), "--output-dir", str(tmp_path / "all")]
    )
    assert run.exit_code == 0, run.output
    found = PamelaForPersonalizedScoring.from_pretrained(tmp_path / "all").eval()
    every = taste_folder.ratings(*taste_folder.splits)
    assert found.config.num_landmarks == len(np.unique(every.image)) > model.config.num_landmarks
    assert {name: getattr(found.config, name) for name in FIELDS} == FIELDS
    assert torch.equal(found.posterior_taste.noise_model, model.posterior_taste.noise_model)
    # No picture is as new to it as some were.
    images = read_embeddings(taste_folder, found.config).image[np.unique(every.image)]
    assert found(image_embeds=images).novelty.max() < model.eval()(image_embeds=images).novelty.max() / 2


def test_an_unsplit_folder_gives_the_same(judged, taste_folder, tmp_path):
    unsplit = DataFolder(taste_folder.path.parent / "data")
    a = refit(taste_folder, [judged[0]], tmp_path / "a")
    b = refit(unsplit, [judged[0], judged[0]], tmp_path / "b")
    assert b.config.training_split == unsplit.split_fingerprint()
    rows = read_embeddings(unsplit, b.config).image[:5]
    # Ratings come in another order, which is another order of the people in random batches.
    torch.testing.assert_close(
        a.eval()(image_embeds=rows).scores, b.eval()(image_embeds=rows).scores, atol=2e-2, rtol=0
    )


def test_what_cannot_be_refitted(judged, taste_folder, tmp_path, tiny_model):
    with pytest.raises(DataError, match="Expected one posterior model"):
        refit(taste_folder, [], tmp_path / "out")
    with pytest.raises(DataError, match="Expected one posterior model"):
        refit(taste_folder, [tiny_model], tmp_path / "out")
    config = RECIPES["posterior"].config(
        **{**FIELDS, "num_learned_directions": 5}, rating_scale=judged[0].config.rating_scale
    )
    other = make_model(config, taste_folder.ratings("train"), read_embeddings(taste_folder, config), 0)
    with pytest.raises(DataError, match="differ in their settings"):
        refit(taste_folder, [judged[0], other], tmp_path / "out")
    assert not (tmp_path / "out").exists()
