"""GET /v1/history answers random questions as a plain reading of docs/history.md does, written down in Python."""

import json
import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from evaluation.statistics.combining import CORRELATIONS
from service.db.history import SORTS

Row = dict[str, Any]
Holds = Callable[[Row], bool]

QUESTIONS = 40
START = datetime(2026, 10, 28, 22, 30, tzinfo=UTC)
COLUMNS = {
    "scorer": ["rm", "length", "judge-7b"],
    "scorer_version": [None, 1, 2],
    "oracle": ["judge", "ifeval"],
    "temperature": [None, 0.0, 0.5, 1.0],
    "stratum": ["all", "untruncated", "part-1", "part-2"],
    "statistic": ["pearson_within", "kendall_pooled", "mean"],
}
NUMBERS = ("estimate", "lower", "upper", "standard_error", "n_prompts", "n_responses", "n_dropped")
OVERLAPPING = {"all", "untruncated", "non_degenerate"}


def made_up(draw: random.Random, correlate: Callable[..., str], runs: range) -> list[Row]:
    """Rows of some runs, as they are stored, each with what its job and its prompts are."""
    stored: list[Row] = []
    for place in runs:
        at = START + timedelta(days=draw.choice([0, 1, 2, 5, 30]), hours=draw.randrange(3), microseconds=place % 3)
        run = f"run_{draw.randrange(10**6):06}"
        job = {"name": draw.choice(["nightly", "weekly"]), "labels": draw.choice([{}, {"team": "a"}, {"team": "b"}])}
        first, size = draw.choice([0, 4, 100 * place]), draw.choice([4, 6])
        prompts = draw.choice([None, [f"p{number}" for number in range(first, first + size)]])
        policy = draw.choice([None, "p@1", "q@2"])
        rows = [{**some_row(draw), "policy": policy} for _ in range(12)]
        correlate(rows, at, prompts, id=run, **job)
        facts = {"run": run, "created_at": at, **job, "prompts": None if prompts is None else frozenset(prompts)}
        stored += [{**row, **facts, "number": number} for number, row in enumerate(rows, 1)]
    return stored


def some_row(draw: random.Random) -> Row:
    row: Row = {name: draw.choice(values) for name, values in COLUMNS.items()}
    counts = {name: draw.randrange(5, 50) for name in ("n_prompts", "n_responses", "n_dropped")}
    if draw.random() < 0.15:
        nothing = dict.fromkeys(("estimate", "lower", "upper", "standard_error"))
        return {**row, **counts, **nothing, "undefined_reason": "constant"}
    estimate = draw.choice([draw.uniform(-0.9, 0.9), 0.25, 2e-175, 1.0 if row["statistic"] in CORRELATIONS else 7.5])
    error = draw.choice([None, 0.0, *[draw.uniform(0.01, 0.3)] * 6])
    reach = error or 0.1
    ends = {"lower": max(-1.0, estimate - 1.8 * reach), "upper": min(8.0, estimate + 2.2 * reach)}
    if draw.random() < 0.1:
        ends[draw.choice(["lower", "upper"])] = None  # type: ignore[assignment]
    return {**row, **counts, "estimate": estimate, **ends, "standard_error": error, "undefined_reason": None}


# which rows


def some_filter(draw: random.Random, rows: Sequence[Row]) -> tuple[Row, Holds]:
    asked: Row = {}
    tests: list[Holds] = []
    for name in (*COLUMNS, "run", "policy", "name"):
        known = sorted({row[name] for row in rows} - {None})
        if (name != "statistic" and draw.random() < 0.8) or not known:
            continue
        values = draw.sample(known, min(len(known), draw.choice([1, 1, 2])))
        if name == "temperature" and draw.random() < 0.4:
            values.append(None)
        asked[name] = ["pooled" if value is None else value for value in values]
        tests.append(lambda row, name=name, values=values: row[name] in values)  # type: ignore[misc]
    if draw.random() < 0.2:
        asked["label"] = draw.sample(["team=a", "team=b"], draw.choice([1, 2]))
        tests.append(lambda row: f"team={row['labels'].get('team')}" in asked["label"])
    for name, column, keeps in (
        ("temperature_min", "temperature", lambda value, bound: value is not None and value >= bound),
        ("temperature_max", "temperature", lambda value, bound: value is not None and value <= bound),
        ("created_after", "created_at", lambda value, bound: value >= bound),
        ("created_before", "created_at", lambda value, bound: value < bound),
    ):
        if draw.random() < 0.12:
            bound = draw.choice([row[column] for row in rows if row[column] is not None])
            asked[name] = bound.isoformat() if isinstance(bound, datetime) else bound
            tests.append(lambda row, c=column, k=keeps, b=bound: k(row[c], b))  # type: ignore[misc]
    if draw.random() < 0.5:
        asked["where"], holds = some_condition(draw, rows, 2)
        tests.append(holds)
    return asked, lambda row: all(test(row) for test in tests)


