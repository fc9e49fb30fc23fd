"""What ``benchmarks.history`` asks a server for, each a little different every time: pages, lists, groups, files."""

import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from benchmarks.history_database import (
    CONTROLS,
    NEWEST,
    ORACLES,
    POLICIES,
    SCORERS,
    SPAN,
    STATISTICS,
    TEAMS,
    TEMPERATURES,
    Size,
    run_id,
)

Ask = Callable[[random.Random], str]

FILES = ("csv", "ndjson", "parquet")
FIRST_BYTE = "first byte: "
"""What a name begins with where the time ends at the first byte."""


def asked(size: Size) -> dict[str, Ask]:
    """By what a reader would call it."""
    return {**_pages(), **_runs(size), **_lists(), **_groups(), **_files()}


def about(made: random.Random) -> dict[str, Any]:
    """One statistic, oracle, stratum and temperature."""
    return {
        "statistic": made.choice(STATISTICS),
        "oracle": made.choice(ORACLES),
        "stratum": "all",
        "temperature": made.choice([*TEMPERATURES[1:], "pooled"]),
    }


def history(**fields: object) -> str:
    """An address of the API's history."""
    return "/v1/history?" + urlencode(fields, doseq=True)


def page(path: str, **fields: object) -> str:
    """An address of the dashboard."""
    return f"{path}?{urlencode(fields, doseq=True)}"


def _since(made: random.Random) -> str:
    return (NEWEST - SPAN * made.random()).isoformat()


def _pages() -> dict[str, Ask]:
    return {
        "page `/`": lambda _: "/",
        "page `/history`": lambda made: page("/history", **about(made)),
        "page `/history`, a point for each week": lambda made: page("/history", **about(made), every="week"),
        "page `/history`, a point for each day": lambda made: page("/history", **about(made), every="day"),
        "page `/history`, by policy": lambda made: page("/history", **about(made), by="policy"),
        "page `/history`, by version, each month": lambda made: page(
            "/history", **about(made), by="version", every="month"
        ),
        "page `/runs`": lambda _: "/runs",
        "page `/runs` of a scorer": lambda made: page("/runs", scorer=made.choice(SCORERS)),
        "page `/runs` by an oracle": lambda made: page("/runs", oracle=made.choice(ORACLES)),
        "page `/runs` of a policy, by name": lambda made: page("/runs", policy=made.choice(POLICIES), sort="name"),
        "page `/runs`, the surest first": lambda _: "/runs?sort=surest",
        "page `/runs` of an oracle, the surest first": lambda made: page(
            "/runs", oracle=made.choice(ORACLES), sort="surest"
        ),
        "page `/runs` of a scorer, the least sure first": lambda made: page(
            "/runs", scorer=made.choice(SCORERS), sort="least_sure"
        ),
        "page `/jobs`": lambda _: "/jobs",
        "page `/jobs` with a label": lambda made: page("/jobs", label=f"team={made.choice(TEAMS)}"),
        "page `/artifacts`": lambda _: "/artifacts",
        "page `/monitoring`": lambda _: "/monitoring",
        "page `/compare`, to choose": lambda _: "/compare",
        "`/metrics`": lambda _: "/metrics",
    }


def _runs(size: Size) -> dict[str, Ask]:
    def one(made: random.Random) -> str:
        return run_id(made.randrange(size.runs), size)

    def figure(name: str) -> Ask:
        return lambda made: f"/runs/{one(made)}/figures/{name}.json"

    return {
        "page of a run": lambda made: f"/runs/{one(made)}",
        "figure of a run, its agreement": figure("agreement"),
        "figure of a run, three ways to ask": figure("ways"),
        "page of a run's responses": lambda made: f"/runs/{one(made)}/responses",
        "page of a run's responses, by disagreement": lambda made: page(
            f"/runs/{one(made)}/responses", order="disagreement"
        ),
        "page of a response": lambda made: f"/runs/{one(made)}/responses/{made.randrange(1, size.responses_each + 1)}",
        "stress tests": lambda _: "/v1/stress-tests",
        "stress tests of a policy": lambda made: page("/v1/stress-tests", policy=made.choice(POLICIES)),
        "stress tests with a label": lambda made: page("/v1/stress-tests", label=f"team={made.choice(TEAMS)}"),
        "a run's correlations": lambda made: f"/v1/stress-tests/{one(made)}/correlations",
        "a run's responses": lambda made: f"/v1/stress-tests/{one(made)}/responses",
        "a run's responses of one temperature": lambda made: page(
            f"/v1/stress-tests/{one(made)}/responses", temperature=2
        ),
        "a run's scores": lambda made: f"/v1/stress-tests/{one(made)}/scores",
        "a run's scores by one scorer": lambda made: page(f"/v1/stress-tests/{one(made)}/scores", scorer="scorer-9"),
    }


