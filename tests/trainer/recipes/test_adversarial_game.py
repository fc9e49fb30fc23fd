"""What the reward model is told of a generation, and whose score pays the policy."""

import pytest

from trainer.data.product_world import render_prompt, sample_examples
from trainer.errors import InvalidInput
from trainer.recipes.adversarial_batches import OracleLabel, SoftLabel, ZeroLabel
from trainer.recipes.adversarial_game import label_of, paid_for


def test_labels_of_a_right_and_a_wrong_generation() -> None:
    example = sample_examples("train", 1, seed=0)[0]
    prompt, right, wrong = render_prompt(example.task), example.response, "."
    turns = [{"role": "user", "content": prompt}]
    assert [label_of(ZeroLabel(), prompt, text) for text in (right, wrong)] == [0.0, 0.0]
    assert [label_of(SoftLabel(kind="soft", alpha=0.3), prompt, text) for text in (right, wrong)] == [0.3, 0.3]
    assert [label_of(OracleLabel(kind="oracle"), turns, text) for text in (right, wrong)] == [1.0, 0.0]
    with pytest.raises(InvalidInput, match="its checker can judge no other"):
        label_of(OracleLabel(kind="oracle"), "write", right)


def test_the_policy_is_paid_by_the_live_model_the_anchor_or_the_lesser() -> None:
    live, anchored = [1.0, 2.0, None, 4.0], [3.0, 0.5, 1.0, None]
    assert paid_for("live", live, anchored) == live
    assert paid_for("anchor", live, anchored) == anchored
    assert paid_for("min", live, anchored) == [1.0, 0.5, None, None]
