"""From pairs that wait to batches worth reading together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.engine.asks import Ask
from evaluation.engine.residency import LoadedModel
from trainer.data.text import Encoded
from trainer.models.shared_prefix import TOGETHER_ON_CPU, SharedPrompt

Group = list[Ask]
"""Asks for the same tokens of the same models: scored once, answered each."""

_PASS_TOKENS = 64
"""What a pass costs besides its tokens, in tokens: see docs/serving.md for how it was measured."""
_WORTH = 0.95
"""Reading a prompt once must be expected to cost no more than this share of reading it with each response."""


@dataclass(frozen=True)
class Batch:
    """Groups that one pass reads, or several where they stand behind a prompt that is read once."""

    groups: list[Group]
    prompt: SharedPrompt | None = None

    @property
    def rows(self) -> list[Encoded]:
        return [group[0].encoded for group in self.groups]


def batches(asks: Sequence[Ask], token_budget: int, *, share: bool = True) -> list[Batch]:
    """Cut ``asks`` into batches for the same models each, of ``token_budget`` tokens at most with their padding.

    Sorted by length, so that rows are padded by little by models that pad them. A pair longer than the budget is a
    batch of its own. With ``share`` the responses of one prompt stand together where reading it once is worth it.
    """
    cut: list[Batch] = []
    for groups in _by_models(asks):
        groups.sort(key=lambda group: group[0].encoded.tokens)
        families, others = _families(groups, token_budget) if share else ([], groups)
        for family in families:
            prompt = SharedPrompt(_prompt(family[0]))
            cut += [Batch(part, prompt) for part in _parts(family, token_budget, read_before=prompt.tokens)]
        alone = any(wish.model.reads_alone for wish in groups[0][0].wishes)
        packed = min((wish.model.model.longest_packed for wish in groups[0][0].wishes), default=0)
        cut += [Batch(part) for part in _parts(others, 0 if alone else token_budget, packed=packed)]
    return cut


def _parts(groups: Sequence[Group], token_budget: int, *, read_before: int = 0, packed: int = 0) -> list[list[Group]]:
    """Up to ``packed`` tokens pairs are read without padding, so that a batch is as large as its pairs together."""
    parts: list[list[Group]] = []
    size = rows = 0  # of the last part
    for group in groups:  # ascending, so this pair's length is the padded length of the batch it would join
        tokens = group[0].encoded.tokens - read_before
        joined = size + tokens if tokens <= packed else (rows + 1) * tokens
        if parts and joined <= token_budget:
            parts[-1].append(group)
            size, rows = joined, rows + 1
        else:
            parts.append([group])
            size, rows = tokens, 1
    return parts


def _families(groups: list[Group], token_budget: int) -> tuple[list[list[Group]], list[Group]]:
    """Groups whose prompt is to be read once, by prompt, and the others."""
    found: defaultdict[tuple[int, ...], list[Group]] = defaultdict(list)
    longest = min((wish.model.model.longest_shared for wish in groups[0][0].wishes), default=0)
    for group in groups:
        if group[0].kin is not None and group[0].encoded.tokens <= longest:
            found[_prompt(group)].append(group)
    families = [family for family in found.values() if _pays(family, token_budget)]
    within = {id(group) for family in families for group in family}
    return families, [group for group in groups if id(group) not in within]


def _pays(family: Sequence[Group], token_budget: int) -> bool:
    """Whether reading the prompt once is expected to cost less: tokens, and what each pass costs besides."""
    rows = [group[0].encoded for group in family]
    prompt, tokens = rows[0].response_start, sum(row.tokens for row in rows)
    responses = tokens - len(rows) * prompt
    if len(rows) == 1 or not responses:
        return False
    apart = tokens + _PASS_TOKENS * max(1.0, tokens / max(token_budget, 1))
    once = prompt + responses + _PASS_TOKENS * (1 + max(1.0, responses / TOGETHER_ON_CPU))
    return once <= _WORTH * apart


def _prompt(group: Group) -> tuple[int, ...]:
    encoded = group[0].encoded
    return tuple(encoded.input_ids[: encoded.response_start])


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


def kin(encoded: Encoded, models: Sequence[LoadedModel]) -> int | None:
    """Equal for pairs whose prompt all ``models`` could read once; None where one of them could not."""
    if not encoded.response_start or any(encoded.tokens > loaded.model.longest_shared for loaded in models):
        return None
    return hash(tuple(encoded.input_ids[: encoded.response_start]))
