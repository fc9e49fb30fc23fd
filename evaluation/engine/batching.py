"""From pairs that wait to batches worth their padding."""

from collections.abc import Sequence

from evaluation.engine.line import Ask
from evaluation.engine.residency import LoadedModel
from trainer.data.text import Encoded

Group = list[Ask]
"""Asks for the same tokens of the same models: scored once, answered each."""


def batches(asks: Sequence[Ask], token_budget: int) -> list[list[Group]]:
    """Cut ``asks`` into batches for the same models each, whose padded size stays within ``token_budget`` tokens.

    Sorted by length, so that rows are padded by little. A pair longer than the budget is a batch of its own.
    """
    cut: list[list[Group]] = []
    for groups in _by_models(asks):
        groups.sort(key=lambda group: group[0].encoded.tokens)
        batch: list[Group] = []
        for group in groups:  # ascending, so this pair's length is the padded length of the batch it would join
            if batch and (len(batch) + 1) * group[0].encoded.tokens > token_budget:
                cut.append(batch)
                batch = []
            batch.append(group)
        cut.append(batch)
    return cut


def _by_models(asks: Sequence[Ask]) -> list[list[Group]]:
    # together, so that models on one backbone share what it saw of the batch; no row is read for a model not asked
    found: dict[frozenset[LoadedModel], dict[tuple[int, ...], Group]] = {}
    for ask in asks:
        models = frozenset(wish.model for wish in ask.wishes)
        found.setdefault(models, {}).setdefault(identity(ask.encoded), []).append(ask)
    return [list(groups.values()) for groups in found.values()]


def identity(encoded: Encoded) -> tuple[int, ...]:
    """Equal for what any model reads alike."""
    return (encoded.response_start, len(encoded.input_ids), *encoded.input_ids, *(encoded.token_type_ids or ()))
