"""Rows of public preference data are understood as they come, whatever their columns are called."""

from typing import Any

import pytest

from trainer.data.rows import Pair, Preference
from trainer.data.schemas import read_pair, read_preference
from trainer.data.tables import Row
from trainer.errors import InvalidInput

ASK = {"role": "user", "content": "Name a fruit."}
SYSTEM = {"role": "system", "content": "Be brief."}
APPLE, ROCK = {"role": "assistant", "content": "An apple."}, {"role": "assistant", "content": "A rock."}
TALK = Preference(Pair([ASK], "An apple."), Pair([ASK], "A rock."))


def row(**content: Any) -> Row:
    return Row("rows.jsonl, line 7", content)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            {"prompt": "p", "chosen": "a", "rejected": "b"}, Preference(Pair("p", "a"), Pair("p", "b")), id="texts"
        ),
        pytest.param(
            {"prompt": "p", "perturbed_prompt": "q", "response": "a"},
            Preference(Pair("p", "a"), Pair("q", "a"), "perturbed_prompt"),
            id="preferential-prompts",
        ),
        pytest.param(
            {"chosen": [ASK, APPLE], "rejected": [ASK, ROCK], "score_chosen": 8.5, "score_rejected": 6.0},
            Preference(TALK.chosen, TALK.rejected, margin=2.5),
            id="trl-lib/ultrafeedback_binarized",
        ),
        pytest.param(
            {
                "prompt": "Name a fruit.",
                "prompt_id": "0f",
                "chosen": [ASK, APPLE],
                "rejected": [ASK, ROCK],
                "messages": [ASK, APPLE],
                "score_chosen": 7.0,
                "score_rejected": 7.0,
            },
            Preference(TALK.chosen, TALK.rejected, margin=0.0),
            id="HuggingFaceH4/ultrafeedback_binarized",
        ),
        pytest.param(
            {
                "prompt_id": "0f",
                "prompt": "Name a fruit.",
                "all_generated_responses": ["An apple.", "A rock."],
                "all_rm_scores": [0.17, 0.05],
                "chosen": [ASK, APPLE],
                "rejected": [ASK, ROCK],
            },
            TALK,
            id="princeton-nlp/llama3-ultrafeedback-armorm",
        ),
        pytest.param({"prompt": [ASK], "chosen": [APPLE], "rejected": [ROCK]}, TALK, id="trl-explicit-prompt"),
        pytest.param({"prompt": "Name a fruit.", "chosen": [APPLE], "rejected": [ROCK], "margin": 3},
            Preference(Pair("Name a fruit.", "An apple."), Pair("Name a fruit.", "A rock."), margin=3.0),
            id="text-prompt-with-turns",
        ),
        pytest.param(
            {"prompt": [SYSTEM, ASK], "chosen": [SYSTEM, ASK, APPLE], "rejected": [SYSTEM, ASK, ROCK]},
            Preference(Pair([SYSTEM, ASK], "An apple."), Pair([SYSTEM, ASK], "A rock.")),
            id="prompt-repeated-in-the-turns",
        ),
        pytest.param(
            {"prompt": [ASK], "chosen": [ROCK, ASK, APPLE], "rejected": [ROCK, ASK, ROCK]},
            Preference(Pair([ASK, ROCK, ASK], "An apple."), Pair([ASK, ROCK, ASK], "A rock.")),
            id="prompt-continued-by-the-turns",
        ),
        pytest.param({"prompt": "p", "response": "a", "label": True}, Preference(Pair("p", "a"), None), id="good"),
        pytest.param({"prompt": "p", "completion": "a", "label": 0}, Preference(None, Pair("p", "a")), id="bad"),
        pytest.param(
            {"prompt": [ASK], "completion": [ROCK], "label": False},
            Preference(None, Pair([ASK], "A rock.")),
            id="trl-unpaired",
        ),
    ],
)  # fmt: skip
def test_a_preference_is_recognised(content: dict[str, Any], expected: Preference) -> None:
    assert read_preference(row(**content)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"prompt": "p", "response": "r", "source": "somewhere"}, Pair("p", "r")),
        ({"prompt": [ASK], "completion": [APPLE]}, Pair([ASK], "An apple.")),
        ({"messages": [SYSTEM, ASK, APPLE]}, Pair([SYSTEM, ASK], "An apple.")),
        ({"messages": [ASK, ROCK, ASK, APPLE], "prompt": "Name a fruit."}, Pair([ASK, ROCK, ASK], "An apple.")),
        ({"messages": [{**ASK, "name": None}, APPLE]}, Pair([ASK], "An apple.")),
    ],
)
def test_a_pair_is_recognised(content: dict[str, Any], expected: Pair) -> None:
    assert read_pair(row(**content)) == expected


@pytest.mark.parametrize(
    ("content", "field", "problem"),
    [
        ({"prompt": "p", "chosen": "a"}, "rejected", "missing"),
        ({"chosen": "a", "rejected": "b"}, "prompt", "missing"),
        ({"prompt": "p", "chosen": 3, "rejected": "b"}, "chosen", "expected a string"),
        ({"prompt": "p", "chosen": " ", "rejected": "b"}, "chosen", "the response is empty"),
        ({"prompt": "p", "chosen": "a", "rejected": "b\ud800"}, "rejected", "half a surrogate pair at character 1"),
        ({"prompt": "\udfff", "chosen": "a", "rejected": "b"}, "prompt", "half a surrogate pair at character 0"),
        ({"chosen": [APPLE], "rejected": [ROCK]}, "prompt", "missing"),
        ({"chosen": [ASK], "rejected": [ASK, ROCK]}, "chosen", "its last turn is not the assistant's"),
        ({"chosen": [], "rejected": [ASK, ROCK]}, "chosen", "its last turn is not the assistant's"),
        ({"chosen": ["x"], "rejected": [ASK, ROCK]}, "chosen", "expected a list of {role, content}"),
        ({"chosen": [ASK, APPLE], "rejected": [SYSTEM, ASK, ROCK]}, "rejected", "differs from that of 'chosen'"),
        ({"chosen": [{**ASK, "content": ""}, APPLE], "rejected": [ASK, ROCK]}, "chosen", "non-empty content"),
        ({"prompt": "p", "response": "a", "label": "good"}, "label", "expected true or false"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "margin": "2"}, "margin", "expected a finite number"),
        (
            {"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": 1, "score_rejected": float("inf")},
            "score_rejected",
            "expected a finite number",
        ),
    ],
)
def test_what_is_wrong_with_a_preference_is_said_of_its_field(
    content: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_preference(row(**content))
    assert caught.value.detail.startswith(f"rows.jsonl, line 7, field {field!r}: ")
    assert problem in caught.value.detail


@pytest.mark.parametrize(
    ("content", "field", "problem"),
    [
        ({"messages": [APPLE]}, "messages", "no turn before the assistant's"),
        ({"messages": "hello"}, "messages", "expected a list"),
        ({"prompt": "p", "response": [ASK, APPLE]}, "response", "the assistant's turn alone"),
    ],
)
def test_what_is_wrong_with_a_pair_is_said_of_its_field(content: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"field '{field}': .*{problem}"):
        read_pair(row(**content))


def test_a_score_that_is_not_known_gives_no_margin() -> None:
    scores = {"score_chosen": float("nan"), "score_rejected": 1.0}
    assert read_preference(row(prompt="p", chosen="a", rejected="b", **scores)).margin is None
