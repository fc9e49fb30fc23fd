"""The form of a stress test's rows on disk, in one place for writing and reading."""

from collections.abc import Mapping
from typing import Any

from evaluation.oracles.oracle import Asked
from evaluation.scorers.scorer import Column, Judgement, StoredResponse
from trainer.generation.sampled import Cell, Sampled

Row = dict[str, Any]


def response_row(sampled: Sampled, sampler: dict[str, Any]) -> Row:
    """A line of ``responses.jsonl``; ``sampler`` says how it was sampled."""
    return {
        **cell_row(sampled.cell),
        "response": sampled.response,
        "tokens": sampled.tokens,
        "finish_reason": sampled.finish_reason,
        "mean_logprob": sampled.mean_logprob,
        "sampler": sampler,
    }


def stored_response(row: Row, prompts: Mapping[str, Asked]) -> StoredResponse:
    """The response of a line of ``responses.jsonl``."""
    return StoredResponse(
        cell=cell_of(row),
        prompt=prompts[row["prompt_id"]].prompt,
        response=row["response"],
        tokens=row["tokens"],
        finish_reason=row["finish_reason"],
        mean_logprob=row["mean_logprob"],
    )


def score_row(cell: Cell, column: Column, judgement: Judgement) -> Row:
    """A line of ``scores.jsonl``."""
    return {
        **cell_row(cell),
        "scorer": column.scorer,
        "scorer_version": column.version,
        "role": column.role,
        "score": judgement.score,
        "tokens": judgement.tokens,
        "truncated_tokens": judgement.truncated_tokens,
        "error": judgement.error,
    }


def cell_row(cell: Cell) -> Row:
    return {"prompt_id": cell.prompt_id, "temperature": cell.temperature, "replicate": cell.replicate}


def cell_of(row: Row) -> Cell:
    """Which response a line of either file is about."""
    return Cell(row["prompt_id"], row["temperature"], row["replicate"])


def column_of(row: Row) -> Column:
    """Which series a line of ``scores.jsonl`` belongs to."""
    return Column(row["scorer"], row["scorer_version"], row["role"])
