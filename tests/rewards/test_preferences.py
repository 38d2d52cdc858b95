import io

import numpy as np
import pytest
import torch
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from tiny_encoders import make_tokenizer
from typer.testing import CliRunner

from modeling_pamela.cli import app
from modeling_pamela.data.files import DataError
from modeling_pamela.rewards.preferences import PreferenceOptions, draw_pairs, write_preferences


@given(
    hnp.arrays(float, st.integers(0, 12), elements=st.floats(0, 1, width=16)),
    st.floats(0.01, 1),
    st.integers(1, 20),
    st.booleans(),
)
@settings(max_examples=60)
def test_pairs_are_those_that_the_ratings_prefer(ratings, margin, max_pairs, grouped):
    groups = np.arange(len(ratings)) % 2 if grouped else None
    pairs = draw_pairs(ratings, groups, margin, max_pairs, np.random.default_rng(0))
    possible = {
        (a, b)
        for a in range(len(ratings))
        for b in range(len(ratings))
        if ratings[a] - ratings[b] >= margin - 1e-9 and (groups is None or groups[a] == groups[b])
    }
    drawn = list(map(tuple, pairs.tolist()))
    assert len(drawn) == len(set(drawn)) == min(len(possible), max_pairs)
    assert set(drawn) <= possible


@pytest.fixture(scope="module")
def written(taste_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("preferences") / "pairs"
    return out, write_preferences(taste_folder.path, out, PreferenceOptions(margin=0.2, max_pairs=20))


def test_load_dataset_reads_them(taste_folder, written):
    out, summary = written
    pairs = load_dataset(str(out))
    assert {split: len(rows) for split, rows in pairs.items()} == summary.rows
    rated = {
        (split, taste_folder.user_ids[user], taste_folder.image_ids[image]): rating
        for split in taste_folder.splits
        for ratings in [taste_folder.ratings(split)]
        for user, image, rating in zip(ratings.user, ratings.image, ratings.rating, strict=True)
    }
    content = {taste_folder.image_ids[row]: value for row, value in taste_folder.iter_image_bytes()}
    low, high = taste_folder.rating_scale
    for split, rows in pairs.items():
        for row in list(rows)[:40]:
            # In this split, by this person: no other split is mixed in.
            assert row["chosen_rating"] == rated[split, row["user_id"], row["chosen_id"]]
            assert row["rejected_rating"] == rated[split, row["user_id"], row["rejected_id"]]
            assert row["margin"] == pytest.approx((row["chosen_rating"] - row["rejected_rating"]) / (high - low))
            assert row["margin"] >= 0.2 - 1e-9
            assert row["prompt"] is None
            for side in ("chosen", "rejected"):
                assert row[side] == Image.open(io.BytesIO(content[row[f"{side}_id"]]))
                assert row[f"{side}_prompt"] == taste_folder.prompts[taste_folder.image_ids.index(row[f"{side}_id"])]
        assert max(np.unique(rows["user_id"], return_counts=True)[1]) <= 20


def test_a_picture_is_stored_once(taste_folder, written):
    out, summary = written
    pictures = sum(len(content) for _, content in taste_folder.iter_image_bytes())
    file = out / "data" / "train.parquet"
    assert summary.rows["train"] > 150
    # Two columns, whose row group has each picture once; names and ratings come on top.
    assert file.stat().st_size < 2 * pictures + 100 * summary.rows["train"]


def test_the_same_seed_gives_the_same_pairs(taste_folder, written, tmp_path):
    out, _ = written
    for seed, same in ((0, True), (1, False)):
        again = tmp_path / str(seed)
        write_preferences(taste_folder.path, again, PreferenceOptions(margin=0.2, max_pairs=20, seed=seed))
        files = [folder / "data" / "val_unseen.parquet" for folder in (out, again)]
        assert (files[0].read_bytes() == files[1].read_bytes()) == same


def test_pairs_of_different_groups_are_drawn_from_all_there_are():
    ratings, groups = np.array([1.0, 0.0, 0.0, 0.0]), np.array([0, 0, 0, 1])
    for seed in range(5):
        pairs = draw_pairs(ratings, groups, 0.5, 1, np.random.default_rng(seed), same=False)
        assert pairs.tolist() == [[0, 3]]


def test_texts_for_a_language_model(taste_folder, tmp_path):
    """What TRL's DPO takes: chats, which the model's own template puts into words."""
    write_preferences(
        taste_folder.path, tmp_path / "texts", PreferenceOptions(texts=True, instruction="Go."), ["train"]
    )
    pairs = load_dataset(str(tmp_path / "texts"))
    assert list(pairs) == ["train"]
    row = pairs["train"][0]
    assert row["prompt"] == [{"role": "user", "content": "Go."}]
    for side in ("chosen", "rejected"):
        assert row[side] == [{"role": "assistant", "content": row[f"{side}_prompt"]}]


def test_dpo_takes_the_texts(taste_folder, tmp_path):
    """Two steps of a tiny random Llama."""
    trl = pytest.importorskip("trl")
    from transformers import LlamaConfig, LlamaForCausalLM

    write_preferences(taste_folder.path, tmp_path / "texts", PreferenceOptions(texts=True, max_pairs=2), ["train"])
    torch.manual_seed(0)
    tokenizer = make_tokenizer(pad_token="<pad>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }} {{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}assistant {% endif %}"
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes))
    model.save_pretrained(tmp_path / "policy")  # from where the trainer takes its reference
    trainer = trl.DPOTrainer(
        LlamaForCausalLM.from_pretrained(tmp_path / "policy"),
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "dpo"),
            max_steps=2,
            per_device_train_batch_size=2,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            logging_steps=1,
        ),
        processing_class=tokenizer,
        train_dataset=load_dataset(str(tmp_path / "texts"), split="train"),
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "rewards/margins" in entry]
    assert len(logged) == 2
    assert all(np.isfinite(entry["loss"]) for entry in logged)


