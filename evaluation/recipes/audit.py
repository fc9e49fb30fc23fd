"""Audit scorers on judged responses somebody already has: the stress test's statistics, without sampling."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from evaluation.judged import read_judged
from evaluation.judged_columns import JudgedColumns, Lines, is_registered
from evaluation.recipes.correlations import correlation_row, write_correlations
from evaluation.recipes.pair_scoring import scoring_pairs
from evaluation.scorers.controls import CONTROLS
from evaluation.statistics.averages import averages
from evaluation.statistics.bootstrap import BootstrapSettings
from evaluation.statistics.correlation import correlate
from evaluation.statistics.estimate import Estimate
from trainer.data.text import OnOverlong
from trainer.files import read_jsonl
from trainer.recipe import ArtifactName, Recipe, Run
from trainer.reporting import Reporter

Names = Annotated[list[str], Field(min_length=1)]


class AuditRecipe(Recipe):
    """How well scorers agree with oracles on the rows of a judged-responses file."""

    kind: Literal["audit"] = "audit"
    name: ArtifactName = "audit"
    path: str
    """JSONL file of judged responses; see docs/statistics.md."""

    scorers: Names
    """``recorded:NAME`` for one in the file, a trivial control, or a registered scorer."""

    oracles: Names
    """Whom to trust; named as scorers are."""

    cluster: str | None = None
    """One of the rows' ``clusters`` that also makes responses alike, such as ``policy``; prompts always do."""

    limit: int | None = Field(None, ge=1)
    """How many rows to read; all unless said."""

    on_overlong: OnOverlong = "error"
    """Whether a registered scorer may drop a prompt's oldest tokens; if not, an overlong row has no score."""

    bootstrap: BootstrapSettings = BootstrapSettings()

    def run(self, run: Run) -> dict[str, Any]:
        """Write ``correlations.jsonl`` and return the summary that docs/statistics.md describes."""
        path = Path(self.path)
        notices: list[str] = []
        asked = list(dict.fromkeys([*self.scorers, *self.oracles]))
        registered = [name for name in asked if is_registered(name)]
        # what a model is compared with; who asks for controls alone gets those asked for
        learned = any(name not in CONTROLS for name in self.scorers)
        added = [name for name in CONTROLS if learned and name not in asked]
        with scoring_pairs(run.artifacts, registered, self.on_overlong) as (score, versions):
            columns = JudgedColumns(asked, controls=added, cluster=self.cluster, score=score)
            lines = read_judged(path, self.limit, say=notices.append)
            columns.read(_watched(lines, run.reporter, _count(path, self.limit)) if registered else lines)
        scorers = [*dict.fromkeys(self.scorers), *(name for name in added if columns.known(name))]
        run.reporter.message(
            f"{columns.n_rows} responses to {columns.n_prompts} prompts, {self.bootstrap.draws} bootstrap draws"
        )
        estimates = audit(columns, scorers, self.oracles, self.bootstrap, self.seed)
        notices += _error_notices(columns.errors, columns.n_rows)
        for notice in notices:
            run.reporter.message(notice)
        rows = [correlation_row(each, versions.get(each.scorer), None) for each in estimates]
        write_correlations(rows, run.directory)
        return {
            "kind": self.kind,
            "path": self.path,
            "n_responses": columns.n_rows,
            "n_prompts": columns.n_prompts,
            "temperatures": _temperatures(columns),
            "scorers": scorers,
            "oracles": self.oracles,
            "cluster": self.cluster,
            "notices": notices,
            "estimates": rows,
        }


def audit(
    columns: JudgedColumns, scorers: Sequence[str], oracles: Sequence[str], bootstrap: BootstrapSettings, seed: int
) -> list[Estimate]:
    """Every statistic of all rows, then of the rows at each recorded temperature, there with means as well."""
    estimates: list[Estimate] = []
    for temperature in (None, *_temperatures(columns)):
        rows = np.ones(columns.n_rows, dtype=bool) if temperature is None else columns.temperature == temperature
        settings: dict[str, Any] = {
            **bootstrap.model_dump(),
            "seed": seed,
            "second_cluster": None if columns.cluster is None else columns.cluster[rows],
            "temperature": temperature,
        }
        scored = {name: columns.values(name)[rows] for name in scorers}
        judged = {name: columns.values(name)[rows] for name in oracles}
        estimates += correlate(columns.prompt[rows], scored, judged, **settings)
        if temperature is not None:
            trivial = {name: scored[name] for name in scored if name in CONTROLS}
            estimates += averages(columns.prompt[rows], judged | trivial, **settings)
    return estimates


def _temperatures(columns: JudgedColumns) -> list[float]:
    return [float(each) for each in np.unique(columns.temperature) if np.isfinite(each)]


def _watched(lines: Lines, reporter: Reporter, total: int) -> Lines:
    """The same lines, with progress shown and a stop honoured between them."""
    for done, line in enumerate(lines):
        reporter.raise_if_stopped()
        reporter.progress("score", done, total, unit="response")
        yield line
    reporter.progress("score", total, total, unit="response")


def _count(path: Path, limit: int | None) -> int:
    return sum(1 for _ in read_jsonl(path, limit))


def _error_notices(errors: dict[str, tuple[int, str]], n_rows: int) -> list[str]:
    return [
        f"{name} could not score {count} of {n_rows} responses; the first: {first}"
        for name, (count, first) in errors.items()
    ]
