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
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Marks = npt.NDArray[np.uint64]
"""One number for each prompt of a set, all different; equal prompts have equal numbers."""


class Standing(NamedTuple):
    """All rows of a group that stand on one set of prompts."""

    errors: Sequence[float]
    """By measure of error, sum of w_i s_i over the rows: they move together wholly."""

    prompts: Marks | None
    """(prompts,); None where nobody knows them: they may be any other run's."""


class Joint(NamedTuple):
    """What the rows of a group come to."""

    variances: list[float]
    """By measure, the greatest variance that sum of w_i e_i can have, given which prompts are shared."""

    n_prompts: int
    """Different ones, of those that are known."""


def joint_errors(groups: Sequence[Sequence[Standing]], of_parts: Sequence[bool]) -> list[Joint]:
    """Of each group; many small ones are added up at once.

    With u_a an error of set a, the bounds above add up to a sum over prompts, of (sum over sets a that have the
    prompt of u_a / sqrt |P_a|)^2: sum of u_a^2 for sets with nothing in common, (sum of u_a)^2 for equal ones. What
    stands on unknown prompts moves with everything, by the triangle inequality.

    Estimates ``of_parts``, as each group says, stand on some of their set's prompts, nobody knows which, and the common
    ones may be all of these: then sets that overlap at all move together wholly.
    """
    found = [_of_one(group) for group in groups]
    for parts in (False, True):
        several = [place for place, group in enumerate(groups) if of_parts[place] == parts and len(_sets(group)) > 1]
        if several:
            for place, joint in zip(several, _of_several([groups[place] for place in several], parts), strict=True):
                found[place] = joint
    return found


def _sets(group: Sequence[Standing]) -> list[Marks]:
    return [each.prompts for each in group if each.prompts is not None]


def _of_one(group: Sequence[Standing]) -> Joint:
    """All move together."""
    errors = zip(*(each.errors for each in group), strict=True)
    return Joint([sum(of_sets) ** 2 for of_sets in errors], sum(map(len, _sets(group))))


def _of_several(groups: Sequence[Sequence[Standing]], of_parts: bool) -> list[Joint]:
    from scipy.sparse import csr_array  # type: ignore[import-untyped]  # commands that list jobs come by here

    known = [(row, each) for row, group in enumerate(groups) for each in group if each.prompts is not None]
    sets = {id(marks): marks for group in groups for marks in _sets(group)}
    sizes = np.array([len(marks) for marks in sets.values()])
    owner, kind, n_alike = _kinds([*sets.values()])
    has = csr_array((np.sqrt(n_alike[kind] / sizes[owner]), (owner, kind)))
    numbered = {marks: number for number, marks in enumerate(sets)}
    where = [row for row, _ in known], [numbered[id(each.prompts)] for _, each in known]

    def over_prompts(of_sets: npt.ArrayLike) -> Any:  # noqa: ANN401 - scipy has no types
        """The sums over a group's sets, by group and kind of prompt, times the root of how many there are."""
        return csr_array((of_sets, where), (len(groups), len(sets))) @ has

    n_prompts = (over_prompts(np.ones(len(known))).astype(bool) @ n_alike).tolist()
    if of_parts:
        roots = np.array([_root_of_parts(group) for group in groups])
    else:
        measures = zip(*(each.errors for _, each in known), strict=True)
        roots = np.sqrt([over_prompts(errors).power(2).sum(axis=1) for errors in measures]).T
    unknown = [[each.errors for each in group if each.prompts is None] for group in groups]
    roots += [np.sum(errors, axis=0) if errors else np.zeros(roots.shape[1]) for errors in unknown]
    return [Joint(variances, n) for variances, n in zip((roots**2).tolist(), n_prompts, strict=True)]


def _kinds(sets: Sequence[Marks]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Prompts that are in the very same sets are one kind: of thousands that most sets have, a few kinds are left.

    Which set has which kind, as pairs, and how many prompts each kind has. Equal prompts are told by 64 bits, and so
    are kinds.
    """
    owner = np.repeat(np.arange(len(sets)), [len(marks) for marks in sets])
    _, prompt = np.unique(np.concatenate(sets), return_inverse=True)
    of_sets = np.random.default_rng(0).integers(2**64, size=len(sets), dtype=np.uint64)
    where = np.zeros(prompt.max() + 1, np.uint64)
    np.bitwise_xor.at(where, prompt, of_sets[owner])
    _, one, kind, n_alike = np.unique(where, return_index=True, return_inverse=True, return_counts=True)
    told = np.isin(prompt, one)
    return owner[told], kind[prompt[told]], n_alike


def _root_of_parts(group: Sequence[Standing]) -> npt.NDArray[np.float64]:
    """Groups of sets are joined by common prompts, directly or through others."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    sets = _sets(group)
    owner = np.repeat(np.arange(len(sets)), [len(marks) for marks in sets])
    _, prompt = np.unique(np.concatenate(sets), return_inverse=True)
    has = csr_array((np.ones(len(owner)), (owner, prompt)))
    n_joined, joined = connected_components(has @ has.T, directed=False)
    moved = np.array([each.errors for each in group if each.prompts is not None])
    together = np.zeros((n_joined, moved.shape[1]))
    np.add.at(together, joined, moved)
    root: npt.NDArray[np.float64] = np.sqrt((together**2).sum(axis=0))
    return root
