"""From pairs that wait to batches worth their padding."""

from collections.abc import Sequence

from evaluation.engine.line import Ask
from evaluation.engine.residency import LoadedModel

Group = list[Ask]
"""Asks for the same model and the same tokens: scored once, answered each."""


def batches(asks: Sequence[Ask], token_budget: int) -> list[list[Group]]:
    """Cut ``asks`` into batches of one model each, whose padded size stays within ``token_budget`` tokens.

    Sorted by length, so that rows are padded by little. A pair longer than the budget is a batch of its own.
    """
    cut: list[list[Group]] = []
    for groups in _by_model(asks):
        groups.sort(key=lambda group: group[0].encoded.tokens)
        batch: list[Group] = []
        for group in groups:  # ascending, so this pair's length is the padded length of the batch it would join
            if batch and (len(batch) + 1) * group[0].encoded.tokens > token_budget:
                cut.append(batch)
                batch = []
            batch.append(group)
        cut.append(batch)
    return cut


def _by_model(asks: Sequence[Ask]) -> list[list[Group]]:
    models: dict[LoadedModel, dict[tuple[int, ...], Group]] = {}
    for ask in asks:
        identity = (ask.encoded.response_start, *ask.encoded.input_ids)
        models.setdefault(ask.model, {}).setdefault(identity, []).append(ask)
    return [list(groups.values()) for groups in models.values()]
