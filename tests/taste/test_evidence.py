import pytest
import torch

from modeling_pamela.taste.evidence import TasteEvidence, picture_id


@pytest.fixture
def evidence():
    """Pictures a, b, a again, c; a and b rated, both looks of a too; b preferred to c."""
    features = torch.arange(8.0).reshape(4, 2)
    added, rows = TasteEvidence.empty(2).add_pictures(features, {"image_embeds": features * 2}, ["a", "b", "a", "c"])
    rated = added.add_ratings(rows[:3], torch.tensor([0.1, 0.5, 0.9]))
    return rated.add_comparisons(torch.tensor([[1, 3]]), torch.tensor([False]))


def test_repeated_ratings_are_both_kept(evidence):
    assert evidence.rating_ids == ["a", "b", "a"]
    assert evidence.comparison_ids == [("b", "c")]
    assert evidence.comparison_features.tolist() == [[-4.0, -4.0]]


def test_forgetting_takes_ratings_comparisons_and_pictures(evidence):
    without_a = evidence.without("a")
    assert without_a.rating_ids == ["b"]
    assert without_a.image_ids == ("b", "c")
    assert without_a.comparison_ids == [("b", "c")]
    assert without_a.rating_features.tolist() == [[2.0, 3.0]]
    # Nothing else was said of c, so with b it goes too.
    without_b = evidence.without("b")
    assert without_b.image_ids == ("a", "a")
    assert without_b.comparison_ids == []
    with pytest.raises(KeyError):
        evidence.without("z")


def test_inputs_known_of_some_pictures_are_unknown_of_the_others(evidence):
    more, rows = evidence.add_pictures(torch.zeros(1, 2), {"text_embeds": torch.ones(1, 3)}, ["d"])
    assert rows.tolist() == [4]
    assert more.embeds["text_embeds"].tolist() == [[0.0] * 3] * 4 + [[1.0] * 3]
    assert more.embeds["image_embeds"][4].tolist() == [0.0, 0.0]


def test_pictures_without_a_name_get_that_of_their_embedding():
    embeds = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    named, _ = TasteEvidence.empty(2).add_pictures(embeds, {"image_embeds": embeds}, None)
    assert named.image_ids == tuple(picture_id(row) for row in embeds)
    assert len(set(named.image_ids)) == 2


def test_parts_that_do_not_fit_are_refused(evidence):
    tensors = evidence.to_tensors()
    assert TasteEvidence.from_tensors(tensors, evidence.image_ids).rating_ids == evidence.rating_ids
    for change in ({"rated": torch.tensor([0, 1, 9])}, {"ratings": torch.zeros(2)}, {"features": torch.zeros(3, 2)}):
        with pytest.raises(ValueError, match="do not fit"):
            TasteEvidence.from_tensors({**tensors, **change}, evidence.image_ids)
