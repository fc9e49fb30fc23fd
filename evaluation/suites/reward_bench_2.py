"""RewardBench 2 (Malik et al. 2025, arXiv 2506.01937): the best of four in five subsets, and ties.

An item is right by 1/k where its chosen response is among the k with the highest score. The subset Ties has several
right answers to some prompts and one to others that belong together, ``tied:7`` and ``ref:7``; its score is
0.3 accuracy(tied) + 0.3 accuracy(ref) + 0.2 preferred + 0.2 preferred hard + 0.01 margin, where, for each pair,
d is the spread of the right answers of ``tied``, t and r how far the worst right answer is above the best wrong one in
``tied`` and ``ref``: accurate is t > 0 (r > 0), preferred t > d, preferred hard min(t, r) > d, and the margin
tanh(min(t, r) / d - 1). The score is the mean of the subsets.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.composites import Composite, Part, combined, mean_of
from evaluation.suites.suite import SHARED, STRICT, Item, Scores, Suite, outcomes, text, texts, word
from trainer.data.tables import Row

_TIES = "ties"
_ACCURACY, _PREFERRED, _MARGIN = 0.3, 0.2, 0.01


class RewardBench2(Suite):
    """Rows ``{"prompt", "chosen": [...], "rejected": [...], "subset", "id"}``."""

    name = "reward_bench_2"

    def read(self, row: Row, number: int) -> Item:
        chosen, rejected = texts(row, "chosen"), texts(row, "rejected")
        prompt = text(row, "prompt")
        subset = word(row, "subset", "all rows")
        if subset.lower() != _TIES:
            if len(chosen) > 1:
                raise row.error("chosen", f"{len(chosen)} responses, which only the subset Ties has")
            return Item(prompt, chosen, rejected, subset, word(row, "id", str(number)), prompt)
        identity = word(row, "id")
        kind, colon, pair = identity.partition(":")
        if kind not in {"ref", "tied"} or not colon:
            raise row.error(
                "id", f"{identity!r} is not ref:N or tied:N, which tells which rows of Ties belong together"
            )
        return Item(prompt, chosen, rejected, subset, identity, f"ties {pair}")

    def composites(self, items: Sequence[Item], scores: Scores) -> list[Composite]:
        strict, shared = outcomes(scores)
        of = np.array([each.subset for each in items])
        subsets = list(dict.fromkeys(each.subset for each in items))
        found: list[Composite] = []
        ties = {each: _ties(each, items, scores) for each in subsets if each.lower() == _TIES}
        masks = {each: of == each for each in subsets}
        for statistic, values in ((SHARED, shared), (STRICT, strict)):
            by_subset = {
                # the rule of Ties knows no ties of another kind, so it stands under both names
                name: Composite(statistic, name, ties[name].parts)
                if name in ties
                else mean_of(statistic, name, values, masks[name])
                for name in subsets
            }
            found += by_subset.values()
            found.append(combined(statistic, "all", [(1.0, each) for each in by_subset.values()]))
        return found


def _ties(subset: str, items: Sequence[Item], scores: Scores) -> Composite:
    """The score of Ties; what is said of a pair stands in the row of its ``tied`` prompt."""
    size = len(items)
    accurate, above, spread = (np.full(size, np.nan) for _ in range(3))
    kinds: dict[str, dict[str, int]] = {"ref": {}, "tied": {}}
    for index, (item, (chosen, rejected)) in enumerate(zip(items, scores, strict=True)):
        if item.subset == subset:
            kind, _, pair = item.id.partition(":")
            kinds[kind][pair] = index
            above[index] = chosen.min() - rejected.max()
            spread[index] = chosen.max() - chosen.min()
            accurate[index] = np.nan if np.isnan(above[index]) else float(above[index] > 0)
    paired = [(kinds["ref"][pair], tied) for pair, tied in kinds["tied"].items() if pair in kinds["ref"]]
    preferred, hard, margin = (np.full(size, np.nan) for _ in range(3))
    for ref, tied in paired:
        least = min(above[ref], above[tied])
        if np.isfinite([above[ref], above[tied], spread[tied]]).all():
            preferred[tied], hard[tied] = float(above[tied] > spread[tied]), float(least > spread[tied])
            margin[tied] = _margin(least, spread[tied])
    rows = {kind: np.isin(np.arange(size), list(kinds[kind].values())) for kind in kinds}
    pairs = np.isin(np.arange(size), [tied for _, tied in paired])
    wanted: list[tuple[float, Floats, np.typing.NDArray[np.bool_]]] = [
        (_ACCURACY, accurate, rows["tied"]),
        (_ACCURACY, accurate, rows["ref"]),
        (_PREFERRED, preferred, pairs),
        (_PREFERRED, hard, pairs),
        (_MARGIN, margin, pairs),
    ]
    return Composite(SHARED, subset, tuple(Part(*each) for each in wanted))


def _margin(least: float, spread: float) -> float:
    """tanh(least / spread - 1), its limits where the right answers do not differ, and 0 where nothing does."""
    if spread == 0:
        return float(np.sign(least))
    return float(np.tanh(least / spread - 1))
