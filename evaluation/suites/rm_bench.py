"""RM-Bench (Liu et al. 2024, arXiv 2410.16184): a right and a wrong answer, each in three styles.

Every chosen response is compared with every rejected one, a 3 x 3 matrix whose styles go from concise to detailed to
detailed with markdown. ``normal`` is the mean of the diagonal, ``hard`` of the triangle where the rejected response has
the fancier style, ``easy`` of the other. A domain is the mean of the three, safety of its two halves, and the score the
mean of the domains. A tie is wrong.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.statistics.bootstrap import Floats
from evaluation.statistics.composites import Composite, combined, mean_of
from evaluation.suites.suite import SHARED, STRICT, Item, Scores, Suite, text, texts, word
from trainer.data.tables import Row

_STYLES = 3
_LEVELS = {"easy": np.tri(_STYLES, k=-1), "normal": np.eye(_STYLES), "hard": np.tri(_STYLES, k=-1).T}


class RMBench(Suite):
    """Rows ``{"prompt", "chosen": [3 texts], "rejected": [3 texts], "domain", "id"?}``."""

    name = "rm_bench"

    def read(self, row: Row, number: int) -> Item:
        sides = texts(row, "chosen"), texts(row, "rejected")
        for field, side in zip(("chosen", "rejected"), sides, strict=True):
            if len(side) != _STYLES:
                raise row.error(field, f"{len(side)} responses instead of one in each of three styles")
        prompt = text(row, "prompt")
        return Item(prompt, *sides, word(row, "domain", "all rows"), word(row, "id", str(number)), prompt)

    def composites(self, items: Sequence[Item], scores: Scores) -> list[Composite]:
        of = np.array([each.subset for each in items])
        domains = {each: of == each for each in dict.fromkeys(item.subset for item in items)}
        found: list[Composite] = []
        for statistic, tie in ((STRICT, 0.0), (SHARED, 0.5)):
            levels = _levels(scores, tie)
            cells = {
                (domain, level): mean_of(f"{statistic}_{level}", domain, values, rows)
                for domain, rows in domains.items()
                for level, values in levels.items()
            }
            whole = [
                combined(f"{statistic}_{level}", "all", _sections({d: cells[d, level] for d in domains}))
                for level in levels
            ]
            by_domain = {
                domain: combined(statistic, domain, [(1.0, cells[domain, level]) for level in levels])
                for domain in domains
            }
            found += [*cells.values(), *whole, *by_domain.values()]
            found.append(combined(statistic, "all", _sections(by_domain)))
        return found


def _levels(scores: Scores, tie: float) -> dict[str, Floats]:
    """By level, each item's share of its comparisons that are right (items,); a tie counts ``tie``."""
    found = {level: np.full(len(scores), np.nan) for level in _LEVELS}
    for index, (chosen, rejected) in enumerate(scores):
        difference = chosen[:, None] - rejected[None, :]
        if np.isfinite(difference).all():
            right = np.where(difference == 0, tie, difference > 0)
            for level, mask in _LEVELS.items():
                found[level][index] = (right * mask).sum() / mask.sum()
    return found


def _sections(by_domain: dict[str, Composite]) -> list[tuple[float, Composite]]:
    """Domains with equal weight, the parts of one, as ``safety-refuse`` and ``safety-response``, sharing it."""
    names = [domain.partition("-")[0] for domain in by_domain]
    return [(1 / names.count(name), each) for name, each in zip(names, by_domain.values(), strict=True)]