def some_condition(draw: random.Random, rows: Sequence[Row], depth: int) -> tuple[str, Holds]:
    kind = draw.choice(["one", "one", "not", "and", "or"]) if depth else "one"
    if kind == "one":
        return some_comparison(draw, rows)
    text, holds = some_condition(draw, rows, depth - 1)
    if kind == "not":
        return f"not ({text})", lambda row: not holds(row)
    other, also = some_condition(draw, rows, depth - 1)
    both = (lambda row: holds(row) and also(row)) if kind == "and" else (lambda row: holds(row) or also(row))
    return f"({text}) {kind} ({other})", both


def some_comparison(draw: random.Random, rows: Sequence[Row]) -> tuple[str, Holds]:
    field = draw.choice([*COLUMNS, *NUMBERS, "run", "policy", "name", "label.team", "label.team", "created_at"])
    of: Callable[[Row], Any] = (lambda row: row["labels"].get("team")) if "." in field else lambda row: row[field]
    value = of(draw.choice(rows))
    ordered = value is not None and not isinstance(value, str)
    sign = draw.choice(["<", "<=", ">", ">=", "==", "!="] if ordered else ["==", "!=", "!="])
    if field == "created_at":
        sign = draw.choice(["<", ">="])
    written = "null" if value is None else repr(value.isoformat() if isinstance(value, datetime) else value)
    compare: dict[str, Callable[[Any], bool]] = {
        "<": lambda found: found is not None and found < value,
        "<=": lambda found: found is not None and found <= value,
        ">": lambda found: found is not None and found > value,
        ">=": lambda found: found is not None and found >= value,
        "==": lambda found: bool(found == value),
        "!=": lambda found: bool(found != value),
    }
    return f"{field} {sign} {written}", lambda row: compare[sign](of(row))


# in which order


def in_order(rows: Sequence[Row], sort: str | None, by: Sequence[str] = ()) -> list[Row]:
    """By what was asked; what is missing is last in either direction."""
    name, descending = ("created_at", True) if sort is None else (sort.removeprefix("-"), sort.startswith("-"))
    if by:
        name, descending = (by[0], False) if sort is None else (name, descending)
        rows = sorted(rows, key=lambda row: [(row[each] is None, row[each] or 0) for each in by])
        rows = [row | {each: row[each] for each in by} for row in rows]
    else:
        rows = sorted(rows, key=lambda row: (row["run"], row["number"]), reverse=descending)
    there = sorted((row for row in rows if row[name] is not None), key=lambda row: row[name])
    if descending:  # a stable sort, equals staying as they are
        there = sorted((row for row in rows if row[name] is not None), key=lambda row: row[name], reverse=True)
    return [*there, *(row for row in rows if row[name] is None)]


# groups


def dimension(row: Row, name: str) -> Any:
    at: datetime = row["created_at"]
    day = at.date()
    periods = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}
    return periods[name].isoformat() if name in periods else row[name]


def some_grouping(draw: random.Random, asked: Row) -> Row:
    by = draw.sample([*COLUMNS, "run", "policy", "name", "day", "week", "month"], draw.choice([1, 2, 3]))
    agg = draw.choice(["latest", "min", "max", "mean", "combined", "combined", "count"])
    if agg != "count" and "statistic" not in by and len(asked["statistic"]) != 1:
        by.append("statistic")
    if agg in {"mean", "combined"}:
        ranged = asked.keys() & {"temperature_min", "temperature_max"}
        several = set(asked.get("temperature", ())) != {"pooled"} and "pooled" in asked.get("temperature", ())
        if "temperature" not in by and (several or "temperature" not in asked) and not ranged:
            by.append("temperature")
        strata = set(asked.get("stratum", ()))
        if "stratum" not in by and (not strata or (len(strata) > 1 and strata & OVERLAPPING)):
            by.append("stratum")
    sort = draw.choice([None, *(f"{sign}{name}" for name in by for sign in ("", "-"))])
    return {"group_by": by, "agg": agg, **({} if sort is None else {"sort": sort})}