def _lists() -> dict[str, Ask]:
    where = "temperature >= 1.5 and stratum == 'all' and ({} or scorer == '{}')"
    apart = "scorer == '{}' or scorer == '{}' and temperature == null or label.team == '{}' and upper < 0"
    return {
        "newest 100 before some time": lambda made: history(limit=100, created_before=_since(made)),
        "newest 500 before some time": lambda made: history(limit=500, created_before=_since(made)),
        "oldest 100 since some time": lambda made: history(sort="created_at", created_after=_since(made)),
        "one statistic, oracle, stratum and temperature": lambda made: history(**about(made)),
        "the same of two scorers, by estimate": lambda made: history(
            **about(made), scorer=made.sample(SCORERS, 2), sort="estimate"
        ),
        "one scorer": lambda made: history(scorer=made.choice(SCORERS + CONTROLS)),
        "one scorer and statistic": lambda made: history(
            scorer=made.choice(SCORERS), statistic=made.choice(STATISTICS)
        ),
        "one scorer's version": lambda made: history(scorer=made.choice(SCORERS), scorer_version=made.randrange(1, 21)),
        "one oracle": lambda made: history(oracle=made.choice(ORACLES)),
        "one stratum": lambda made: history(stratum="non_degenerate"),
        "one statistic": lambda made: history(statistic=made.choice(STATISTICS)),
        "one policy since a day": lambda made: history(policy=made.choice(POLICIES), created_after=_since(made)),
        "one statistic, by estimate": lambda made: history(statistic=made.choice(STATISTICS), sort="-estimate"),
        "one statistic, `where` that few rows fit": lambda made: history(
            statistic=made.choice(STATISTICS), where=f"lower > 0.6{made.randrange(100)} and upper < 0.8"
        ),
        "one statistic at T of 1.5 or more": lambda made: history(
            statistic=made.choice(STATISTICS), temperature_min=1.5
        ),
        "one statistic of jobs with a label": lambda made: history(
            label=f"team={made.choice(TEAMS)}", statistic=made.choice(STATISTICS)
        ),
        "a job's name, that of 50 runs": lambda made: history(name=f"nightly-{made.randrange(10)}"),
        "`where` with `and` and `or`": lambda made: history(
            statistic=made.choice(STATISTICS),
            where=where.format(f"policy == '{made.choice(POLICIES)}'", made.choice(SCORERS)),
        ),
        "`where` with `or` alone": lambda made: history(
            where=apart.format(made.choice(SCORERS), made.choice(CONTROLS), made.choice(TEAMS))
        ),
    }


def _groups() -> dict[str, Ask]:
    def but(made: random.Random, *names: str) -> dict[str, Any]:
        return {name: value for name, value in about(made).items() if name not in names}

    return {
        "each week and scorer combined": lambda made: history(
            **about(made), group_by=["week", "scorer"], agg="combined"
        ),
        "the latest of each scorer and temperature": lambda made: history(
            **but(made, "temperature"), group_by=["scorer", "temperature"]
        ),
        "the latest of each scorer": lambda made: history(statistic=made.choice(STATISTICS), group_by="scorer"),
        "the latest of each scorer and statistic": lambda _: history(group_by=["scorer", "statistic"]),
        "the latest of each scorer by each oracle": lambda made: history(
            **but(made, "oracle"), group_by=["scorer", "oracle"]
        ),
        "the latest of each policy": lambda made: history(**about(made), group_by="policy"),
        "the least of each week and scorer at T of 1.5 or more": lambda made: history(
            **but(made, "temperature"), temperature_min=1.5, group_by=["week", "scorer"], agg="min", sort="week"
        ),
        "the least of each scorer": lambda made: history(
            statistic=made.choice(STATISTICS), group_by="scorer", agg="min"
        ),
        "the mean of each scorer's version": lambda made: history(
            **about(made), group_by=["scorer", "scorer_version"], agg="mean"
        ),
        "each scorer combined at each temperature": lambda made: history(
            **but(made, "temperature"), group_by=["scorer", "temperature"], agg="combined"
        ),
        "each scorer and statistic combined, by one oracle over all T": lambda made: history(
            oracle=made.choice(ORACLES),
            stratum="all",
            temperature="pooled",
            group_by=["scorer", "statistic"],
            agg="combined",
        ),
        "the mean of each statistic and temperature of one scorer": lambda made: history(
            scorer=made.choice(SCORERS), stratum="all", group_by=["statistic", "temperature"], agg="mean"
        ),
        "each scorer combined, `where` with `and`, `or` and a label": lambda made: history(
            **but(made, "oracle"),
            where=f"policy == '{made.choice(POLICIES)}' or label.team == '{made.choice(TEAMS)}' and upper > 0",
            group_by=["scorer", "oracle"],
            agg="combined",
        ),
        "how many of each scorer": lambda made: history(
            statistic=made.choice(STATISTICS), group_by="scorer", agg="count"
        ),
        "how many of each statistic and month": lambda _: history(group_by=["statistic", "month"], agg="count"),
    }


def _files() -> dict[str, Ask]:
    grouped = {"group_by": ["week", "scorer"], "agg": "combined", "sort": "week"}
    return {
        **{f"{FIRST_BYTE}everything as {kind}": _file(format=kind) for kind in FILES},
        f"{FIRST_BYTE}one statistic as csv": lambda made: history(format="csv", statistic=made.choice(STATISTICS)),
        f"{FIRST_BYTE}each week and scorer combined as csv": lambda made: history(
            **about(made), format="csv", **grouped
        ),
    }


def _file(**fields: str) -> Ask:
    return lambda _: history(**fields)
