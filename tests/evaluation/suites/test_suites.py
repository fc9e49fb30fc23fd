"""Benchmark suites: rows as published, averages as published, worked by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from evaluation.statistics.composites import Part, estimate_composites, mean_of
from evaluation.statistics.estimate import Estimate
from evaluation.suites import SUITES, recognise
from evaluation.suites.reward_bench import SECTIONS
from evaluation.suites.suite import Item, clusters
from trainer.data.tables import Row
from trainer.errors import InvalidInput

NAN = float("nan")


def scored(suite: str, rows: Sequence[dict[str, Any]], scores: Sequence[tuple[list[float], list[float]]]) -> Any:
    """Estimates by statistic and stratum."""
    items = [SUITES[suite].read(Row(f"row {i}", row), i) for i, row in enumerate(rows)]
    arrays = [(np.array(chosen), np.array(rejected)) for chosen, rejected in scores]
    return {(each.statistic, each.stratum): each for each in estimated(suite, items, arrays)}


def estimated(suite: str, items: list[Item], scores: Any) -> list[Estimate]:
    composites = SUITES[suite].composites(items, scores)
    return estimate_composites(
        clusters(items), composites, scorer="rm", oracle=suite, draws=300, confidence=0.95, seed=0
    )


def pair(subset: str, number: int) -> dict[str, Any]:
    return {"prompt": f"{subset} {number}", "chosen": "good", "rejected": "bad", "subset": subset}


def test_reward_bench_counts_a_tie_as_wrong_and_weighs_subsets_as_published() -> None:
    rows = [pair("math-prm", 0), pair("math-prm", 1), pair("hep-python", 0), pair("mt-bench-hard", 0)]
    found = scored("reward_bench", rows, [([1.0], [0.0]), ([1.0], [1.0]), ([2.0], [1.0]), ([0.0], [1.0])])
    assert found["accuracy", "math-prm"].estimate == 0.5
    assert found["accuracy_ties_shared", "math-prm"].estimate == 0.75
    # math-prm counts 984, a code subset 164
    reasoning = (984 * 0.5 + 164 * 1.0) / (984 + 164)
    assert found["accuracy", "Reasoning"].estimate == pytest.approx(reasoning)
    assert found["accuracy", "Chat Hard"].estimate == 0
    assert found["accuracy", "all"].estimate == pytest.approx((reasoning + 0) / 2)


def test_reward_bench_has_the_published_sections() -> None:
    assert {name: len(subsets) for name, subsets in SECTIONS.items()} == {
        "Chat": 5,
        "Chat Hard": 6,
        "Safety": 5,
        "Reasoning": 7,
    }
    reasoning = SECTIONS["Reasoning"]
    assert reasoning["math-prm"] == sum(count for subset, count in reasoning.items() if subset != "math-prm")


def test_a_missing_score_is_counted_and_not_guessed() -> None:
    rows = [pair("hep-go", i) for i in range(4)]
    found = scored("reward_bench", rows, [([1.0], [0.0]), ([NAN], [0.0]), ([0.0], [1.0]), ([1.0], [NAN])])
    own = found["accuracy", "hep-go"]
    assert (own.estimate, own.n_responses, own.n_dropped) == (0.5, 2, 2)


def test_the_interval_of_a_section_is_of_its_parts_together() -> None:
    generator = np.random.default_rng(0)
    subsets = ["hep-go"] * 100 + ["hep-js"] * 50
    right = generator.random(150) < np.where(np.arange(150) < 100, 0.8, 0.4)
    rows = [pair(subset, i) for i, subset in enumerate(subsets)]
    found = scored("reward_bench", rows, [([float(each)], [0.5]) for each in right])
    a, b = right[:100].mean(), right[100:].mean()
    assert found["accuracy", "Reasoning"].estimate == pytest.approx((a + b) / 2)
    error = np.sqrt(a * (1 - a) / 100 + b * (1 - b) / 50) / 2
    assert found["accuracy", "Reasoning"].standard_error == pytest.approx(error, rel=0.15)


def test_reward_bench_2_shares_a_tie_among_the_best() -> None:
    rows = [
        {"prompt": f"p{i}", "chosen": ["a"], "rejected": ["b", "c", "d"], "subset": "Math", "id": str(i)}
        for i in range(3)
    ]
    scores = [([2.0], [1.0, 0.0, 0.0]), ([1.0], [1.0, 1.0, 0.0]), ([0.0], [1.0, 0.0, 0.0])]
    found = scored("reward_bench_2", rows, scores)
    assert found["accuracy_ties_shared", "Math"].estimate == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert found["accuracy", "Math"].estimate == pytest.approx(1 / 3)


def ties(kind: str, pair_number: int, right: int) -> dict[str, Any]:
    chosen, rejected = ["x"] * right, ["y"] * 2
    identity = f"{kind}:{pair_number}"
    return {"prompt": identity, "chosen": chosen, "rejected": rejected, "subset": "Ties", "id": identity}


def test_the_score_of_ties_is_that_of_the_published_formula() -> None:
    rows = [ties("ref", 0, 1), ties("tied", 0, 2), ties("ref", 1, 1), ties("tied", 1, 2)]
    scores = [
        ([5.0], [4.0, 0.0]),  # r = 1
        ([6.0, 4.0], [1.0, 0.0]),  # d = 2, t = 3: preferred, not hard; margin tanh(1 / 2 - 1)
        ([1.0], [2.0, 0.0]),  # r = -1: wrong
        ([3.0, 3.0], [3.0, 0.0]),  # d = 0, t = 0: wrong, not preferred; least -1 over 0: margin -1
    ]
    found = scored("reward_bench_2", rows, scores)
    expected = 0.3 * 0.5 + 0.3 * 0.5 + 0.2 * 0.5 + 0.2 * 0.0 + 0.01 * (np.tanh(-0.5) - 1) / 2
    assert found["accuracy_ties_shared", "Ties"].estimate == pytest.approx(expected)
    # a pair is drawn together
    assert found["accuracy_ties_shared", "Ties"].n_prompts == 2


def test_reward_bench_2_is_the_mean_of_its_subsets() -> None:
    math = [{"prompt": f"p{i}", "chosen": ["a"], "rejected": ["b"], "subset": "Math", "id": str(i)} for i in range(2)]
    rows = [*math, ties("ref", 0, 1), ties("tied", 0, 2)]
    scores = [([1.0], [0.0]), ([0.0], [1.0]), ([9.0], [0.0, 0.0]), ([9.0, 8.9], [0.0, 0.0])]
    found = scored("reward_bench_2", rows, scores)
    whole = 0.3 + 0.3 + 0.2 + 0.2 + 0.01 * np.tanh(8.9 / (9.0 - 8.9) - 1)
    assert found["accuracy_ties_shared", "all"].estimate == pytest.approx((0.5 + whole) / 2)


def test_rm_bench_reads_its_matrix_by_style() -> None:
    row = {"prompt": "p", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"], "domain": "math"}
    # fancier is scored higher whatever is right: 1, 2, 3 against 1.5, 2.5, 3.5
    found = scored("rm_bench", [row], [([1.0, 2.0, 3.0], [1.5, 2.5, 3.5])])
    assert found["accuracy_easy", "math"].estimate == 1  # 2 > 1.5, 3 > 1.5, 3 > 2.5
    assert found["accuracy_normal", "math"].estimate == 0
    assert found["accuracy_hard", "math"].estimate == 0
    assert found["accuracy", "math"].estimate == pytest.approx(1 / 3)


def test_rm_bench_counts_safety_once() -> None:
    domains = ["chat", "safety-refuse", "safety-response"]
    rows = [{"prompt": each, "chosen": ["a"] * 3, "rejected": ["b"] * 3, "domain": each} for each in domains]
    scores = [([0.0] * 3, [1.0] * 3), ([1.0] * 3, [0.0] * 3), ([1.0] * 3, [1.0] * 3)]
    found = scored("rm_bench", rows, scores)
    assert found["accuracy", "all"].estimate == pytest.approx((0 + (1 + 0) / 2) / 2)
    assert found["accuracy_ties_shared", "all"].estimate == pytest.approx((0 + (1 + 0.5) / 2) / 2)


def test_a_part_without_rows_has_no_number_and_says_so() -> None:
    values, some = np.array([NAN, 1.0, 0.0]), np.array([True, False, False])
    composites = [mean_of("accuracy", "empty", values, some), mean_of("accuracy", "all", values, ~some)]
    empty, whole = estimate_composites(
        np.arange(3), composites, scorer="rm", oracle="suite", draws=200, confidence=0.95, seed=0
    )
    assert (empty.estimate, empty.undefined_reason, empty.n_dropped) == (None, "a part of it has no scored row", 1)
    assert whole.estimate == 0.5
    assert isinstance(composites[0].parts[0], Part)


@pytest.mark.parametrize(
    ("suite", "row", "complaint"),
    [
        ("reward_bench", {"prompt": "p", "chosen": "c"}, "row 0, field 'rejected': missing"),
        (
            "reward_bench",
            {"prompt": "p", "chosen": ["c", "d"], "rejected": "r"},
            "2 responses, where RewardBench has one",
        ),
        (
            "reward_bench",
            {"prompt": ["p", "q"], "chosen": "c", "rejected": "r"},
            "field 'prompt': 2 texts, where one is",
        ),
        ("reward_bench", {"prompt": "p", "chosen": 3, "rejected": "r"}, "expected a text or a list of texts"),
        (
            "reward_bench_2",
            {"prompt": "p", "chosen": ["c", "d"], "rejected": ["r"], "subset": "Math"},
            "only the subset",
        ),
        (
            "reward_bench_2",
            {"prompt": "p", "chosen": ["c"], "rejected": ["r"], "subset": "Ties", "id": "7"},
            "ref:N or",
        ),
        ("rm_bench", {"prompt": "p", "chosen": ["c"], "rejected": ["r"] * 3, "domain": "chat"}, "1 responses instead"),
    ],
)
def test_a_row_of_another_form_is_named(suite: str, row: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        SUITES[suite].read(Row("row 0", row), 0)
    assert complaint in caught.value.detail


def test_a_suite_is_recognised_by_its_rows() -> None:
    rows = [{"chosen": "c"}, {"chosen": ["c"]}, {"chosen": ["c"] * 3, "domain": "chat"}]
    assert [recognise(Row("", row)).name for row in rows] == ["reward_bench", "reward_bench_2", "rm_bench"]
