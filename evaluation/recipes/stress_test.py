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
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, field_validator

from evaluation.engine.scoring import ScoringEngine
from evaluation.generation.local import LocalSampler
from evaluation.generation.sampler import Question, grid
from evaluation.oracles import AnyOracle
from evaluation.oracles.oracle import Asked
from evaluation.recipes.correlations import ScoreTable, write_findings
from evaluation.recipes.findings import find
from evaluation.recipes.prompts import AnyPrompts, settle_prompts
from evaluation.recipes.row_log import RowLog
from evaluation.recipes.stored_rows import (
    cell_of,
    column_of,
    response_row,
    score_row,
    stored_response,
)
from evaluation.scorers.controls import CONTROLS
from evaluation.scorers.registered import RegisteredScorers
from evaluation.scorers.scorer import Column, Scorer, StoredResponse
from evaluation.scorers.trivial import TrivialScorers
from evaluation.statistics.bootstrap import BootstrapSettings
from trainer.errors import InvalidInput
from trainer.models.starting_point import PolicyOrigin
from trainer.pins import settle_versions
from trainer.recipe import Recipe, Run

PROMPTS_FILE = "prompts.jsonl"
RESPONSES_FILE = "responses.jsonl"
SCORES_FILE = "scores.jsonl"

_RESPONSES_AT_ONCE = 512

Temperature = Annotated[float, Field(ge=0, le=2)]


class SampledPolicy(PolicyOrigin):
    """The policy to sample from."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of its weights in memory; bfloat16 takes half of it."""


