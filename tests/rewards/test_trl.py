import warnings

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from scipy.stats import spearmanr
from tiny_encoders import make_tokenizer
from tiny_steering import WordContent
from transformers import AutoModel

from modeling_pamela.rewards.base import RewardError, RewardScores
from modeling_pamela.rewards.personal import PersonalReward
from modeling_pamela.rewards.trl import PamelaReward


class Swatches:
    """A renderer of plain colours: the more often a prompt says "red", the redder. It counts what it renders, and can fail."""

    def __init__(self):
        self.rendered = []

    def render(self, prompts, seeds):
        for prompt in prompts:
            if "broken" in prompt:
                raise RuntimeError("out of paint")
        self.rendered += prompts
        return [
            None if "withheld" in prompt else self.paint(prompt, seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]

    @staticmethod
    def paint(prompt, seed):
        if "forbidden" in prompt:
            return Image.new("RGB", (40, 32))
        if "nan" in prompt:
            return Image.fromarray(np.full((32, 40), np.nan, np.float32))
        red = min(20 * prompt.count("red"), 220)
        return Image.new("RGB", (40, 32), (red, 40 + seed, 255 - red))


@pytest.fixture
def renderer():
    return Swatches()


@pytest.fixture
def rate(reward, renderer):
    """The reward function without the content guard, whose measure is tested by itself."""
    return PamelaReward(reward, renderer, min_content=None, scored_prompt="none")


WORDS = [" ".join(["red"] * number) + " lake" for number in range(1, 12, 2)]


def test_opposite_tastes_in_one_batch_get_opposite_orders(rate):
    rewards = rate(["a lake"] * 12, WORDS * 2, user_id=["ann"] * 6 + ["bob"] * 6)
    assert spearmanr(rewards[:6], range(6)).statistic > 0.9
    assert spearmanr(rewards[6:], range(6)).statistic < -0.9


def test_values_are_the_rewards_own(rate, reward, renderer):
    expected = reward(renderer.render(WORDS, [0] * 6), None, "ann").mean
    assert rate(["a lake"] * 6, WORDS, user_id=["ann"] * 6) == pytest.approx(expected.tolist())
    assert rate(["a lake"] * 6, WORDS) == pytest.approx(reward(renderer.render(WORDS, [0] * 6)).mean.tolist())


def test_the_mean_over_seeds(reward, renderer):
    each = [PamelaReward(reward, renderer, min_content=None, seeds=[seed]) for seed in (0, 200)]
    both = PamelaReward(reward, renderer, min_content=None, seeds=[0, 200])
    singles = [rate(["a"], ["red lake"], user_id=["ann"])[0] for rate in each]
    assert singles[0] != singles[1]
    assert both(["a"], ["red lake"], user_id=["ann"])[0] == pytest.approx(sum(singles) / 2)


def test_a_person_of_its_own(reward, renderer, profiles):
    named = PamelaReward(reward, renderer, min_content=None, person_column="who")
    fixed = PamelaReward(reward, renderer, min_content=None, person=profiles["ann"])
    assert named(["a"], ["red lake"], who=["ann"]) == fixed(["a"], ["red lake"])
    assert fixed(["a"], ["red lake"], user_id=[None]) == fixed(["a"], ["red lake"])


def test_a_model_is_wrapped(model, profiles, renderer, rate):
    of_model = PamelaReward(model, renderer, person=profiles["ann"], min_content=None, scored_prompt="none")
    assert of_model(["a"], ["red lake"]) == rate(["a"], ["red lake"], user_id=["ann"])


def test_chats(rate):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a lake"}]
    answer = [{"role": "assistant", "content": [{"type": "text", "text": " red lake "}]}]
    assert rate([chat], [answer]) == rate(["a lake"], ["red lake"])
    with_tool = [{"role": "tool", "content": "red red red"}, *answer]
    assert rate([chat], [with_tool]) == rate(["a lake"], ["red lake"])


def test_what_was_asked_for_beside_a_picture(reward, renderer, pictures):
    """Prompts of vision-language policies have pictures in them."""
    asked = [{"type": "image", "image": pictures[0]}, {"type": "text", "text": "a lake"}]
    rate = PamelaReward(reward, renderer, content=WordContent())
    chat = [{"role": "user", "content": asked}]
    assert rate([chat] * 2, ["red lake", "import os"]) == rate(["a lake"] * 2, ["red lake", "import os"])


def test_completions_that_are_pictures(reward, pictures):
    rate = PamelaReward(reward)
    answer = [{"role": "assistant", "content": [{"type": "image", "image": pictures[3]}]}]
    black, strange = Image.new("RGB", (8, 8)), Image.fromarray(np.full((8, 8), np.nan, np.float32))
    found = rate(["a lake"] * 4, [pictures[3], answer, black, strange], user_id=["ann"] * 4)
    assert found[0] == found[1] == pytest.approx(reward([pictures[3]], ["a lake"], "ann").mean.item())
    assert found[2:] == [None, None]
    with pytest.raises(RewardError, match="no renderer"):
        rate(["a lake"], ["a red lake"])


def test_every_picture_is_rendered_once_and_some_are_kept(reward, renderer):
    rate = PamelaReward(reward, renderer, min_content=None, cache_size=2)
    first = rate(["a"] * 4, ["one", "two", "one", "one"])
    assert renderer.rendered == ["one", "two"]
    assert rate(["a"] * 2, ["two", "one"]) == [first[1], first[0]]
    assert renderer.rendered == ["one", "two"]
    rate(["a"], ["three"])
    rate(["a"] * 2, ["one", "two"])
    assert renderer.rendered == ["one", "two", "three", "two"]


def test_generous_and_harsh_people_weigh_the_same(renderer, pictures):
    class Affine:
        """One taste on two uses of the scale."""

        name, score_range, higher_is_better, differentiable = "affine", (0.0, 1.0), True, False

        def __call__(self, images, prompts=None, people=None):
            scale = {"harsh": (0.1, 0.05), "kind": (0.6, 0.3)}
            values = [np.asarray(image)[0, 0, 0] / 255 for image in images]
            found = [scale[person][0] + scale[person][1] * value for value, person in zip(values, people, strict=True)]
            return RewardScores(torch.tensor(found, dtype=torch.float64))

    raw = PamelaReward(Affine(), renderer, min_content=None)
    normalised = PamelaReward(Affine(), renderer, min_content=None, reference=pictures)
    batch = {"prompts": ["a"] * 12, "completions": WORDS * 2, "user_id": ["harsh"] * 6 + ["kind"] * 6}
    assert raw(**batch)[:6] != pytest.approx(raw(**batch)[6:])
    found = normalised(**batch)
    assert found[:6] == pytest.approx(found[6:])
    reds = np.array([np.asarray(picture)[0, 0, 0] for picture in pictures])
    values = np.array([20 * text.count("red") for text in WORDS])
    assert found[:6] == pytest.approx((values - reds.mean()) / reds.std(ddof=1))
    of_prompts = PamelaReward(Affine(), renderer, min_content=None, reference=WORDS)
    assert np.mean(of_prompts(**batch)[:6]) == pytest.approx(0)


def test_lower_is_better(rate, reward, renderer, pictures):
    class Worse(PersonalReward):
        higher_is_better = False

    worse = PamelaReward(
        Worse(reward.model, reward.processor, reward.people), renderer, min_content=None, scored_prompt="none"
    )
    expected = rate(["a"] * 6, WORDS, user_id=["ann"] * 6)
    assert worse(["a"] * 6, WORDS, user_id=["ann"] * 6) == pytest.approx([-value for value in expected])


def test_which_prompt_the_reward_is_told(reward, renderer):
    values = [
        PamelaReward(reward, renderer, min_content=None, scored_prompt=told)(
            ["evening"], ["red lake"], user_id=["ann"]
        )
        for told in ("own", "base", "none")
    ]
    picture = renderer.render(["red lake"], [0])
    expected = [reward(picture, told, "ann").mean.item() for told in (["red lake"], ["evening"], None)]
    assert [value for (value,) in values] == pytest.approx(expected)
    assert len(set(expected)) == 3


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ([], "empty"),
        ([{"role": "assistant", "content": None}], "empty"),
        ("12345 !?", "no words"),
        (" ".join(["lake"] * 10_000), "too long"),
        ("I'm sorry, I cannot help with that.", "other content"),
        ("import os; print(1)", "other content"),
        ([{"role": "assistant", "content": [{"type": "image", "image": "cat.png"}]}], "no picture"),
        (["a lake"], "no picture"),
        ("a red lake, broken", "not rendered"),
        ("a red lake, withheld", "held back"),
        ("a red lake, forbidden", "black"),
        ("a red lake, nan", "no picture"),
    ],
)
def test_completions_that_cannot_be_scored_are_left_out(reward, renderer, completion, reason):
    rate = PamelaReward(reward, renderer, content=WordContent())
    extra = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = rate(["a lake"] * 2, [completion, "a red lake"], user_id=["ann"] * 2, log_extra=extra.__setitem__)
    assert found[0] is None
    assert found[1] == rate(["a lake"], ["a red lake"], user_id=["ann"])[0]
    assert extra["pamela refused"] == [reason, ""]