def groups(rows: Sequence[Row], asked: Row) -> list[Row]:
    by = asked["group_by"]

    def of(row: Row) -> Any:
        return [(value is None, value or 0) for value in (dimension(row, name) for name in by)]

    found = []
    for _, members in groupby(sorted(rows, key=of), key=of):
        group = list(members)
        shared = {name: dimension(group[0], name) for name in by}
        found.append({**shared, "group": shared, **told(group, asked)})
    return in_order(found, asked.get("sort"), by)


def told(group: Sequence[Row], asked: Row) -> Row:
    defined = [row for row in group if row["estimate"] is not None]
    counts = {"n_rows": len(group), "n_undefined": len(group) - len(defined)}
    agg = asked["agg"]
    if agg in {"latest", "min", "max"}:
        newest = sorted(group, key=lambda row: (row["created_at"], row["run"], row["number"]), reverse=True)
        least = {"min": 1.0, "max": -1.0}.get(agg)
        if least is not None and defined:
            newest = sorted((row for row in newest if row in defined), key=lambda row: least * row["estimate"])
        chosen = newest[0]
        copied = {name: chosen[name] for name in (*NUMBERS, "undefined_reason")}
        there = int(chosen["estimate"] is not None)
        return {**counts, **copied, "n_used": there, "n_runs": there, "chosen_run": chosen["run"]}
    return {**counts, **averaged(group, agg, asked)}


def averaged(group: Sequence[Row], agg: str, asked: Row) -> Row:
    correlation = group[0]["statistic"] in CORRELATIONS
    combined = agg == "combined"
    used, terms = [], []
    for row in group:
        r, error, lower, upper = (row[name] for name in ("estimate", "standard_error", "lower", "upper"))
        whole = None not in (error, lower, upper)
        if agg == "count":
            used.append(row)
        elif not combined and r is not None:
            used.append(row)
            terms.append((1.0, r, error if whole else None, lower, upper))
        elif combined and r is not None and whole and error > 0 and (abs(r) < 1 or not correlation):
            used.append(row)
            if correlation:
                error, ends = error / (1 - r * r), [max(-1 + 1e-12, min(1 - 1e-12, end)) for end in (lower, upper)]
                r, lower, upper = (math.atanh(each) for each in (r, *ends))
            terms.append((1 / error**2, r, error, lower, upper))
    runs = sorted({row["run"] for row in used})
    most = {
        name: sum(max(row[name] for row in used if row["run"] == run) for run in runs)
        for name in ("n_prompts", "n_responses", "n_dropped")
    }
    counts = {**most, "n_used": len(used), "n_runs": len(runs), "chosen_run": None}
    nothing = dict.fromkeys(("estimate", "lower", "upper", "standard_error", "heterogeneity"))
    if agg == "count":
        return {**counts, **nothing, "shared_prompts": None, "n_distinct_prompts": None}
    strata = [group[0]["stratum"]] if "stratum" in asked["group_by"] else asked.get("stratum", [])
    parts = any(stratum != "all" for stratum in strata)
    prompts = {row["run"]: row["prompts"] for row in used}
    facts = common(prompts)
    if not used:
        return {**counts, **nothing, **facts}
    weight = sum(w for w, *_ in terms)
    y = sum(w * each for w, each, *_ in terms) / weight
    if any(s is None for _, _, s, *_ in terms):
        return {**counts, **nothing, **facts, "estimate": y}
    moved = [
        (row["run"], w * s, w * max(0.0, each - lower), w * max(0.0, upper - each))
        for row, (w, each, s, lower, upper) in zip(used, terms, strict=True)
    ]
    reach = [
        spread({run: sum(row[place] for row in moved if row[0] == run) for run in runs}, prompts, parts) / weight
        for place in (1, 2, 3)
    ]
    error, lower, upper = reach[0], y - reach[1], y + reach[2]
    heterogeneity = None
    if combined and facts["shared_prompts"] is False and len(used) == len(runs) > 1:
        q = sum(w * (each - y) ** 2 for w, each, *_ in terms)
        heterogeneity = max(0.0, 1 - (len(used) - 1) / q) if q > 0 else 0.0
    if combined and correlation:
        y, lower, upper = math.tanh(y), math.tanh(lower), math.tanh(upper)
        error *= 1 - y * y
    numbers = {"estimate": y, "lower": lower, "upper": upper, "standard_error": error, "heterogeneity": heterogeneity}
    return {**counts, **numbers, **facts}


