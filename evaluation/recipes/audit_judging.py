"""Oracles that judge the responses of a judged-responses file, as they judge a stress test's.

``judgements.jsonl`` of the run directory holds ``line, oracle, score, error``: a run that continues asks for the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from evaluation.engine.scoring import ScoringEngine
from evaluation.judged import JudgedRow
from evaluation.judged_columns import Lines
from evaluation.oracles import AnyOracle
from evaluation.oracles.oracle import Asked
from evaluation.oracles.product_world import ProductWorldOracle
from evaluation.recipes.row_log import RowLog
from evaluation.scorers.scorer import Scorer, StoredResponse
from evaluation.statistics.bootstrap import Floats
from trainer.data.product_world.reading import read_prompt
from trainer.data.text import as_text
from trainer.errors import InvalidInput, RunFailed
from trainer.generation.sampled import Cell
from trainer.pins import settle_versions
from trainer.recipe import Run

JUDGEMENTS_FILE = "judgements.jsonl"


@dataclass(frozen=True)
class Judged:
    """What the oracles said."""

    values: dict[str, Floats] = field(default_factory=dict)
    """By oracle, in the order of the rows; NaN where there is no judgement."""
    remarks: Sequence[str] = ()


def judge_rows(judges: Sequence[AnyOracle], lines: Lines, run: Run) -> Judged:
    """Ask every oracle for every row. Raises InvalidInput for rows without texts or prompts that an oracle cannot
    judge, RunFailed where judgements could not be had that may be later."""
    if not judges:
        return Judged()
    responses = [_response(line, row) for line, row in lines]
    prompts = {each.cell.prompt_id: each.prompt for each in responses}
    tasks = any(isinstance(judge, ProductWorldOracle) for judge in judges)
    asked = [
        Asked(name, prompt, read_prompt(as_text(prompt)).to_json() if tasks else None)
        for name, prompt in prompts.items()
    ]
    pinned = settle_versions([name for judge in judges for name in judge.artifacts()], run.artifacts, run.directory)
    with ScoringEngine(run.artifacts) as engine:
        oracles = [judge.open(engine, asked, pinned, run.directory) for judge in judges]
        names = [column.scorer for oracle in oracles for column in oracle.columns]
        if len(set(names)) < len(names):
            raise InvalidInput(f"judges: {next(a for a, b in pairwise(sorted(names)) if a == b)} is named twice")
        log = RowLog(run.directory / JUDGEMENTS_FILE)
        open_ones = [said for oracle in oracles for said in _ask(oracle, responses, log, run)]
    if open_ones:
        raise RunFailed(
            f"{len(open_ones)} judgements were not given ({open_ones[-1]}); resume the run to ask for those alone"
        )
    place = {each.cell.replicate: at for at, each in enumerate(responses)}
    values = {name: np.full(len(responses), np.nan) for name in names}
    for row in log.rows():
        if row["score"] is not None:
            values[row["oracle"]][place[row["line"]]] = row["score"]
    remarks = [remark for oracle in oracles for remark in oracle.remarks]
    return Judged(values, [*remarks, *_missing(values)])


def _response(line: int, row: JudgedRow) -> StoredResponse:
    if row.prompt is None or row.response is None:
        raise InvalidInput(f"line {line}: judges read texts, so prompt and response are needed")
    cell = Cell(row.prompt_id, row.temperature or 0.0, line)
    return StoredResponse(cell, row.prompt, row.response, row.tokens, row.finish_reason, row.mean_logprob)


def _ask(oracle: Scorer, responses: Sequence[StoredResponse], log: RowLog, run: Run) -> list[str]:
    """Fill in what ``oracle`` has not said yet; returns why what may yet be given was not."""
    names = [column.scorer for column in oracle.columns]
    done = {(row["line"], row["oracle"]) for row in log.rows()}
    still_open = []
    for start in range(0, len(responses), oracle.at_once):
        run.reporter.raise_if_stopped()
        run.reporter.progress("judge", start, len(responses), unit="response")
        batch = [
            each
            for each in responses[start : start + oracle.at_once]
            if any((each.cell.replicate, name) not in done for name in names)
        ]
        if not batch:
            continue
        rows = []
        for each, judgements in zip(batch, oracle.judge(batch), strict=True):
            for name, judgement in zip(names, judgements, strict=True):
                if judgement.open:
                    still_open.append((judgement.error or {}).get("detail", name))
                elif (each.cell.replicate, name) not in done:
                    said = {"line": each.cell.replicate, "oracle": name}
                    rows.append({**said, "score": judgement.score, "error": judgement.error})
        log.append(rows)
    run.reporter.progress("judge", len(responses), len(responses), unit="response")
    return still_open


def _missing(values: dict[str, Floats]) -> list[str]:
    counts = {name: int(np.isnan(each).sum()) for name, each in values.items()}
    return [f"{name} gave no judgement of {count} responses" for name, count in counts.items() if count]