def test_what_the_policy_is_to_blame_for_can_cost_it(reward, renderer):
    rate = PamelaReward(reward, renderer, content=WordContent(), refused=-3.0)
    assert rate(["a lake"] * 3, ["", "import os", "a lake, forbidden"]) == [-3.0, -3.0, None]


def test_nothing_can_be_rendered(rate):
    with pytest.raises(RewardError, match=r"2 of 2 pictures could not be rendered.*RuntimeError: out of paint"):
        rate(["a"] * 2, ["broken lake", "broken tree"])


def test_one_that_cannot_be_rendered_is_named(rate):
    with pytest.warns(UserWarning, match="1 of 2 pictures could not be rendered; the first, of 'broken lake'"):
        assert rate(["a"] * 2, ["broken lake", "red lake"])[0] is None


def test_a_renderer_that_gives_too_few_pictures(reward, renderer, monkeypatch):
    monkeypatch.setattr(renderer, "render", lambda prompts, seeds: [])
    with pytest.raises(RewardError, match=r"could not be rendered.*gave 0 pictures for 1 prompts"):
        PamelaReward(reward, renderer, min_content=None)(["a"], ["red lake"])


def test_what_is_held_back_is_not_asked_for_again(reward, renderer):
    rate = PamelaReward(reward, renderer, min_content=None)
    first = rate(["a"] * 3, ["red lake", "withheld lake", "red red lake"])
    assert renderer.rendered == ["red lake", "withheld lake", "red red lake"]
    assert [value is None for value in first] == [False, True, False]
    assert rate(["a"] * 2, ["withheld lake", "withheld lake"]) == [None, None]
    assert len(renderer.rendered) == 3