def common(prompts: dict[str, frozenset[str] | None]) -> Row:
    known = [each for each in prompts.values() if each is not None]
    distinct = len(frozenset().union(*known))
    shared: bool | None = sum(map(len, known)) > distinct
    complete = len(known) == len(prompts)
    if not shared and not complete and len(prompts) > 1:
        shared = None
    return {"shared_prompts": shared, "n_distinct_prompts": distinct if complete else None}


def spread(moved: dict[str, float], prompts: dict[str, frozenset[str] | None], parts: bool) -> float:
    """The greatest error that sums of runs can have: together as far as their prompts are common."""
    known = {run: of for run in moved if (of := prompts[run]) is not None}
    unknown = sum(error for run, error in moved.items() if run not in known)
    if parts:  # whoever shares any prompt, directly or through others, moves together wholly
        sets: list[tuple[frozenset[str], float]] = []
        for run, of in known.items():
            together = [each for each in sets if each[0] & of]
            sets = [each for each in sets if each not in together]
            sets.append((of.union(*(each[0] for each in together)), moved[run] + sum(each[1] for each in together)))
        return math.sqrt(sum(error**2 for _, error in sets)) + unknown
    everything = frozenset().union(*known.values())
    by_prompt = [sum(moved[run] / math.sqrt(len(of)) for run, of in known.items() if one in of) for one in everything]
    return math.sqrt(sum(error**2 for error in by_prompt)) + unknown


def all_pages(client: TestClient, asked: Row, limit: int) -> list[Row]:
    found: list[Row] = []
    cursor: str | None = None
    while True:
        page = client.get(
            "/v1/history", params=asked | {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        )
        assert page.status_code == 200, page.text
        found += page.json()["data"]
        if (cursor := page.json()["next"]) is None:
            return found
        assert len(page.json()["data"]) == limit <= len(found) <= 1000  # or pages begin where they ended


def agree(found: Sequence[Row], expected: Sequence[Row]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        wanted = {name: other[name] for name in one.keys() & other.keys()}
        if isinstance(at := wanted.get("created_at"), datetime):
            wanted["created_at"] = at.isoformat().replace("+00:00", "Z")
        assert {name: one[name] for name in wanted} == {
            name: pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
            for name, value in wanted.items()
        }


@pytest.mark.parametrize("rows_in_memory", [0, 1000])
def test_random_questions_are_answered_as_the_documentation_says(
    make_app: Callable[..., FastAPI], correlate: Callable[..., str], rows_in_memory: int
) -> None:
    with TestClient(make_app(history_rows_in_memory=rows_in_memory)) as client:
        ask(client, random.Random(8), correlate)


def ask(client: TestClient, draw: random.Random, correlate: Callable[..., str]) -> None:
    """Meanwhile some runs come, not always the newest."""
    rows: list[Row] = []
    seen = {"rows": 0, "groups": 0, "files": 0}
    for number in range(QUESTIONS):
        if number % 8 == 0:
            rows += made_up(draw, correlate, range(len(rows) // 12, 4 + number // 8))
        asked, holds = some_filter(draw, rows)
        fitting = [row for row in rows if holds(row)]
        if draw.random() < 0.6:
            asked |= some_grouping(draw, asked)
            expected = groups(fitting, asked)
            seen["groups"] += len(expected)
        else:
            sort = draw.choice([None, *(f"{sign}{name}" for name in SORTS for sign in ("", "-"))])
            asked |= {} if sort is None else {"sort": sort}
            expected = in_order(fitting, sort)
            seen["rows"] += len(expected)
        try:
            agree(all_pages(client, asked, draw.choice([1, 3, 20, 500])), expected)
            if number % 10 == 0:
                file = client.get("/v1/history", params=asked | {"format": "ndjson"})
                agree([json.loads(line) for line in file.text.splitlines()], expected)
                seen["files"] += 1
        except AssertionError as error:
            raise AssertionError(f"question {number}: {asked}") from error
    assert min(seen.values()) > 3, seen
