"""Two runs of the database, or two scorers of them, compared on the responses or prompts that they share."""

import json
from collections import defaultdict
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from evaluation.statistics.bootstrap import BootstrapSettings
from evaluation.statistics.run_comparison import RunComparison, RunScores, compare_runs
from service.db.browsing import voices_of
from service.db.queries import find_job
from service.db.samples import is_stored
from service.db.tables import Prompt, Response, Score
from service.jobs.kinds import EVALUATION_KINDS
from trainer.errors import InvalidInput


def compared_runs(
    session: Session,
    run_a: str,
    run_b: str,
    *,
    scorer_a: str | None = None,
    scorer_b: str | None = None,
    settings: BootstrapSettings,
) -> list[RunComparison]:
    """Differences of r within prompts, by scorer, oracle and temperature.

    Without scorers, every learned scorer of the first run is compared with that of its name in the second; one
    scorer named for the first run stands for both unless another is named for the second. Oracles are told apart by
    their versions. Raises NotFound for a run that does not exist and InvalidInput where there is nothing to compare.
    """
    a = read_scores(session, run_a)
    b = a if run_a == run_b else read_scores(session, run_b)
    return compared_scores((run_a, a), (run_b, b), scorer_a=scorer_a, scorer_b=scorer_b, settings=settings)


def compared_scores(
    one: tuple[str, RunScores],
    other: tuple[str, RunScores],
    *,
    scorer_a: str | None = None,
    scorer_b: str | None = None,
    settings: BootstrapSettings,
) -> list[RunComparison]:
    """As ``compared_runs``, of runs that were read already, each with its name."""
    (run_a, a), (run_b, b) = one, other
    if scorer_a is None and scorer_b is None:
        pairs = [(name, name) for name in a.scorers if name in b.scorers]
        if run_a == run_b:
            raise InvalidInput("a run compared with itself needs two scorers: name scorer_a and scorer_b")
        if not pairs:
            raise InvalidInput(
                f"no scorer scored both runs; the first has {_listed(a)}, the second {_listed(b)}: "
                "name scorer_a and scorer_b"
            )
    else:
        pairs = [(scorer_a or scorer_b or "", scorer_b or scorer_a or "")]
    for run, scores, names in ((run_a, a, {one for one, _ in pairs}), (run_b, b, {other for _, other in pairs})):
        if unknown := sorted(names - set(scores.scorers)):
            raise InvalidInput(f"{run} has no scores of {unknown[0]!r}; it has {_listed(scores)}")
    return compare_runs(a, b, pairs, settings)


def read_scores(session: Session, run: str) -> RunScores:
    """Every learned scorer's and every oracle's values of a stress test. Raises NotFound or InvalidInput."""
    job = find_job(session, run, EVALUATION_KINDS)
    rows = session.execute(
        select(Response.number, Response.temperature, Response.response, Prompt.content)
        .join(Prompt, (Prompt.run == Response.run) & (Prompt.number == Response.prompt))
        .where(Response.run == run, is_stored(run))
        .order_by(Response.number)
    ).all()
    if not rows:
        raise InvalidInput(
            f"{run} keeps no scores of single responses ({job.kind}, {job.status}); compare stress tests"
        )
    place = {number: index for index, (number, *_) in enumerate(rows)}
    columns: dict[tuple[str, str, int | None], Any] = defaultdict(lambda: np.full(len(rows), np.nan))
    scores = select(Score.role, Score.scorer, Score.scorer_version, Score.response, Score.score).where(
        Score.run == run, Score.role != "control"
    )
    for role, scorer, version, response, score in session.execute(scores.order_by(Score.number)):
        columns[role, scorer, version][place[response]] = np.nan if score is None else score
    return RunScores(
        prompts=[_text(content) for *_, content in rows],
        temperature=np.array([np.nan if t is None else t for _, t, *_ in rows], dtype=np.float64),
        responses=[response for _, _, response, _ in rows],
        scorers=_named(_of(columns, "scorer")),
        oracles={_versioned(*key): values for key, values in _of(columns, "oracle").items()},
    )


def scorers_of(session: Session, run: str) -> list[str]:
    """What ``read_scores`` calls the learned scorers of a run, without reading their scores."""
    return list(_named({(each.name, each.version): None for each in voices_of(session, run) if each.role == "scorer"}))


def _of(columns: dict[tuple[str, str, int | None], Any], role: str) -> dict[tuple[str, int | None], Any]:
    """One role's columns by name and version."""
    return {(name, version): values for (its, name, version), values in columns.items() if its == role}


def _named(columns: dict[tuple[str, int | None], Any]) -> dict[str, Any]:
    """Columns by the scorer's name, with its version where two versions scored the run."""
    names = [scorer for scorer, _ in columns]
    return {
        scorer if names.count(scorer) == 1 else _versioned(scorer, version): values
        for (scorer, version), values in columns.items()
    }


def _versioned(name: str, version: int | None) -> str:
    """Versions of an oracle judge differently, so only the same one is common to two runs."""
    return name if version is None else f"{name}@{version}"


def _text(content: Any) -> str:  # noqa: ANN401 - a text or messages
    """Equal for prompts that say the same; a text is what the user says."""
    turns = [{"role": "user", "content": content}] if isinstance(content, str) else content
    return json.dumps(turns, sort_keys=True, ensure_ascii=False)


def _listed(scores: RunScores) -> str:
    return ", ".join(scores.scorers) or "none"
