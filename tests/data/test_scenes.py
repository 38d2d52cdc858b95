import csv
import io

import numpy as np
import pytest
from scipy.stats import spearmanr

from modeling_pamela.data.files import DataError
from modeling_pamela.data.importers.tidy import import_tidy
from modeling_pamela.data.scenes import (
    ATTRIBUTES,
    RATING_SCALE,
    Scene,
    sample_raters,
    sample_scenes,
    write_scene_dataset,
)


SIZE = (128, 96)
PLAIN = {
    "subject": "lighthouse",
    "light": "noon",
    "palette": "natural",
    "viewpoint": "eye level",
    "composition": "centred",
    "style": "photograph",
}


def pixels(scene: Scene, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.asarray(scene.render(size), float)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_scene_dataset(tmp_path_factory.mktemp("scenes") / "source", 12, 6, 5, seed=3, size=(64, 48))


@pytest.mark.parametrize("subject", ATTRIBUTES["subject"])
def test_every_subject_paints_with_every_other_value(subject):
    for turn in range(max(map(len, ATTRIBUTES.values()))):
        others = {name: list(values)[turn % len(values)] for name, values in ATTRIBUTES.items()}
        picture = Scene(**{**others, "subject": subject}, seed=turn).render((64, 48))
        assert (picture.size, picture.mode) == ((64, 48), "RGB")
        assert np.asarray(picture).std() > 5


def test_rendering_is_deterministic_and_depends_on_the_seed():
    for scene in sample_scenes(8, seed=1):
        assert scene.render(SIZE).tobytes() == scene.render(SIZE).tobytes()
    one, two = (Scene(**PLAIN, seed=seed) for seed in (1, 2))
    assert np.abs(pixels(one) - pixels(two)).mean() > 5


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_value_of_an_attribute_is_visible(attribute):
    """Over several seeds, two values differ far more than in noise: in the picture scaled down to 16 x 12."""
    seeds = range(3)
    means = {
        value: np.stack(
            [
                np.asarray(Scene(**{**PLAIN, attribute: value}, seed=seed).render((64, 48)).resize((16, 12)), float)
                for seed in seeds
            ]
        )
        for value in ATTRIBUTES[attribute]
    }
    names = list(means)
    for i, one in enumerate(names):
        for two in names[i + 1 :]:
            # Styles may agree in their colours: they differ in texture, for which there is a test of its own.
            least = 3 if attribute == "style" else 6
            assert np.abs(means[one] - means[two]).mean() > least, (one, two)


def test_lights_and_palettes_differ_in_mean_colour():
    for attribute in ("light", "palette"):
        colours = [
            np.mean([pixels(Scene(**{**PLAIN, attribute: value}, seed=s)).mean((0, 1)) for s in range(3)], 0)
            for value in ATTRIBUTES[attribute]
        ]
        for i, one in enumerate(colours):
            for two in colours[i + 1 :]:
                assert np.abs(one - two).max() > 8
    grey = pixels(Scene(**{**PLAIN, "palette": "monochrome"}, seed=0))
    assert np.ptp(grey, axis=2).max() < 10


def test_styles_differ_in_texture():
    def texture(style):
        picture = np.mean([pixels(Scene(**{**PLAIN, "style": style}, seed=s), (256, 192)) for s in range(3)], 3)
        flat = np.mean(np.abs(np.diff(picture, axis=2)) < 0.4)  # share of neighbours that are alike
        return flat, np.abs(np.diff(picture, axis=2)).mean(), picture[:, :4].mean()

    textures = np.array([texture(style) for style in ATTRIBUTES["style"]])
    textures = (textures - textures.mean(0)) / textures.std(0)
    distances = np.linalg.norm(textures[:, None] - textures[None], axis=2) + 9 * np.eye(len(textures))
    assert distances.min() > 0.25


def test_layout_does_not_depend_on_the_size_or_the_light():
    scene = Scene(**{**PLAIN, "subject": "city"}, seed=4)
    small, large = (np.asarray(scene.render(size).resize((64, 48)), float) for size in ((128, 96), (512, 384)))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.9
    wide = scene.render((200, 50))
    tall = scene.render((40, 160))
    assert (wide.size, tall.size) == ((200, 50), (40, 160))


def test_prompts_round_trip_every_attribute():
    for scene in sample_scenes(300, seed=2):
        assert Scene.from_prompt(scene.caption, scene.seed) == scene


def test_prompts_are_read_as_people_write_them():
    scene = Scene.from_prompt("Aerial PHOTO of sailboats in the mist, black-and-white; negative space", seed=0)
    assert scene == Scene("sailing boat", "fog", "monochrome", "from above", "minimalist", "photograph", 0)
    assert Scene.from_prompt("a house in the woods at sunset", 0).subject == "cottage"
    assert Scene.from_prompt("seashell and discotheque", 1) == Scene.from_prompt("", 1)
    assert {Scene.from_prompt("", seed).style for seed in range(200)} == set(ATTRIBUTES["style"])
    prompt = "Leuchtturm 灯台 \x00 lighthouse"
    assert Scene.from_prompt(prompt, 3).subject == "lighthouse"


def test_bad_scenes_say_what_is_expected():
    with pytest.raises(ValueError, match="light is 'noonish'; expected one of noon, dusk"):
        Scene(**{**PLAIN, "light": "noonish"})
    with pytest.raises(ValueError, match="seed"):
        Scene(**PLAIN, seed=-1)
    with pytest.raises(ValueError, match="at least 16 x 16"):
        Scene(**PLAIN).render((8, 300))


def test_samples_are_uniform_and_extend_each_other():
    scenes = sample_scenes(600, seed=0)
    assert scenes[:10] == sample_scenes(10, seed=0)
    for attribute, values in ATTRIBUTES.items():
        counts = [sum(getattr(scene, attribute) == value for scene in scenes) for value in values]
        assert min(counts) > 0.6 * len(scenes) / len(values)
    assert [r.weights.tolist() for r in sample_raters(2, 5)] == [r.weights.tolist() for r in sample_raters(4, 5)[:2]]


def test_raters_share_a_taste_and_differ_in_few_ways():
    scenes = sample_scenes(300, seed=9)
    raters = sample_raters(60, seed=1)
    utilities = np.array([[rater.utility(scene) for scene in scenes] for rater in raters])
    agreement = np.corrcoef(utilities)[np.triu_indices(60, 1)]
    assert 0.25 < agreement.mean() < 0.6
    assert agreement.min() < 0  # some disagree outright
    differences = utilities - utilities.mean(0)
    differences = differences - differences.mean(1, keepdims=True)
    # One direction more than the traits: the strength of opinions. The rest is each person's own.
    variance = np.linalg.svd(differences, compute_uv=False) ** 2
    assert variance[:5].sum() / variance.sum() > 0.75


def test_ratings_are_on_the_scale_and_follow_the_utility():
    scenes = sample_scenes(300, seed=4)
    rater = sample_raters(1, seed=2)[0]
    utility = np.array([rater.utility(scene) for scene in scenes])
    ratings = rater.rate(scenes, np.random.default_rng(0))
    assert ratings.min() >= RATING_SCALE[0]
    assert ratings.max() <= RATING_SCALE[1]
    assert np.std(ratings - np.clip(utility, *RATING_SCALE)) == pytest.approx(rater.noise, rel=0.2)
    assert np.array_equal(ratings, rater.rate(scenes, np.random.default_rng(0)))
    assert rater.rate([], np.random.default_rng(0)).shape == (0,)


def test_opposite_raters_order_everything_the_other_way_round():
    scenes = sample_scenes(200, seed=6)
    for rater in sample_raters(3, seed=0):
        ours, theirs = ([who.utility(scene) for scene in scenes] for who in (rater, rater.opposite()))
        assert spearmanr(ours, theirs).statistic == pytest.approx(-1)
        rng = np.random.default_rng(0)
        assert spearmanr(rater.rate(scenes, rng), rater.opposite().rate(scenes, rng)).statistic < -0.5
        assert rater.opposite().user_id == rater.user_id + "-opposite"


def read(path):
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def test_written_source_says_that_it_is_simulated(source):
    users, images, ratings = (read(source / name) for name in ("users.csv", "images.csv", "ratings.csv"))
    assert (len(users), len(images), len(ratings)) == (6, 12, 30)
    assert all(row["simulated"] == "true" for table in (users, images, ratings) for row in table)
    assert all(user["user_id"].startswith("sim-") for user in users)
    card = (source / "README.md").read_text("utf-8")
    assert "simulated: true" in card
    assert "no person gave these ratings" in card
    for row in images:
        assert (source / row["file"]).exists()
        assert Scene.from_prompt(row["prompt"], int(row["seed"])).attributes == {
            name: row[name] for name in ATTRIBUTES
        }
    counts = np.unique([row["image_id"] for row in ratings], return_counts=True)[1]
    assert (len(counts), counts.min(), counts.max()) == (12, 2, 3)


def test_written_source_is_deterministic(source, tmp_path):
    again = write_scene_dataset(tmp_path / "again", 12, 6, 5, seed=3, size=(64, 48))
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    assert len(files) == 16
    assert all((source / name).read_bytes() == (again / name).read_bytes() for name in files)


def test_written_source_can_be_imported(source, tmp_path):
    summary = import_tidy(source, tmp_path / "data", RATING_SCALE)
    assert (summary.users, summary.pictures, summary.ratings, summary.rejected) == (6, 12, 30, [])
    assert "simulated: true" in (tmp_path / "data" / "README.md").read_text("utf-8")


def test_source_refuses_to_overwrite_or_to_repeat_pictures(source, tmp_path):
    with pytest.raises(DataError, match="not an empty folder"):
        write_scene_dataset(source, 2, 2, 1, seed=0)
    with pytest.raises(DataError, match="expected 1 to 2"):
        write_scene_dataset(tmp_path / "new", 2, 2, 3, seed=0)
    assert not (tmp_path / "new").exists()