class StressTestRecipe(Recipe):
    """Sample a policy at many temperatures and see how well scorers agree with oracles at each."""

    kind: Literal["stress_test"] = "stress_test"
    policy: SampledPolicy
    """Whose responses are judged."""

    prompts: AnyPrompts
    temperatures: tuple[Temperature, ...] = Field(
        (0.0, 0.3, 0.5, 0.7, 1.0, 1.25, 1.5, 1.75, 2.0), min_length=1, max_length=64
    )
    responses_per_prompt: int = Field(16, ge=1, le=4096)
    """At each temperature; at 0 there is one, as all would be equal."""

    max_response_tokens: int = Field(128, ge=1)
    scorers: tuple[str, ...] = ()
    """Names of scorers, ``NAME[@VERSION][:OUTPUT]``. The trivial controls are added by themselves."""

    oracles: tuple[AnyOracle, ...] = Field(min_length=1)
    bootstrap: BootstrapSettings = BootstrapSettings()

    @field_validator("policy")
    @classmethod
    def _trained(cls, policy: SampledPolicy) -> SampledPolicy:
        if policy.path is None:
            raise ValueError("name a policy by its path: one from scratch has nothing to say")
        return policy

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
        with ScoringEngine(run.artifacts) as engine:
            # opened before anything is sampled, so that a wrong name costs no hours
            scorers: list[Scorer] = [TrivialScorers()]
            if learned := [pinned[name] for name in self._learned()]:
                scorers.insert(0, RegisteredScorers(engine, learned, "scorer"))
            oracles = [oracle.open(engine, prompts, pinned) for oracle in self.oracles]
            columns = _columns([*scorers, *oracles])
            responses = self._sample(run, prompts, pinned)
            _judge(run, "score", scorers, responses)
            _judge(run, "judge", oracles, responses)
        return self._correlate(run, responses, columns, pinned[self._policy()])

    def _policy(self) -> str:
        assert self.policy.path is not None  # _trained saw to it
        return self.policy.path

    def _learned(self) -> list[str]:
        return [name for name in dict.fromkeys(self.scorers) if name not in CONTROLS]

    def _names(self) -> list[str]:
        asked = [name for oracle in self.oracles for name in oracle.artifacts()]
        return [self._policy(), *self._learned(), *asked]

    def _sample(self, run: Run, prompts: Sequence[Asked], pinned: dict[str, str]) -> list[StoredResponse]:
        """Every response of the grid, sampling those that are missing."""
        log = RowLog(run.directory / RESPONSES_FILE)
        cells = grid([each.prompt_id for each in prompts], self.temperatures, self.responses_per_prompt)
        done = {cell_of(row) for row in log.rows()}
        if len(done) < len(cells):
            origin = self.policy.model_copy(update={"path": pinned[self._policy()]})
            policy, _ = origin.open(run.artifacts, self.seed, getattr(torch, origin.dtype))
            policy.model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
            sampler = LocalSampler(policy, seed=self.seed, max_response_tokens=self.max_response_tokens)
            questions = [Question(each.prompt_id, each.prompt) for each in prompts]
            for batch in sampler.sample(questions, cells, lambda cell: cell not in done):
                log.append(response_row(sampled, sampler.facts) for sampled in batch)
                done.update(sampled.cell for sampled in batch)
                run.reporter.progress("sample", len(done), len(cells), unit="response")
                run.reporter.raise_if_stopped()
        by_id = {each.prompt_id: each for each in prompts}
        return [stored_response(row, by_id) for row in log.rows()]

    def _correlate(
        self, run: Run, responses: Sequence[StoredResponse], columns: Sequence[Column], policy: str
    ) -> dict[str, Any]:
        """Write the correlations and return the run's summary."""
        table = ScoreTable(responses, columns)
        scores = RowLog(run.directory / SCORES_FILE).rows()
        table.fill((cell_of(row), column_of(row), row["score"]) for row in scores)

        def watch(done: int, total: int) -> None:
            run.reporter.progress("correlate", done, total, unit="temperature")
            run.reporter.raise_if_stopped()

        found = find(table.table(), self.bootstrap, self.seed, watch)
        write_findings(found, table.versions(), policy, run.directory)
        notices = [
            f"no score for {count} of {len(responses)} responses from {', '.join(labels)}"
            for count, labels in table.missing().items()
        ]
        for notice in notices:
            run.reporter.message(notice)
        return {
            "kind": self.kind,
            "policy": policy,
            "temperatures": list(self.temperatures),
            "n_prompts": len({each.cell.prompt_id for each in responses}),
            "n_responses": len(responses),
            "scorers": [column.scorer for column in columns if column.role == "scorer"],
            "controls": [column.scorer for column in columns if column.role == "control"],
            "oracles": [column.scorer for column in columns if column.role == "oracle"],
            "notices": notices,
        }


def _judge(run: Run, stage: str, scorers: Sequence[Scorer], responses: Sequence[StoredResponse]) -> None:
    """Fill in the scores that are missing.

    A batch with anything missing is scored whole and only the missing is added, so that a resumed run's scores are
    rounded like an uninterrupted run's.
    """
    log = RowLog(run.directory / SCORES_FILE)
    done = {(cell_of(row), column_of(row)) for row in log.rows()}
    for start in range(0, len(responses), _RESPONSES_AT_ONCE):
        batch = responses[start : start + _RESPONSES_AT_ONCE]
        for scorer in scorers:
            wanted = [(each.cell, column) for each in batch for column in scorer.columns]
            if done.issuperset(wanted):
                continue
            judgements = [judgement for each in scorer.judge(batch) for judgement in each]
            log.append(
                score_row(cell, column, judgement)
                for (cell, column), judgement in zip(wanted, judgements, strict=True)
                if (cell, column) not in done
            )
        run.reporter.progress(stage, start + len(batch), len(responses), unit="response")
        run.reporter.raise_if_stopped()


def _columns(scorers: Sequence[Scorer]) -> list[Column]:
    """Every series of scores the run will have. Raises InvalidInput for one that is asked for twice."""
    columns = [column for scorer in scorers for column in scorer.columns]
    for column, count in Counter(columns).items():
        if count > 1:
            raise InvalidInput(f"{column.scorer} is named {count} times as {column.role}; name it once")
    return columns
