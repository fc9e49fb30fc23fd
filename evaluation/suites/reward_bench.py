"""RewardBench (Lambert et al. 2024, arXiv 2403.13787): pairs in 23 subsets of four sections.

A section is the mean of its subsets weighted by their size, except that ``math-prm`` counts as much as the code subsets
together (section 3.2 and the published ``EXAMPLE_COUNTS``); the score is the mean of the sections. A tie is wrong.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.statistics.composites import Composite, combined, mean_of
from evaluation.suites.suite import SHARED, STRICT, Item, Scores, Suite, outcomes, text, texts, word
from trainer.data.tables import Row

SECTIONS: dict[str, dict[str, int]] = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 154,
        "xstest-should-respond": 250,
        "donotanswer": 136,
    },
    "Reasoning": {
        "math-prm": 984,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 164,
        "hep-rust": 164,
    },
}


class RewardBench(Suite):
    """Rows ``{"prompt", "chosen", "rejected", "subset", "id"?}``; unknown subsets are reported and in no section."""

    name = "reward_bench"

    def read(self, row: Row, number: int) -> Item:
        sides = texts(row, "chosen"), texts(row, "rejected")
        for field, side in zip(("chosen", "rejected"), sides, strict=True):
            if len(side) > 1:
                raise row.error(field, f"{len(side)} responses, where RewardBench has one; name the suite they are of")
        prompt = text(row, "prompt")
        return Item(prompt, *sides, word(row, "subset", "all rows"), word(row, "id", str(number)), prompt)

    def composites(self, items: Sequence[Item], scores: Scores) -> list[Composite]:
        strict, shared = outcomes(scores)
        of = np.array([each.subset for each in items])
        subsets = list(dict.fromkeys(each.subset for each in items))
        masks = {each: of == each for each in subsets}
        found: list[Composite] = []
        for statistic, values in ((STRICT, strict), (SHARED, shared)):
            by_subset = {each: mean_of(statistic, each, values, masks[each]) for each in subsets}
            sections = [
                combined(statistic, section, shares)
                for section, counts in SECTIONS.items()
                if (shares := [(counts[each], by_subset[each]) for each in counts if each in by_subset])
            ]
            whole = sections or list(by_subset.values())
            found += [*by_subset.values(), *sections, combined(statistic, "all", [(1.0, each) for each in whole])]
        return found
