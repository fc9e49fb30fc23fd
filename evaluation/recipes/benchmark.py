"""Run scorers through a published benchmark of reward models: RewardBench, RewardBench 2 or RM-Bench.

Files of the run directory:

- ``pins.json``             which version every name in the recipe means for this run
- ``item_scores.jsonl``     ``item, scorer, chosen, rejected, error``: scores in the order of the row's responses
- ``correlations.jsonl``    an Estimate a line; the suite is the oracle, the subset or section the stratum
- ``prompt_marks.json``     by which the history tells prompts that runs share; not where recorded scores are beside
- ``results/``, ``scores/`` the same as the ``rewardbench`` package writes them
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from evaluation.engine.pairs import Pair
from evaluation.judged_columns import is_registered
from evaluation.prompt_marks import mark_of, write_marks
from evaluation.recipes.correlations import write_rows
from evaluation.recipes.findings import as_row
from evaluation.recipes.pair_scoring import scoring_pairs
from evaluation.recipes.row_log import RowLog
from evaluation.run_files import CORRELATIONS_FILE
from evaluation.scorers.controls import CONTROLS, Response
from evaluation.statistics.bootstrap import BootstrapSettings, Floats
from evaluation.statistics.composites import estimate_composites
from evaluation.statistics.estimate import Estimate
from evaluation.suites import SUITES, recognise
from evaluation.suites.files import Recorded, read_scores, write_results
from evaluation.suites.suite import Item, clusters
from trainer.data.tables import Table
from trainer.data.text import OnOverlong
from trainer.errors import AssayError, InvalidInput
from trainer.outside import LocalPath, RegisteredScorer, RowsPath
from trainer.recipe import ArtifactName, Recipe, Run

SCORES_FILE = "item_scores.jsonl"

_ITEMS_AT_ONCE = 64

SuiteName = Literal["reward_bench", "reward_bench_2", "rm_bench"]


class BenchmarkRecipe(Recipe):
    """How often scorers prefer the right response, by subset, section and in all, with both rules for ties."""

    kind: Literal["benchmark"] = "benchmark"
    name: ArtifactName = "benchmark"
    suite: SuiteName | None = None
    """Whose rows and averages; told from the first row unless said."""

    path: RowsPath | None = None
    """Rows: a JSONL, ``.parquet`` or ``.json`` file, a directory saved by ``datasets``, or the hub's ``owner/name``."""

    split: str = "train"
    """Of a data set with several, such as ``filtered`` or ``test``."""

    scorers: tuple[RegisteredScorer, ...] = ()
    """Registered scorers, or trivial controls; ``length`` is added by itself, for what a benchmark owes to it."""

    recorded: tuple[LocalPath, ...] = ()
    """Files of scores that the ``rewardbench`` package wrote, reported beside."""

    limit: int | None = Field(None, ge=1)
    """How many rows to read; all unless said."""

    on_overlong: OnOverlong = "error"
    """Whether a registered scorer may drop a prompt's oldest tokens; if not, an overlong row has no score."""

    bootstrap: BootstrapSettings = BootstrapSettings()

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.path is None and not self.recorded:
            raise ValueError("give path and scorers, or recorded")
        if self.path is not None and not self.scorers:
            raise ValueError("name at least one scorer")
        return self

    def run(self, run: Run) -> dict[str, Any]:
        """Write the files above and return the summary that docs/benchmarking.md describes."""
        notices: list[str] = []
        found = [read_scores(Path(each)) for each in self.recorded]
        items: list[Item] = []
        if self.path is not None:
            suite, items = self._items(self.path)
            found = [*self._scored(run, suite, items, notices), *found]
        estimates: list[Estimate] = []
        for each in found:
            own = estimate_composites(
                clusters(each.items),
                SUITES[each.suite].composites(each.items, each.scores),
                scorer=each.model,
                oracle=each.suite,
                seed=self.seed,
                **self.bootstrap.model_dump(),
            )
            write_results(run.directory, each.model, each.suite, each.items, each.scores, own)
            estimates += own
        for notice in notices:
            run.reporter.message(notice)
        rows = [as_row(each, None, None) for each in estimates]
        write_rows(rows, run.directory / CORRELATIONS_FILE)
        if not self.recorded:  # whose files hold no texts
            write_marks((mark_of(each.prompt, each.id) for each in items), run.directory)
        return {
            "kind": self.kind,
            "path": self.path,
            "suites": list(dict.fromkeys(each.suite for each in found)),
            "scorers": [each.model for each in found],
            "n_items": max(len(each.items) for each in found),
            "notices": notices,
            "estimates": rows,
        }

    def _items(self, path: str) -> tuple[str, list[Item]]:
        items = []
        name: str | None = self.suite
        for number, row in enumerate(Table(path, self.split).rows(self.limit)):
            if isinstance(row, InvalidInput):
                raise row
            name = name or recognise(row).name
            items.append(SUITES[name].read(row, number))
        if name is None or not items:
            raise InvalidInput(f"{path} has no rows; give at least one")
        return name, items

    def _scored(self, run: Run, suite: str, items: list[Item], notices: list[str]) -> Iterator[Recorded]:
        """Every scorer's scores of all items."""
        asked = list(dict.fromkeys([*self.scorers, "length"]))
        registered = [each for each in asked if is_registered(each)]
        for each in asked:
            if not is_registered(each) and each not in ("length", "zlib_ratio"):
                raise InvalidInput(f"{each} is not known of a benchmark's responses; use length or zlib_ratio")
        log = RowLog(run.directory / SCORES_FILE)
        done = {(row["scorer"], row["item"]) for row in log.rows()}
        with scoring_pairs(run, registered, self.on_overlong) as scoring:
            for start in range(0, len(items), _ITEMS_AT_ONCE):
                run.reporter.raise_if_stopped()
                batch = range(start, min(start + _ITEMS_AT_ONCE, len(items)))
                waiting = [each for each in registered if not done.issuperset((each, index) for index in batch)]
                if waiting and scoring.score is not None:
                    pairs = [Pair(items[i].prompt, text) for i in batch for text in _responses(items[i])]
                    answered = scoring.score(waiting, pairs)
                    log.append(
                        row
                        for each in waiting
                        for row in _rows(each, batch, items, answered[each])
                        if (each, row["item"]) not in done
                    )
                run.reporter.progress("score", batch.stop, len(items), unit="item")
        known = {(row["scorer"], row["item"]): row for row in log.rows()}
        for each in asked:
            if each in CONTROLS:
                yield Recorded(each, suite, items, [_control(each, item) for item in items])
                continue
            rows = [known[each, index] for index in range(len(items))]
            if errors := [row["error"] for row in rows if row["error"] is not None]:
                notices.append(f"{each} could not score {len(errors)} of {len(items)} items; the first: {errors[0]}")
            yield Recorded(each, suite, items, [(_array(row["chosen"]), _array(row["rejected"])) for row in rows])


def _responses(item: Item) -> tuple[str, ...]:
    return (*item.chosen, *item.rejected)


def _rows(
    scorer: str, batch: range, items: Sequence[Item], answers: Sequence[float | AssayError]
) -> Iterator[dict[str, Any]]:
    """A line of ``item_scores.jsonl`` for each item of the batch."""
    place = 0
    for index in batch:
        own = answers[place : place + len(_responses(items[index]))]
        place += len(own)
        scores = [None if isinstance(each, AssayError) else each for each in own]
        right = len(items[index].chosen)
        error = next((each.detail for each in own if isinstance(each, AssayError)), None)
        yield {
            "item": index,
            "scorer": scorer,
            "chosen": scores[:right],
            "rejected": scores[right:],
            "error": error,
        }


def _control(name: str, item: Item) -> tuple[Floats, Floats]:
    values = [CONTROLS[name](Response("", text)) for text in _responses(item)]
    return _array(values[: len(item.chosen)]), _array(values[len(item.chosen) :])


def _array(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if each is None else each for each in values], dtype=np.float64)
