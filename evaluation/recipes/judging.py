"""Having stored responses judged, in batches that any worker may judge: scores do not depend on which one does."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evaluation.engine.scoring import ScoringEngine
from evaluation.oracles import AnyOracle
from evaluation.oracles.oracle import Asked
from evaluation.recipes.row_log import RowLog
from evaluation.recipes.stored_rows import cell_of, column_of, score_row
from evaluation.scorers.registered import RegisteredScorers
from evaluation.scorers.scorer import Column, Judgement, Scorer, StoredResponse
from evaluation.scorers.trivial import TrivialScorers
from evaluation.scorers.untrained import with_untrained
from evaluation.workers import Work, Worker, Workers
from trainer.artifacts import ArtifactStore
from trainer.generation.sampled import Cell
from trainer.recipe import Run

Judged = tuple[Cell, Column, Judgement]


@dataclass(frozen=True)
class Batch:
    """Responses that are scored together, for rounding depends on the batch, and by which of the scorers."""

    responses: Sequence[StoredResponse]
    scorers: Sequence[int]


@dataclass(frozen=True)
class Judges(ABC):
    """Scorers as settings, to be opened by whoever is to use them."""

    artifacts: ArtifactStore

    @abstractmethod
    def open(self, engine: ScoringEngine) -> list[Scorer]:
        """The scorers. Raises InvalidInput or NotFound for those that could not judge."""

    @contextmanager
    def begin(self) -> Iterator[Worker[Batch, list[Judged]]]:
        with ScoringEngine(self.artifacts) as engine:
            yield partial(judge, self.open(engine))


@dataclass(frozen=True)
class ScorersAndControls(Judges):
    """What is put to the test, ``NAME@VERSION[:OUTPUT]``, with all that it has to beat."""

    learned: Sequence[str]

    def open(self, engine: ScoringEngine) -> list[Scorer]:
        trivial = TrivialScorers()
        if not self.learned:
            return [trivial]
        return [RegisteredScorers(engine, with_untrained(engine, self.learned)), trivial]


@dataclass(frozen=True)
class Oracles(Judges):
    """Whose judgement is trusted; see ``Oracle.open``."""

    settings: Sequence[AnyOracle]
    prompts: Sequence[Asked]
    pinned: dict[str, str]
    directory: Path

    def open(self, engine: ScoringEngine) -> list[Scorer]:
        return [each.open(engine, self.prompts, self.pinned, self.directory) for each in self.settings]


@dataclass(frozen=True)
class Opened:
    """Scorers that are open in this process and judge in no other."""

    scorers: Sequence[Scorer]

    @contextmanager
    def begin(self) -> Iterator[Worker[Batch, list[Judged]]]:
        yield partial(judge, self.scorers)


def judge(scorers: Sequence[Scorer], batch: Batch) -> Iterator[list[Judged]]:
    """What each scorer that is wanted says of the batch."""
    for scorer in (scorers[index] for index in batch.scorers):
        said = scorer.judge(batch.responses)
        yield [
            (stored.cell, column, judgement)
            for stored, judgements in zip(batch.responses, said, strict=True)
            for column, judgement in zip(scorer.columns, judgements, strict=True)
        ]


def judge_missing(
    run: Run,
    log: RowLog,
    stage: str,
    scorers: Sequence[Scorer],
    responses: Sequence[StoredResponse],
    workers: Workers,
    work: Work[Batch, list[Judged]],
) -> list[str]:
    """Add to ``log`` what ``scorers``, as ``work`` opens them, have not said of ``responses`` yet.

    A batch with anything missing is scored whole and only the missing is added, so that a resumed run's scores are
    rounded like an uninterrupted run's. Returns what could not be had now and may be later.
    """
    if not scorers:
        return []
    done = {(cell_of(row), column_of(row)) for row in log}
    total = len(responses) * sum(len(scorer.columns) for scorer in scorers)
    lacking = list(_lacking(scorers, responses, done))
    left = sum(len(batch.responses) * len(scorers[index].columns) for batch in lacking for index in batch.scorers)
    unanswered: dict[Column, list[tuple[Cell, str]]] = {}
    run.reporter.progress(stage, total - left, total, unit="score")
    for found in workers.over(lacking, work):
        new = [each for each in found or () if each[:2] not in done]
        if new:
            log.append(score_row(*each) for each in new if not each[2].open)
            done.update(each[:2] for each in new)
            left -= len(found or ())
        for cell, column, judgement in new:
            if judgement.open and judgement.error is not None:
                unanswered.setdefault(column, []).append((cell, judgement.error["detail"]))
        run.reporter.progress(stage, total - left, total, unit="score")
        run.reporter.raise_if_stopped()
    return [_unanswered(column, cells, len(responses)) for column, cells in unanswered.items()]


def _lacking(
    scorers: Sequence[Scorer], responses: Sequence[StoredResponse], done: set[tuple[Cell, Column]]
) -> Iterable[Batch]:
    """The batches in which anything is missing: cut the same, whatever is."""
    at_once = min(scorer.at_once for scorer in scorers)
    for start in range(0, len(responses), at_once):
        batch = responses[start : start + at_once]
        wanted = [
            index
            for index, scorer in enumerate(scorers)
            if not done.issuperset((each.cell, column) for each in batch for column in scorer.columns)
        ]
        if wanted:
            yield Batch(batch, wanted)


def _unanswered(column: Column, lacking: Sequence[tuple[Cell, str]], n_responses: int) -> str:
    cells = [f"prompt {cell.prompt_id} at T = {cell.temperature:g}" for cell, _ in lacking]
    which = ", ".join(dict.fromkeys(cells[:3])) + (", ..." if len(cells) > 3 else "")
    return f"{column.scorer} gave no answer for {len(lacking)} of {n_responses} responses ({which}): {lacking[-1][1]}"
