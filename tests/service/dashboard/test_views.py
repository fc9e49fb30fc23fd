"""Views choose what a page shows of a run."""

from datetime import UTC, datetime
from typing import Any

from service.dashboard.tables import scorers_by_statistic, scorers_by_temperature
from service.dashboard.views import verdict_of
from service.db.records import CorrelationRecord


def correlation(scorer: str, temperature: float | None, r: float | None, **fields: Any) -> CorrelationRecord:
    known = r is not None
    defaults: dict[str, Any] = {
        "run": "run_1", "policy": "p", "scorer": scorer, "scorer_version": 3, "oracle": "judge",
        "temperature": temperature, "stratum": "all", "statistic": "pearson_within", "estimate": r,
        "lower": r - 0.1 if known else None, "upper": r + 0.1 if known else None,
        "standard_error": 0.05 if known else None, "n_prompts": 2, "n_responses": 8, "n_dropped": 0,
        "n_total": 8, "n_truncated": 0, "n_constant_prompts": 0,
        "method": "m", "undefined_reason": None if known else "constant", "code_version": "0",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return CorrelationRecord(**{**defaults, **fields})


def test_a_table_has_a_column_for_each_temperature_and_all_of_them_last() -> None:
    rows = [
        correlation("a", None, 0.3),
        correlation("a", 2.0, 0.2),
        correlation("a", 0.5, 0.4),
        correlation("length", 0.5, 0.1),
        correlation("a", 0.5, 0.7, oracle="other"),
    ]
    table = scorers_by_temperature(rows, "pearson_within", "judge")

    assert table.headings == ["T = 0.5", "T = 2", "all T"]
    (learned,), (control,) = table.learned, table.controls
    assert [cell.estimate if cell else None for cell in learned.cells] == [0.4, 0.2, 0.3]
    assert learned.version == 3
    assert [cell.estimate if cell else None for cell in control.cells] == [0.1, None, None]


def test_an_audit_s_table_has_a_column_for_each_statistic() -> None:
    rows = [
        correlation("a", None, 0.3),
        correlation("a", None, 0.7, statistic="pearson_pooled"),
        correlation("length", None, 0.1, statistic="pearson_pooled"),
    ]
    table = scorers_by_statistic(rows, ["pearson_within", "pearson_pooled"], "judge")

    assert table.headings == ["r within prompts", "r pooled"]
    (learned,), (control,) = table.learned, table.controls
    assert [cell.estimate if cell else None for cell in learned.cells] == [0.3, 0.7]
    assert [cell.estimate if cell else None for cell in control.cells] == [None, 0.1]


def test_a_verdict_has_a_headline_what_qualifies_it_and_the_rest() -> None:
    rows = [
        correlation("best", 1.0, 0.5),
        correlation("best", 1.0, 0.4, statistic="pearson_within_lead_over_length"),
        correlation("other", 1.0, 0.2),
    ]

    verdict = verdict_of(rows, "judge")
    assert verdict is not None
    assert verdict.headline.startswith("best orders responses to the same prompt as judge does")
    assert "length" in verdict.qualification
    assert [finding.partition(" ")[0] for finding in verdict.findings] == ["other"]
    assert verdict_of(rows[:1], "judge").findings == []  # type: ignore[union-attr]
    assert verdict_of([], None) is None