def test_pictures_of_one_prompt(tmp_path):
    import csv

    from modeling_pamela.data.importers.tidy import import_tidy

    source = tmp_path / "source"
    source.mkdir()
    tables = {
        "images": [{"image_id": f"p{i}", "file": f"p{i}.png", "prompt": "ab"[i % 2]} for i in range(6)],
        "users": [{"user_id": "ann"}],
        "ratings": [{"user_id": "ann", "image_id": f"p{i}", "rating": 1 + i % 5} for i in range(6)],
    }
    for picture in tables["images"]:
        number = int(picture["image_id"][1:])
        Image.new("RGB", (16, 16), (40 * number, 0, 0)).save(source / picture["file"])
    for name, rows in tables.items():
        with open(source / f"{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    import_tidy(source, tmp_path / "data", (1, 5))
    write_preferences(tmp_path / "data", tmp_path / "out", PreferenceOptions(same_prompt=True))
    rows = list(load_dataset(str(tmp_path / "out"), split="train"))
    expected = {("p2", "p0"), ("p4", "p2"), ("p4", "p0"), ("p3", "p1"), ("p3", "p5"), ("p1", "p5")}
    assert {(row["chosen_id"], row["rejected_id"]) for row in rows} == expected
    assert all(row["prompt"] == row["chosen_prompt"] == row["rejected_prompt"] for row in rows)


def test_the_command(taste_folder, tmp_path):
    run = CliRunner().invoke(
        app, ["data", "preferences", str(taste_folder.path), str(tmp_path / "out"), "--split", "test_unseen"]
    )
    assert run.exit_code == 0, run.output
    assert "test_unseen" in run.output
    assert "pairs of 5 people" in run.output


def test_bad_options(taste_folder, tmp_path):
    with pytest.raises(DataError, match="The margin is 0"):
        PreferenceOptions(margin=0)
    with pytest.raises(DataError, match="either texts or pictures"):
        PreferenceOptions(texts=True, same_prompt=True)
    with pytest.raises(DataError, match=r"No two ratings .* for pictures of one prompt"):
        write_preferences(taste_folder.path, tmp_path / "out", PreferenceOptions(same_prompt=True))
    with pytest.raises(DataError, match="no ratings split 'test'"):
        write_preferences(taste_folder.path, tmp_path / "out", splits=["test"])
    assert not (tmp_path / "out").exists()


def test_what_stands_in_the_way(taste_folder, written, tmp_path):
    out, summary = written
    with pytest.raises(DataError, match="pass --overwrite to replace these preferences"):
        write_preferences(taste_folder.path, out)
    options = PreferenceOptions(margin=0.2, max_pairs=20)
    assert write_preferences(taste_folder.path, out, options, overwrite=True) == summary
    (tmp_path / "diary.txt").touch()
    with pytest.raises(DataError, match=r"Choose another folder\.$"):
        write_preferences(taste_folder.path, tmp_path, overwrite=True)
