"""Store what a finished run left in its directory: prompts, responses, scores and correlations.

The files are the run's; this is the only place that knows both their form and the tables'.
"""

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from evaluation.prompt_marks import MARKS_FILE, mark_of
from evaluation.run_files import (
    COMPARISONS_FILE,
    CORRELATIONS_FILE,
    CURVES_FILE,
    PROMPTS_FILE,
    RESPONSES_FILE,
    SCORES_FILE,
)
from evaluation.scorers.controls import family
from service.db.bulk import insert_rows
from service.db.correlation_columns import store_columns
from service.db.deleting import ROWS_AT_ONCE
from service.db.ids import new_id
from service.db.prompt_sets import add_prompts
from service.db.tables import Comparison, Correlation, Curve, Prompt, Response, Score, StressTest, Table
from service.db.trust import store_weakest
from trainer.errors import RunFailed
from trainer.files import read_jsonl
from trainer.manifest import code_version
from trainer.run import RESULT_FILE, read_result

_COPIED = ("oracle", "stratum", "n_prompts", "n_responses", "n_dropped", "method", "undefined_reason")
_COUNTS = ("n_total", "n_truncated", "n_constant_prompts")
"""Missing in files of earlier versions."""
_NUMBERS = ("temperature", "estimate", "lower", "upper", "standard_error")

Row = dict[str, Any]
Batch = list[tuple[type[Table], list[Row]]]


