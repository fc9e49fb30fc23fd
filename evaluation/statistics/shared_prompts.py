"""How much errors of several runs move together: as far as the runs stand on the same prompts.

To first order the error of an estimate is the mean of an influence over its prompts, e_a = 1/|P_a| sum over p of P_a
of psi_a(p), and different prompts are independent: that is what a prompt-clustered standard error s_a says. So errors
of two runs have only their common prompts in common, and by the inequality of Cauchy and Schwarz

    |cov(e_a, e_b)| <= s_a s_b |P_a and P_b| / sqrt(|P_a| |P_b|).

provided that common prompts weigh no more than the others do: that the mean of psi_a^2 over them is that over all.
Equality holds where runs react to each prompt alike; with subjects in place of prompts it is the correlation of Lin and
Sullivan 2009 (Am. J. Hum. Genet. 85:862). A working correlation within clusters of dependent estimates, as of Hedges,
Tipton and Johnson 2010 (Res. Synth. Methods 1:39), would have to be guessed, and its robust error needs many clusters;
the same prompts week after week are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Marks = npt.NDArray[np.uint64]
"""One number for each prompt of a set, all different; equal prompts have equal numbers."""


@dataclass(frozen=True)
class Standing:
    """All rows of a group that stand on one set of prompts."""

    errors: Sequence[float]
    """By measure of error, sum of w_i s_i over the rows: they move together wholly."""

    prompts: Marks | None
    """(prompts,); None where nobody knows them: they may be any other run's."""


def error_variances(standings: Sequence[Standing], *, of_parts: bool = False) -> list[float]:
    """By measure, the greatest variance that sum of w_i e_i can have, given which prompts are shared.

    With u_a an error of set a, the bounds above add up to a sum over prompts, of (sum over sets a that have the
    prompt of u_a / sqrt |P_a|)^2: sum of u_a^2 for sets with nothing in common, (sum of u_a)^2 for equal ones. What
    stands on unknown prompts moves with everything, by the triangle inequality.

    Estimates ``of_parts`` stand on some of their set's prompts, nobody knows which, and the common ones may be all of
    these: then sets that overlap at all move together wholly.
    """
    known = [(each.errors, each.prompts) for each in standings if each.prompts is not None]
    if len(known) < 2:  # all move together
        return [sum(of_sets) ** 2 for of_sets in zip(*(each.errors for each in standings), strict=True)]
    sets = [prompts for _, prompts in known]
    moved = np.array([errors for errors, _ in known])
    if of_parts:
        place = _joined(sets)
    else:
        sizes = [len(prompts) for prompts in sets]
        moved = np.repeat(moved / np.sqrt(sizes)[:, None], sizes, axis=0)
        _, place = np.unique(np.concatenate(sets), return_inverse=True)
    together = np.zeros((place.max() + 1, moved.shape[1]))
    np.add.at(together, place, moved)
    unknown = sum((np.array(each.errors) for each in standings if each.prompts is None), np.zeros(()))
    variances: list[float] = ((np.sqrt((together**2).sum(axis=0)) + unknown) ** 2).tolist()
    return variances


def _joined(sets: Sequence[Marks]) -> npt.NDArray[np.intp]:
    """Of each set which group it is of, groups being joined by common prompts, directly or through others (sets,)."""
    from scipy.sparse import csr_array  # type: ignore[import-untyped]  # commands that list jobs come by here
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    owner = np.repeat(np.arange(len(sets)), [len(prompts) for prompts in sets])
    _, place = np.unique(np.concatenate(sets), return_inverse=True)
    has = csr_array((np.ones(len(owner)), (owner, place)))
    _, group = connected_components(has @ has.T, directed=False)
    return np.asarray(group, dtype=np.intp)


def distinct_prompts(sets: Sequence[Marks]) -> int:
    """How many different prompts there are."""
    return len(np.unique(np.concatenate(sets))) if len(sets) > 1 else sum(map(len, sets))
