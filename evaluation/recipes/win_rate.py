"""Win rates against one baseline: from judged battles, from outputs that an oracle judges here, or of two stress tests.

Files of the run directory: ``correlations.jsonl``, an Estimate a line, with the model as ``scorer``; ``pins.json``,
which version of a registered oracle judged; ``prompt_marks.json``, by which the history tells prompts that runs share,
where every model met every instruction.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from evaluation.battles import (
    Battle,
    Output,
    fight,
    is_annotated,
    one_baseline,
    read_battle,
    read_difficulty,
    read_output,
    read_rows,
    recorded_battles,
)
from evaluation.contests import Contests
from evaluation.engine.pairs import Pair
from evaluation.judged_columns import is_registered
from evaluation.prompt_marks import mark_of, write_marks
from evaluation.recipes.correlations import write_rows
from evaluation.recipes.findings import as_row
from evaluation.recipes.pair_scoring import scoring_pairs
from evaluation.recipes.run_wins import compare_runs
from evaluation.run_files import CORRELATIONS_FILE
from evaluation.scorers.controls import CONTROLS, Response
from evaluation.statistics.bootstrap import BootstrapSettings
from evaluation.statistics.win_rate import win_rates
from trainer.errors import AssayError, InvalidInput
from trainer.outside import LocalPath, RegisteredScorer
from trainer.recipe import ArtifactName, Recipe, Run

_PAIRS_AT_ONCE = 256


class WinRateRecipe(Recipe):
    """How often models beat a baseline: raw, length-controlled, by length, and one model against another."""

    kind: Literal["win_rate"] = "win_rate"
    name: ArtifactName = "win-rate"
    paths: Annotated[list[LocalPath], Field(min_length=1)]
    """AlpacaEval's annotations, outputs of models, or the run directories of two stress tests, the first policy meeting
    the second; see docs/statistics.md."""

    oracle: RegisteredScorer | None = None
    """Who judges outputs: a registered scorer, or a trivial control. Annotations and recorded scores bring theirs, and
    stress tests several, of which this names one."""

    baseline: str | None = None
    """The model of the files that all others meet. Annotations name theirs."""

    reference: str | None = None
    """Which model's lead the others' differences are of; the first of the files unless said."""

    difficulty: LocalPath | None = None
    """File with each instruction's difficulty; else it is estimated from the other models' battles."""

    difficulty_penalty: float = Field(1.0, gt=0)
    """How strongly estimated difficulties are drawn to 0: the inverse variance, in logits, they have beforehand."""

    length_buckets: int = Field(4, ge=1, le=50)
    """Into how many groups of outputs of like length win rates are divided; 1 for none."""

    bootstrap: BootstrapSettings = BootstrapSettings()

    def run(self, run: Run) -> dict[str, Any]:
        """Write ``correlations.jsonl`` and return the summary that docs/statistics.md describes."""
        if any(Path(each).is_dir() for each in self.paths):
            return self._compare_runs(run)
        battles, oracle = self._battles(run)
        baseline = one_baseline(battles)
        contests = Contests(battles)
        models = contests.models
        reference = self.reference or (models[0] if len(models) > 1 else None)
        if reference is not None and reference not in models:
            raise InvalidInput(f"reference: no battle of {reference!r}; there are: {', '.join(models)}")
        if self.difficulty is not None:
            contests.know_difficulty(read_difficulty(Path(self.difficulty)), self.difficulty)
        else:
            contests.estimate_difficulty(self.difficulty_penalty)
        notices = contests.notices()
        run.reporter.message(
            f"{len(battles)} battles of {len(models)} models against {baseline}, {self.bootstrap.draws} bootstrap draws"
        )
        estimates = win_rates(
            contests.by_model(),
            oracle=oracle,
            reference=reference,
            length_buckets=self.length_buckets,
            seed=self.seed,
            **self.bootstrap.model_dump(),
        )
        for notice in notices:
            run.reporter.message(notice)
        rows = [as_row(each, None, each.scorer) for each in estimates]
        write_rows(rows, run.directory / CORRELATIONS_FILE)
        if contests.are_complete:
            write_marks((mark_of(each, each) for each in contests.instructions), run.directory)
        return {
            "kind": self.kind,
            "paths": self.paths,
            "oracle": oracle,
            "baseline": baseline,
            "models": models,
            "reference": reference,
            "difficulty": contests.difficulty_source,
            "n_responses": len(battles),
            "n_prompts": len(contests.instructions),
            "notices": notices,
            "estimates": rows,
        }

    def _compare_runs(self, run: Run) -> dict[str, Any]:
        directories = [Path(each) for each in self.paths]
        if len(directories) != 2 or not all(each.is_dir() for each in directories):
            raise InvalidInput("paths: give the run directories of two stress tests, or files and no directory")
        if self.baseline is not None or self.reference is not None or self.difficulty is not None:
            raise InvalidInput("of two stress tests the second is what the first meets: leave out all but the oracle")

        def watch(done: int, total: int) -> None:
            run.reporter.progress("compare", done, total, unit="temperature")
            run.reporter.raise_if_stopped()

        found = compare_runs(directories, self.oracle, self.bootstrap, self.seed, watch)
        for notice in found.notices:
            run.reporter.message(notice)
        rows = [as_row(each, None, each.scorer) for each in found.estimates]
        write_rows(rows, run.directory / CORRELATIONS_FILE)
        write_marks((mark_of(prompt, each) for each, prompt in found.prompts.items()), run.directory)
        first, second = found.names
        return {
            "kind": self.kind,
            "paths": self.paths,
            "oracle": ", ".join(found.oracles),
            "oracles": found.oracles,
            "baseline": second,
            "models": [first],
            "reference": None,
            "difficulty": None,
            "temperatures": found.temperatures,
            "n_responses": found.n_responses,
            "n_prompts": found.n_prompts,
            "notices": found.notices,
            "estimates": rows,
        }

    def _battles(self, run: Run) -> tuple[list[Battle], str]:
        """Every battle of the files, and who judged them."""
        rows = [located for path in self.paths for located in read_rows(Path(path))]
        if not rows:
            raise InvalidInput(f"{', '.join(self.paths)}: no rows; give at least one battle or output")
        annotated = [is_annotated(row) for _, row in rows]
        if any(annotated) != all(annotated):
            raise InvalidInput(f"{rows[annotated.index(not annotated[0])][0]}: annotations and outputs do not mix")
        if annotated[0]:
            if self.oracle is not None or self.baseline is not None:
                raise InvalidInput("annotations are judged already and name their baseline; leave out oracle, baseline")
            judges = dict.fromkeys(str(row.get("annotator") or "judge") for _, row in rows)
            return [read_battle(where, row) for where, row in rows], ", ".join(judges)
        return self._judged(run, [read_output(where, row) for where, row in rows])

    def _judged(self, run: Run, outputs: Sequence[Output]) -> tuple[list[Battle], str]:
        recorded = any(each.score is not None for each in outputs)
        if self.baseline is None and recorded and self.oracle is None:
            return recorded_battles(outputs), "judge"
        models = list(dict.fromkeys(each.model for each in outputs))
        if self.baseline not in models:
            what = "name the model to compare with" if self.baseline is None else f"no outputs of {self.baseline!r}"
            raise InvalidInput(f"baseline: {what}; there are: {', '.join(models)}")
        if self.oracle is None and not recorded:
            raise InvalidInput("oracle: outputs without scores need one to judge them: a registered scorer's name")
        scores = [each.score for each in outputs] if self.oracle is None else self._scores(run, outputs, self.oracle)
        return fight(outputs, scores, self.baseline), self.oracle or "judge"

    def _scores(self, run: Run, outputs: Sequence[Output], oracle: str) -> list[float | None]:
        if not is_registered(oracle):
            if oracle not in CONTROLS:
                raise InvalidInput(f"oracle: {oracle!r} is no scorer's name; recorded scores are used without one")
            return [CONTROLS[oracle](Response(each.instruction, each.output)) for each in outputs]
        scores: list[float | None] = []
        with scoring_pairs(run, [oracle], "error") as scoring:
            assert scoring.score is not None  # a registered scorer was asked for
            for start in range(0, len(outputs), _PAIRS_AT_ONCE):
                run.reporter.raise_if_stopped()
                run.reporter.progress("judge", start, len(outputs), unit="output")
                pairs = [Pair(each.instruction, each.output) for each in outputs[start : start + _PAIRS_AT_ONCE]]
                found = scoring.score([oracle], pairs)[oracle]
                scores += [None if isinstance(each, AssayError) else each for each in found]
        run.reporter.progress("judge", len(outputs), len(outputs), unit="output")
        if all(each is None for each in scores):
            first = next(each for each in found if isinstance(each, AssayError))
            raise InvalidInput(f"{oracle} could score none of {len(outputs)} outputs: {first.detail}")
        return scores