class Ingestion:
    """One pass over a run's files, remembering which line is which prompt and response.

    First ``batches``, each inserted in a transaction of its own or all in one, then ``conclude``. The rows of a run
    whose job has not succeeded are nobody's to see: they are not all there, or those of an attempt before.
    """

    def __init__(self, run: str, directory: Path) -> None:
        self._run = run
        self._directory = directory
        self._prompts: dict[str, int] = {}
        self._marks: list[str] = []
        self._responses: dict[tuple[int, float | None, int], int] = {}
        self._names: dict[str, dict[str, None]] = {"scorer": {}, "control": {}, "oracle": {}}

    def batches(self) -> Iterator[Batch]:
        """Prompts, responses and scores, so many rows at a time. Raises RunFailed and what reading the files raises."""
        rows = chain(
            self._rows(Prompt, PROMPTS_FILE, self._prompt),
            self._rows(Response, RESPONSES_FILE, self._response),
            self._rows(Score, SCORES_FILE, self._score),
        )
        while some := list(islice(rows, ROWS_AT_ONCE)):
            yield [(table, [row for _, row in group]) for table, group in groupby(some, key=itemgetter(0))]

    def conclude(self, session: Session, kind: str) -> None:
        """Store what follows from them: estimates, and of a stress test what it was. Raises as ``batches`` does.

        They are of this moment, for storing the rest took minutes, and who asked meanwhile for what came since must
        find them the next time.
        """
        self._now = datetime.now(UTC)
        if (marks := self._directory / MARKS_FILE).exists():
            self._marks += json.loads(marks.read_text(encoding="utf-8"))
        add_prompts(session, self._run, self._marks)
        for table, name, convert, numbered in (
            (Correlation, CORRELATIONS_FILE, self._correlation, True),
            (Curve, CURVES_FILE, self._curve, True),
            (Comparison, COMPARISONS_FILE, self._comparison, False),
        ):
            self.insert(session, [(table, [row for _, row in self._rows(table, name, convert, numbered=numbered)])])
        store_weakest(session, self._run)
        store_columns(session, self._run)
        if kind == "stress_test":
            session.add(self._stress_test())
            session.flush()

    def insert(self, session: Session, batch: Batch) -> None:
        """Raises RunFailed for rows that contradict each other."""
        try:
            for table, rows in batch:
                insert_rows(session, Table.metadata.tables[table.__tablename__], rows)
        except IntegrityError as error:
            raise RunFailed(f"the files in {self._directory} contradict each other: {error.orig}") from error

    def _rows(
        self, table: type[Table], name: str, convert: Callable[[Row], Row], *, numbered: bool = True
    ) -> Iterator[tuple[type[Table], Row]]:
        """``numbered`` tables know their rows by run and line; others by what ``convert`` says."""
        path = self._directory / name
        if not path.exists():  # an audit has no prompts of its own
            return
        for line, row in read_jsonl(path):
            try:
                place = {"run": self._run, "number": line} if numbered else {}
                yield table, {**place, **convert({**row, "number": line})}
            except KeyError as error:
                raise RunFailed(f"{path}, line {line}: {error.args[0]!r} is missing or unknown") from error

    def _prompt(self, row: Row) -> Row:
        self._prompts[row["prompt_id"]] = row["number"]
        self._marks.append(mark_of(row["prompt"], row["prompt_id"]))
        return {"prompt_id": row["prompt_id"], "content": row["prompt"], "task": row.get("task")}

    def _response(self, row: Row) -> Row:
        prompt, temperature, replicate = cell = self._cell(row)
        self._responses[cell] = row["number"]
        return {
            "prompt": prompt,
            "temperature": temperature,
            "replicate": replicate,
            "response": row["response"],
            "tokens": row.get("tokens"),
            "finish_reason": row.get("finish_reason"),
            "mean_logprob": _finite(row.get("mean_logprob")),
            "sampler": row.get("sampler"),
        }

    def _score(self, row: Row) -> Row:
        error = row.get("error") or {}
        self._names[row["role"]].setdefault(family(row["scorer"]))
        return {
            "response": self._responses[self._cell(row)],
            "scorer": row["scorer"],
            "scorer_version": row.get("scorer_version"),
            "role": row["role"],
            "score": _finite(row["score"]),
            "tokens": row.get("tokens"),
            "truncated_tokens": row.get("truncated_tokens"),
            "error_code": error.get("code"),
            "error_detail": error.get("detail"),
        }

    def _correlation(self, row: Row) -> Row:
        return {
            **self._estimated(row),
            **{name: row[name] for name in ("scorer", "statistic")},
            "policy": row.get("policy"),
            "scorer_version": row.get("scorer_version"),
        }

    def _curve(self, row: Row) -> Row:
        return {
            **self._estimated(row),
            **{name: row[name] for name in ("scorer", "curve", "x")},
            "scorer_version": row.get("scorer_version"),
        }

    def _comparison(self, row: Row) -> Row:
        return {
            **self._estimated(row),
            **{name: row[name] for name in ("scorer_a", "scorer_b", "statistic", "verdict")},
            "id": new_id("cmp"),
            "run_a": self._run,
            "run_b": self._run,
        }

    def _estimated(self, row: Row) -> Row:
        return {
            **{name: row[name] for name in _COPIED},
            **{name: row.get(name) for name in _COUNTS},
            **{name: _finite(row[name]) for name in _NUMBERS},
            "code_version": code_version(),
            "created_at": self._now,
        }

    def _stress_test(self) -> StressTest:
        summary = (read_result(self._directory) or {}).get("result") or {}
        if "policy" not in summary:
            raise RunFailed(f"{self._directory / RESULT_FILE} does not name the policy")
        return StressTest(
            id=self._run,
            policy=summary["policy"],
            temperatures=sorted({temperature for _, temperature, _ in self._responses if temperature is not None}),
            n_prompts=len(self._prompts),
            n_responses=len(self._responses),
            scorers=[*self._names["scorer"], *self._names["control"]],
            oracles=[*self._names["oracle"]],
            code_version=code_version(),
            created_at=self._now,
        )

    def _cell(self, row: Row) -> tuple[int, float | None, int]:
        """A response's place in the design: number of its prompt, temperature, replicate."""
        return self._prompts[row["prompt_id"]], _finite(row["temperature"]), int(row["replicate"])


def _finite(value: float | None) -> float | None:
    """A number both databases and JSON can hold, or None: NaN is a missing value here, never a number."""
    return None if value is None or not math.isfinite(value) else float(value)
