"""The temperature stress test: how far a scorer can be trusted as responses drift from what it was trained on.

Four stages, each of which continues where a killed run left it: sample responses of a policy over a grid of
temperatures, score them, have oracles judge them, correlate. Files of the run directory:

- ``pins.json``           which version every name in the recipe means for this run
- ``prompts.jsonl``       ``prompt_id, prompt, task``
- ``responses.jsonl``     ``prompt_id, temperature, replicate, response, tokens, finish_reason, mean_logprob, sampler``
- ``scores.jsonl``        ``prompt_id, temperature, replicate, scorer, scorer_version, role, score, tokens,
  truncated_tokens, error``
- ``correlations.jsonl``  an Estimate with ``scorer_version`` and ``policy``; temperature null pools all
- ``curves.jsonl``, ``comparisons.jsonl``  a CurvePoint, a Comparison; see docs/statistics.md
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from evaluation.engine.scoring import ScoringEngine
from evaluation.generation.sampler import Question, grid
from evaluation.oracles import AnyOracle
from evaluation.oracles.oracle import Asked
from evaluation.prompt_marks import repeated
from evaluation.recipes.correlations import ScoreTable, write_findings
from evaluation.recipes.findings import find
from evaluation.recipes.judging import Opened, Oracles, ScorersAndControls, judge_missing
from evaluation.recipes.prompts import AnyPrompts, settle_prompts
from evaluation.recipes.row_log import RowLog
from evaluation.recipes.sampled_policy import AnySampledPolicy, Wanted
from evaluation.recipes.stored_rows import Row, cell_of, column_of, stored_response
from evaluation.run_files import CORRELATIONS_FILE, PROMPTS_FILE, RESPONSES_FILE, SCORES_FILE
from evaluation.scorers.controls import CONTROLS, family
from evaluation.scorers.scorer import Column, Scorer, StoredResponse
from evaluation.statistics.bootstrap import BootstrapSettings
from evaluation.workers import Workers
from evaluation.workers.settings import SharedLaunch, open_workers
from evaluation.workers.this_process import ThisProcess
from trainer.errors import InvalidInput, RunFailed
from trainer.generation.decoding import Decoding
from trainer.generation.truncation import Truncation
from trainer.outside import RegisteredScorer
from trainer.pins import settle_versions
from trainer.recipe import Recipe, Run

Temperature = Annotated[float, Field(ge=0, le=2)]


class StressTestRecipe(Recipe):
    """Sample a policy at many temperatures and see how well scorers agree with oracles at each."""

    kind: Literal["stress_test"] = "stress_test"
    policy: AnySampledPolicy
    """Whose responses are judged."""

    prompts: AnyPrompts
    temperatures: tuple[Temperature, ...] = Field(
        (0.0, 0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 1.75, 2.0), min_length=1, max_length=64
    )
    responses_per_prompt: int = Field(16, ge=1, le=4096)
    """At each temperature; at 0 there is one, as all would be equal."""

    max_response_tokens: int = Field(128, ge=1)
    top_p: float = Field(1.0, gt=0, le=1)
    """Sample from the fewest most probable tokens that have this share of the probability. 1, and 0 for the next two,
    cut nothing: a tail that is cut is what a high temperature is there to show."""

    top_k: int = Field(0, ge=0)
    """Sample from this many of the most probable tokens; 0: all."""

    min_p: float = Field(0.0, ge=0, le=1)
    """Sample from tokens at least this share as probable as the most probable."""

    scorers: tuple[RegisteredScorer, ...] = ()
    """Names of scorers, ``NAME[@VERSION][:OUTPUT]``. The trivial controls are added by themselves."""

    oracles: tuple[AnyOracle, ...] = Field(min_length=1)
    bootstrap: BootstrapSettings = BootstrapSettings()
    launch: SharedLaunch = SharedLaunch()

    @field_validator("temperatures")
    @classmethod
    def _distinct(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(temperatures)) < len(temperatures):
            raise ValueError("each temperature is named once")
        return temperatures

    def run(self, run: Run) -> dict[str, Any]:
        """Write the files above and return the summary."""
        pinned = settle_versions(self._names(), run.artifacts, run.directory)
        prompts = settle_prompts(self.prompts, run.directory / PROMPTS_FILE)
        scoring = ScorersAndControls(run.artifacts, [pinned[name] for name in self._learned()])
        judging = Oracles(run.artifacts, self.oracles, prompts, pinned, run.directory)
        with open_workers(self.launch, run.reporter.message) as workers:
            # opened before anything is sampled, so that a wrong name costs no hours
            with ScoringEngine(run.artifacts) as engine:
                scorers, oracles = scoring.open(engine), judging.open(engine)
            columns = _columns([*scorers, *oracles])
            responses = self._sample(run, prompts, pinned, workers)
            log = RowLog(run.directory / SCORES_FILE)
            judge_missing(run, log, "score", scorers, responses, workers, scoring)
            unanswered = self._judge(run, log, oracles, responses, workers, judging)
        remarks = [remark for oracle in oracles for remark in oracle.remarks]
        summary = self._correlate(run, responses, columns, self.policy.label(pinned), remarks)
        if unanswered:
            raise RunFailed(
                f"{'; '.join(unanswered)}. All else is kept and {CORRELATIONS_FILE} leaves these out: resume"
                " the run to ask for them alone"
            )
        return summary

    def _learned(self) -> list[str]:
        return [name for name in dict.fromkeys(self.scorers) if name not in CONTROLS]

    def _names(self) -> list[str]:
        asked = [name for oracle in self.oracles for name in oracle.artifacts()]
        return [*self.policy.artifacts(), *self._learned(), *asked]

    def _sample(
        self, run: Run, prompts: Sequence[Asked], pinned: dict[str, str], workers: Workers
    ) -> list[StoredResponse]:
        """Every response of the grid, sampling those that are missing."""
        log = RowLog(run.directory / RESPONSES_FILE)
        cells = grid([each.prompt_id for each in prompts], self.temperatures, self.responses_per_prompt)
        done = {cell_of(row) for row in log}
        if len(done) < len(cells):
            questions = [Question(each.prompt_id, each.prompt) for each in prompts]
            truncation = Truncation(top_k=self.top_k, top_p=self.top_p, min_p=self.min_p)
            decoding = Decoding(self.seed, self.max_response_tokens, truncation)
            wanted = Wanted(questions, cells, lambda cell: cell not in done, decoding)
            for sampled in self.policy.sample(run, pinned, wanted, workers):
                if new := [row for row in sampled or () if cell_of(row) not in done]:
                    log.append(new)
                    done.update(cell_of(row) for row in new)
                run.reporter.progress("sample", len(done), len(cells), unit="response")
                run.reporter.raise_if_stopped()
        by_id = {each.prompt_id: each for each in prompts}
        stored = {cell_of(row): stored_response(row, by_id) for row in log}
        responses = [stored[cell] for cell in cells]  # whatever the order they came in: they are scored in batches
        for remark in self.policy.remarks(responses):
            run.reporter.message(remark)
        return responses

    def _judge(
        self,
        run: Run,
        log: RowLog,
        oracles: Sequence[Scorer],
        responses: Sequence[StoredResponse],
        workers: Workers,
        work: Oracles,
    ) -> list[str]:
        """What oracles have not said yet; returns as ``judge_missing``. Servers elsewhere are asked by this process
        alone, where requests under way and money spent are counted.
        """
        told = list(zip(self.oracles, oracles, strict=True))
        asking = [oracle for settings, oracle in told if settings.asks_a_server]
        computing = [oracle for settings, oracle in told if not settings.asks_a_server]
        work = replace(work, settings=[settings for settings, _ in told if not settings.asks_a_server])
        return [
            *judge_missing(run, log, "judge", computing, responses, workers, work),
            *judge_missing(run, log, "judge", asking, responses, ThisProcess(), Opened(asking)),
        ]

    def _correlate(
        self,
        run: Run,
        responses: Sequence[StoredResponse],
        columns: Sequence[Column],
        policy: str,
        remarks: Sequence[str],
    ) -> dict[str, Any]:
        """Write the correlations and return the run's summary."""
        table = ScoreTable(responses, columns)
        scores = RowLog(run.directory / SCORES_FILE).rows()
        table.fill((cell_of(row), column_of(row), row["score"]) for row in scores)

        def watch(done: int, total: int) -> None:
            run.reporter.progress("correlate", done, total, unit="temperature")
            run.reporter.raise_if_stopped()

        numbers = table.table()
        found = find(numbers, self.bootstrap, self.seed, watch)
        write_findings(found, table.versions(), policy, run.directory)
        n_prompts = len({each.cell.prompt_id for each in responses})
        notices = [*repeated(n_prompts, numbers.n_prompts), *_lacking(table, scores, len(responses)), *remarks]
        for notice in notices:
            run.reporter.message(notice)
        return {
            "kind": self.kind,
            "policy": policy,
            "temperatures": list(self.temperatures),
            "n_prompts": numbers.n_prompts,
            "n_responses": len(responses),
            "scorers": [column.scorer for column in columns if column.role == "scorer"],
            "controls": list(dict.fromkeys(family(column.scorer) for column in columns if column.role == "control")),
            "oracles": [column.scorer for column in columns if column.role == "oracle"],
            "notices": notices,
        }


def _lacking(table: ScoreTable, scores: Sequence[Row], n_responses: int) -> list[str]:
    """How many scores each column lacks, and for what reasons where they are known."""
    reasons: dict[Column, Counter[str]] = {}
    for row in scores:
        if row["error"] is not None:
            reasons.setdefault(column_of(row), Counter())[row["error"]["code"]] += 1
    told: dict[tuple[int, str], list[str]] = {}
    for label, column, count in table.missing():
        why = ", ".join(f"{number} {code}" for code, number in reasons.get(column, Counter()).most_common())
        told.setdefault((count, why), []).append(label)
    return [
        f"no score for {count:,} of {n_responses:,} responses from {', '.join(labels)}" + (f" ({why})" if why else "")
        for (count, why), labels in told.items()
    ]


def _columns(scorers: Sequence[Scorer]) -> list[Column]:
    """Every series of scores the run will have. Raises InvalidInput for one that is asked for twice."""
    columns = [column for scorer in scorers for column in scorer.columns]
    for column, count in Counter(columns).items():
        if count > 1:
            raise InvalidInput(f"{column.scorer} is named {count} times as {column.role}; name it once")
    return columns
