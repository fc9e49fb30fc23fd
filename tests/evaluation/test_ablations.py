"""Each constraint of a prompt is left out once, all else unchanged, or it is said why it cannot be."""

import pytest

from evaluation.ablations import Ablation, ablate_listed, ablate_product_world
from trainer.data.product_world import render_prompt, sample_examples
from trainer.errors import InvalidInput


def test_facts_sections_and_words_of_a_prompt_are_left_out_one_at_a_time() -> None:
    prompt = "product mug | color red ; size tiny | len 7 to 9 | tone calm | avoid it ; the"

    assert ablate_product_world(prompt) == [
        Ablation("color red", "product mug | size tiny | len 7 to 9 | tone calm | avoid it ; the"),
        Ablation("size tiny", "product mug | color red | len 7 to 9 | tone calm | avoid it ; the"),
        Ablation("len 7 to 9", "product mug | color red ; size tiny | tone calm | avoid it ; the"),
        Ablation("tone calm", "product mug | color red ; size tiny | len 7 to 9 | avoid it ; the"),
        Ablation("avoid it", "product mug | color red ; size tiny | len 7 to 9 | tone calm | avoid the"),
        Ablation("avoid the", "product mug | color red ; size tiny | len 7 to 9 | tone calm | avoid it"),
    ]


def test_a_fact_that_the_prompt_cannot_do_without_stays_and_says_why() -> None:
    found = ablate_product_world("product mug | color red ; size tiny ; age new | start size | size before age")

    assert [(each.constraint, each.prompt is None) for each in found] == [
        ("color red", False),
        ("size tiny", True),
        ("age new", True),
        ("start size", False),
        ("size before age", False),
    ]
    assert found[1].reason is not None
    assert found[1].reason.startswith("'start size' speaks of it")
    assert found[2].reason is not None
    assert found[2].reason.startswith("'size before age' speaks of it")
    (only, tone) = ablate_product_world("product mug | color red | tone calm")
    assert only.prompt is None
    assert only.reason is not None
    assert "it is the only fact" in only.reason
    assert tone.prompt == "product mug | color red"


def test_every_prompt_of_the_world_loses_exactly_the_constraint_that_is_named() -> None:
    examples = sample_examples("test", 60, seed=0)
    left_out = 0
    for example in examples:
        prompt = render_prompt(example.task)
        for each in ablate_product_world(prompt):
            if each.prompt is not None:
                left_out += 1
                words = prompt.split()
                rest = each.prompt.split()
                gone = [word for word in each.constraint.split() if word != "avoid"]
                assert sorted(word for word in words if word not in {"|", ";", "avoid"}) == sorted(
                    [*gone, *(word for word in rest if word not in {"|", ";", "avoid"})]
                )
    assert left_out > 200


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("Write a poem.", "is not a prompt of the product-description world"),
        (
            "product mug | color red | tone calm | len 7 to 9",
            "which is 'product mug | color red | len 7 to 9 | tone calm'",
        ),
    ],
)
def test_a_prompt_of_elsewhere_or_in_another_order_is_refused(prompt: str, words: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        ablate_product_world(prompt)
    assert words in raised.value.detail


def test_listed_constraints_follow_the_prompt_in_their_order() -> None:
    whole, found = ablate_listed("Describe a mug.", ["Be brief.", "Rhyme.", "Be brief."], "\n")

    assert whole == "Describe a mug.\nBe brief.\nRhyme.\nBe brief."
    assert found == [
        Ablation("Be brief.", "Describe a mug.\nRhyme.\nBe brief."),
        Ablation("Rhyme.", "Describe a mug.\nBe brief.\nBe brief."),
        Ablation("Be brief.", "Describe a mug.\nBe brief.\nRhyme."),
    ]
    assert ablate_listed("a", ["b"], " | ") == ("a | b", [Ablation("b", "a")])
