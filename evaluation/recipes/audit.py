"""Audit scorers on judged responses somebody already has: the stress test's statistics, without sampling.

Beside ``correlations.jsonl``, ``curves.jsonl`` and ``comparisons.jsonl`` the run directory has ``pins.json``, which
version every registered scorer's name means for this run, ``prompt_marks.json``, by which the history tells
which prompts runs share, and what the ``judges`` said.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from evaluation.judged import read_judged
from evaluation.judged_columns import JudgedColumns, is_registered
from evaluation.oracles import AnyOracle
from evaluation.prompt_marks import repeated, write_marks
from evaluation.recipes.audit_judging import Judged, judge_rows
from evaluation.recipes.correlations import write_findings
from evaluation.recipes.findings import Findings, Table, as_rows, find
from evaluation.recipes.pair_scoring import scoring_pairs
from evaluation.scorers.controls import CONTROLS, family
from evaluation.statistics.bootstrap import BootstrapSettings
from trainer.data.text import OnOverlong
from trainer.files import read_jsonl
from trainer.outside import LocalPath, RegisteredScorer
from trainer.recipe import ArtifactName, Recipe, Run
from trainer.reporting import Reporter

Names = Annotated[list[RegisteredScorer], Field(min_length=1)]


class AuditRecipe(Recipe):
    """How well scorers agree with oracles on the rows of a judged-responses file."""

    kind: Literal["audit"] = "audit"
    name: ArtifactName = "audit"
    path: LocalPath
    """JSONL file of judged responses; see docs/statistics.md."""

    scorers: Names
    """``recorded:NAME`` for one in the file, a trivial control, or a registered scorer."""

    oracles: list[RegisteredScorer] = Field(default_factory=list)
    """Whom to trust; named as scorers are. At least one, unless there are ``judges``."""

    judges: tuple[AnyOracle, ...] = ()
    """Oracles that judge the rows in this run, set up as a stress test's are: a language model, a checker, ..."""

    cluster: str | None = None
    """One of the rows' ``clusters`` that also makes responses alike, such as ``policy``; prompts always do."""

    limit: int | None = Field(None, ge=1)
    """How many rows to read; all unless said."""

    on_overlong: OnOverlong = "error"
    """Whether a registered scorer may drop a prompt's oldest tokens; if not, an overlong row has no score."""

    bootstrap: BootstrapSettings = BootstrapSettings()

    @model_validator(mode="after")
    def _trusts_somebody(self) -> Self:
        if not self.oracles and not self.judges:
            raise ValueError("oracles: name at least one, or give judges")
        return self

    def run(self, run: Run) -> dict[str, Any]:
        """Write correlations, curves and comparisons, and return the summary that docs/statistics.md describes."""
        path = Path(self.path)
        notices: list[str] = []
        asked = list(dict.fromkeys([*self.scorers, *self.oracles]))
        registered = [name for name in asked if is_registered(name)]
        # what a model is compared with; who asks for controls alone gets those asked for
        learned = any(name not in CONTROLS for name in self.scorers)
        added = [name for name in CONTROLS if learned and name not in asked]
        beside = [name for name in dict.fromkeys(self.scorers) if is_registered(name)]
        judged = judge_rows(self.judges, read_judged(path, self.limit), run)
        with scoring_pairs(run, registered, self.on_overlong, beside=beside) as scoring:
            names = [*asked, *scoring.untrained]
            columns = JudgedColumns(names, controls=added, cluster=self.cluster, score=scoring.score)
            lines = read_judged(path, self.limit, say=notices.append)
            columns.read(lines, _watch(run.reporter, path, self.limit) if registered else lambda _: None)
        scorers = [*dict.fromkeys(self.scorers), *(name for name in added if columns.known(name))]
        run.reporter.message(
            f"{columns.n_rows} responses to {columns.n_prompts} prompts, {self.bootstrap.draws} bootstrap draws"
        )
        found = self._find(columns, scorers, scoring.untrained, judged, run.reporter)
        notices += repeated(columns.n_prompt_ids, columns.n_prompts)
        notices += judged.remarks
        notices += _error_notices(columns.errors, columns.n_rows, asked)
        for notice in notices:
            run.reporter.message(notice)
        if self.cluster is None and not columns.untold:  # or runs on other prompts may move together
            write_marks(columns.prompt_marks, run.directory)
        write_findings(found, scoring.versions, None, run.directory)
        estimates, curves, comparisons = as_rows(found, scoring.versions, None)
        return {
            "kind": self.kind,
            "path": self.path,
            "n_responses": columns.n_rows,
            "n_prompts": columns.n_prompts,
            "temperatures": sorted({each.temperature for each in found.estimates if each.temperature is not None}),
            "scorers": scorers,
            "untrained": list(dict.fromkeys(map(family, scoring.untrained))),
            "oracles": [*self.oracles, *judged.values],
            "cluster": self.cluster,
            "notices": notices,
            "estimates": estimates,
            "curves": curves,
            "comparisons": comparisons,
        }

    def _find(
        self,
        columns: JudgedColumns,
        scorers: Sequence[str],
        untrained: Sequence[str],
        judged: Judged,
        reporter: Reporter,
    ) -> Findings:
        def watch(done: int, total: int) -> None:
            if total > 1:
                reporter.progress("correlate", done, total, unit="temperature")
            reporter.raise_if_stopped()

        table = Table(
            prompt=columns.prompt,
            n_prompts=columns.n_prompts,
            temperature=columns.temperature,
            scorers={name: columns.values(name) for name in scorers},
            untrained={name: columns.values(name) for name in untrained},
            oracles={name: columns.values(name) for name in self.oracles} | judged.values,
            second=columns.cluster,
            second_names=columns.cluster_names,
            length=columns.length,
            truncated=columns.truncated,
            texts=columns.texts,
        )
        return find(table, self.bootstrap, self.seed, watch)


def _watch(reporter: Reporter, path: Path, limit: int | None) -> Callable[[int], None]:
    """Shows how many rows are scored, and honours a stop between some and the next."""
    total = sum(1 for _ in read_jsonl(path, limit))

    def watch(done: int) -> None:
        reporter.raise_if_stopped()
        reporter.progress("score", done, total, unit="response")

    watch(0)
    return watch


def _error_notices(errors: dict[str, tuple[int, str]], n_rows: int, asked: Sequence[str]) -> list[str]:
    """What scorers could not do; untrained twins fail where what they stand beside does."""
    return [
        f"{name} could not score {count} of {n_rows} responses; the first: {first}"
        for name, (count, first) in errors.items()
        if name in asked
    ]