def test_a_model_knows_the_people_saved_with_it(model, processor, profiles, pictures, tmp_path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    profiles["ann"].save_pretrained(tmp_path / "profiles" / "ann")
    rate = PamelaReward(AutoModel.from_pretrained(tmp_path))
    expected = PersonalReward(model, processor, profiles)([pictures[3]], ["a lake"], "ann").mean.item()
    assert rate(["a lake"], [pictures[3]], user_id=["ann"]) == [pytest.approx(expected, abs=1e-5)]


def test_rows_without_what_was_asked_for_or_a_user(reward, pictures):
    rate = PamelaReward(reward)
    asked = {"base_prompt": [None, "a lake"], "user_id": ["", "ann"]}
    with pytest.warns(UserWarning, match="1 of 2 people get no reward"):
        found = rate(["a lake"] * 2, pictures[:2], **asked)
    assert found[0] is None
    assert found[1] == pytest.approx(reward([pictures[1]], ["a lake"], "ann").mean.item())


def test_unknown_people(rate):
    with pytest.raises(RewardError, match="no taste of a user 'eve'"):
        rate(["a"] * 2, WORDS[:2], user_id=["eve", "eve"])
    with pytest.raises(RewardError, match="no taste of a user"):
        rate(["a"] * 2, WORDS[:2], user_id=["eve", "adam"])
    with pytest.raises(RewardError, match="7 is no person"):
        rate(["a"], WORDS[:1], user_id=[7])


def test_known_and_unknown_people(rate):
    with pytest.warns(UserWarning, match="1 of 2 people get no reward; the first: There is no taste of a user 'eve'"):
        found = rate(["a"] * 3, WORDS[:3], user_id=["ann", "eve", "ann"])
    assert found[1] is None
    assert [found[0], found[2]] == pytest.approx(rate(["a"] * 2, [WORDS[0], WORDS[2]], user_id=["ann"] * 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": []}, "no seeds"),
        ({"scored_prompt": "mine"}, 'expected "own"'),
        ({"reference": ["a lake"]}, "at least 2"),
    ],
)
def test_contradictory_arguments(reward, renderer, arguments, message):
    with pytest.raises(RewardError, match=message):
        PamelaReward(reward, renderer, min_content=None, **arguments)


def test_a_reference_that_tells_nothing(reward, renderer, pictures):
    rate = PamelaReward(reward, renderer, min_content=None, reference=[pictures[0]] * 3)
    with pytest.raises(RewardError, match="by which nothing can be normalised"):
        rate(["a"], ["red lake"], user_id=["ann"])


def test_columns_of_another_length(rate):
    with pytest.raises(RewardError, match="2 prompts, 2 completions, 1 values of 'user_id'"):
        rate(["a"] * 2, WORDS[:2], user_id=["ann"])


# With its neighbours --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["GRPO", "RLOO"])
def test_trainers_take_it(reward, renderer, tmp_path, algorithm):
    """Two steps of a tiny random Llama: the trainer logs the reward, its own metrics and what was refused."""
    trl = pytest.importorskip("trl")
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = make_tokenizer(pad_token="<pad>")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    policy = LlamaForCausalLM(
        LlamaConfig(**sizes, num_key_value_heads=1, vocab_size=120, eos_token_id=1, pad_token_id=0)
    )
    rows = {"prompt": ["a lake in the evening", "age is 26"], "user_id": ["ann", "bob"]}
    arguments = getattr(trl, f"{algorithm}Config")(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=6,
        max_steps=2,
        beta=0.0,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    rate = PamelaReward(reward, renderer, min_content=None, refused=-1.0)
    trainer = getattr(trl, f"{algorithm}Trainer")(
        model=policy,
        reward_funcs=rate,
        args=arguments,
        train_dataset=Dataset.from_dict(rows),
        processing_class=tokenizer,
    )
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert len(logs) == 2
    for entry in logs:
        assert np.isfinite(entry["rewards/pamela/mean"])
        assert {"pamela/score", "pamela/std", "pamela/refused", "pamela/cached"} <= entry.keys()
