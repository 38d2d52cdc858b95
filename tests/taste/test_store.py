"""The store of many tastes: what is put in comes out, the best are the best, and what is damaged is refused."""

import dataclasses

import pytest
import torch

from modeling_pamela import TasteProfile
from modeling_pamela.taste.profile import ProfileError
from modeling_pamela.taste.store import TasteStore


pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ["sea", "hügel", "town", "4", "cat"]


@pytest.fixture
def features(tiny_model, tiny_pictures):
    with torch.no_grad():
        return tiny_model(**tiny_pictures).taste_features


@pytest.fixture
def people(tiny_model, tiny_pictures):
    """Somebody who rated, somebody known by demographics who rated and compared, and somebody of whom nothing is known."""
    torch.nn.init.normal_(tiny_model.taste.demographics.weight)
    rated = {name: rows[:3] for name, rows in tiny_pictures.items()}
    others = [{name: rows[[row, row]] for name, rows in tiny_pictures.items()} for row in (3, 4)]
    ann = TasteProfile.fit(tiny_model, torch.tensor([1.0, 5.0, 3.0]), scale=(1, 5), image_ids=NAMES[:3], **rated)
    known = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    bob = TasteProfile.fit(
        tiny_model, torch.tensor([0.2, 0.9, 0.9]), image_ids=NAMES[:3], demographics_embeds=known, **rated
    )
    bob = bob.update_pairs(
        tiny_model, *others, torch.tensor([False, True]), winner_ids=["4", "4"], loser_ids=["cat", "cat"]
    )
    return {"ann": ann, "bob/é": bob, "new": TasteProfile.prior(tiny_model)}


@pytest.fixture
def store(people, tmp_path):
    return TasteStore.create(tmp_path / "people.safetensors", people.items())


def test_everybody_comes_out_as_they_went_in(store, people, features, tiny_model, tiny_pictures):
    assert len(store) == 3
    assert [store.user_id(row) for row in range(3)] == list(people)
    known = dict(zip(NAMES, features[:5], strict=True))
    for user_id, profile in people.items():
        again = store.get(user_id, known)
        assert set(store.evidence_ids(user_id)) == set(profile.evidence.image_ids)
        ours, theirs = (each.score(tiny_model, **tiny_pictures) for each in (again, profile))
        torch.testing.assert_close(ours.mean, theirs.mean, atol=1e-6, rtol=0)
        torch.testing.assert_close(ours.std, theirs.std, atol=1e-6, rtol=0)
        assert again.scale == profile.scale
        assert again.noise_variance == profile.noise_variance
        assert again.num_ratings == profile.num_ratings
        assert again.num_comparisons == profile.num_comparisons
        if profile.demographics_embeds is not None:
            torch.testing.assert_close(again.demographics_embeds, profile.demographics_embeds)


def test_a_profile_from_the_store_learns_on(store, people, features, tiny_model, tiny_pictures):
    one = {name: rows[5:6] for name, rows in tiny_pictures.items()}
    again = store.get("bob/é", dict(zip(NAMES, features[:5], strict=True))).update(
        tiny_model, torch.tensor([0.1]), **one
    )
    expected = people["bob/é"].update(tiny_model, torch.tensor([0.1]), **one)
    torch.testing.assert_close(again.posterior.mean, expected.posterior.mean, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """5,000 people with means drawn at random."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(5000, 8, generator=generator)
    from modeling_pamela.gaussian_taste import TastePosterior
    from modeling_pamela.taste.comparisons import GaussianSites
    from modeling_pamela.taste.evidence import TasteEvidence

    none = torch.zeros(0, dtype=torch.float64)
    prior = torch.zeros(8, dtype=torch.float64)
    profiles = (
        (
            f"u{row}",
            TasteProfile(
                TastePosterior(mean.double(), torch.zeros(0, 8).double()), prior, 0.1, TasteEvidence.empty(8),
                GaussianSites(none, none), (0.0, 1.0), "crowd", None,
            ),
        )
        for row, mean in enumerate(means)
    )  # fmt: skip
    return TasteStore.create(tmp_path_factory.mktemp("crowd") / "store.safetensors", profiles), means.half().float()


@pytest.mark.parametrize("max_bytes", [100, 10_000, 2**26])
def test_the_top_is_that_of_all_scores_whatever_the_memory(crowd, max_bytes):
    store, means = crowd
    pictures = torch.randn(700, 8, generator=torch.Generator().manual_seed(1))
    scores = means @ pictures.T
    found = store.top_people(pictures[0], 20, max_bytes)
    best = scores[:, 0].topk(20)
    torch.testing.assert_close(found.scores, best.values)
    assert found.user_ids == [f"u{row}" for row in best.indices.tolist()]
    liked = store.top_pictures("u4321", pictures, 20, max_bytes)
    best = scores[4321].topk(20)
    torch.testing.assert_close(liked.scores, best.values)
    assert liked.rows.tolist() == best.indices.tolist()
    together = torch.cat([block.clone() for _, block in store.scores(pictures[:3], max_bytes)])
    torch.testing.assert_close(together, scores[:, :3])


def test_fewer_than_asked_are_all(store, features):
    assert len(store.top_people(features[0], 20).user_ids) == 3
    assert len(store.top_pictures("ann", features, 20).rows) == len(features)


def test_of_another_model(store, people, tiny_model, tiny_kernel_model, tmp_path):
    assert len(TasteStore(store.path, tiny_model)) == 3
    with pytest.raises(ProfileError, match="belongs to the model"):
        TasteStore(store.path, tiny_kernel_model)
    other = dataclasses.replace(people["ann"], model_fingerprint="another")
    path = tmp_path / "mixed.safetensors"
    with pytest.raises(ProfileError, match="belongs to the model another"):
        TasteStore.create(path, [*people.items(), ("eve", other)])
    assert not path.exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_cut_off(store, kept):
    content = store.path.read_bytes()
    del store._tensors, store.means
    store.path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ProfileError, match="no readable taste store"):
        TasteStore(store.path)


def test_no_store_there(tmp_path):
    with pytest.raises(ProfileError, match="no readable taste store"):
        TasteStore(tmp_path / "nothing")


def test_wrong_input(store, people, features, tmp_path):
    with pytest.raises(ProfileError, match="two profiles of 'ann'"):
        TasteStore.create(tmp_path / "x", [("ann", people["ann"]), ("ann", people["ann"])])
    with pytest.raises(ProfileError, match="no profiles"):
        TasteStore.create(tmp_path / "x", [])
    with pytest.raises(ProfileError, match="Nobody is stored as 'eve'"):
        store.top_pictures("eve", features, 2)
    with pytest.raises(ProfileError, match="features of 2 of the 3 pictures"):
        store.get("ann", {"sea": features[0]})
    with pytest.raises(ProfileError, match="expected \\(pictures"):
        store.top_people(features[0, :-1], 2)
    with pytest.raises(ProfileError, match="at least 1"):
        store.top_people(features[0], 0)
    with pytest.raises(ProfileError, match="max_bytes"):
        store.top_people(features[0], 1, max_bytes=10)


def test_a_changed_number_is_found(store, tmp_path):
    store.verify()
    path = tmp_path / "changed"
    content = bytearray(store.path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ProfileError, match="was changed since"):
        TasteStore(path).verify()


def test_people_of_two_data_sets_are_not_mixed(people, tmp_path):
    (name, profile), *_ = people.items() if isinstance(people, dict) else people
    other = dataclasses.replace(profile, data_set="other")
    with pytest.raises(ProfileError, match="is of the data set 'other'"):
        TasteStore.create(tmp_path / "mixed", [(name, profile), ("b", other)])
