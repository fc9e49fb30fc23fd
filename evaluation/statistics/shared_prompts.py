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

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


class Standings(NamedTuple):
    """Rows of groups by the set of prompts they stand on: those of one group and set move together wholly."""

    group: Places
    """(standings,)"""

    prompts: Places
    """(standings,) the place of their set among all sets."""

    errors: Numbers
    """(standings, measures) by measure of error, sum of w_i s_i over the rows."""

    def those(self, mask: Mask) -> "Standings":
        """Where ``mask`` holds."""
        return Standings(self.group[mask], self.prompts[mask], self.errors[mask])


class Joint(NamedTuple):
    """What the rows of each group come to."""

    variances: Numbers
    """(groups, measures) the greatest variance that sum of w_i e_i can have, given which prompts are shared."""

    n_prompts: Places
    """(groups,) different ones, of those that are known."""


def joint_errors(standings: Standings, sets: Sequence[Marks | None], of_parts: Mask) -> Joint:
    """Of each group. Nobody knows the prompts of a set that is None: they may be any other run's.

    With u_a an error of set a, the bounds above add up to a sum over prompts, of (sum over sets a that have the
    prompt of u_a / sqrt |P_a|)^2: sum of u_a^2 for sets with nothing in common, (sum of u_a)^2 for equal ones. What
    stands on unknown prompts moves with everything, by the triangle inequality.

    Estimates ``of_parts`` (groups,) stand on some of their set's prompts, nobody knows which, and the common
    ones may be all of these: then sets that overlap at all move together wholly.
    """
    n_groups = len(of_parts)
    sizes = np.array([0 if marks is None else len(marks) for marks in sets], np.intp)
    is_known = np.array([marks is not None for marks in sets], bool)[standings.prompts]
    known = standings.those(is_known)
    several = np.bincount(known.group, minlength=n_groups) > 1
    alone = known.those(~several[known.group])
    roots = _summed(alone.errors, alone.group, n_groups)
    n_prompts = np.bincount(alone.group, sizes[alone.prompts], n_groups).astype(np.intp)
    for parts, roots_of in ((False, _by_prompt), (True, _by_joined_sets)):
        some = known.those((several & (of_parts == parts))[known.group])
        if len(some.group):
            overlaps = _Overlaps(some, sets)
            roots += roots_of(some, overlaps, n_groups)
            n_prompts += overlaps.n_prompts(some, n_groups)
    unknown = standings.those(~is_known)
    return Joint((roots + _summed(unknown.errors, unknown.group, n_groups)) ** 2, n_prompts)


def _summed(errors: Numbers, group: Places, n_groups: int) -> Numbers:
    """(groups, measures)"""
    found = np.zeros((n_groups, errors.shape[1]))
    np.add.at(found, group, errors)
    return found


def _by_prompt(some: Standings, overlaps: "_Overlaps", n_groups: int) -> Numbers:
    shares = overlaps.of_sets(np.sqrt(overlaps.n_alike[overlaps.kind] / overlaps.sizes[overlaps.owner]))
    by_kind = (overlaps.of_groups(some, errors, n_groups) @ shares for errors in some.errors.T)
    roots: Numbers = np.sqrt([each.power(2).sum(axis=1) for each in by_kind]).T
    return roots


def _by_joined_sets(some: Standings, overlaps: "_Overlaps", n_groups: int) -> Numbers:
    """A group's sets are joined by common prompts, directly or through others."""
    from scipy.sparse import csr_array  # type: ignore[import-untyped]  # commands that list jobs come by here
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    n, n_kinds = len(some.group), len(overlaps.n_alike)
    standing, kind = overlaps.of_sets(np.ones(len(overlaps.kind)))[overlaps.place].nonzero()
    _, joint = np.unique(some.group[standing] * n_kinds + kind, return_inverse=True)
    n_nodes = n + joint.max() + 1
    links = csr_array((np.ones(len(joint)), (standing, n + joint)), (n_nodes, n_nodes))
    n_joined, joined = connected_components(links, directed=False)
    group = np.zeros(n_joined, np.intp)
    group[joined[:n]] = some.group
    return np.sqrt(_summed(_summed(some.errors, joined[:n], n_joined) ** 2, group, n_groups))


class _Overlaps:
    """Which prompts sets have in common. Those that are in the very same sets are one kind: of thousands that most sets
    have, a few kinds are left. Equal prompts are told by 64 bits, and so are kinds."""

    def __init__(self, some: Standings, sets: Sequence[Marks | None]) -> None:
        used, self.place = np.unique(some.prompts, return_inverse=True)  # (standings,) among the sets that are used
        marks = [its for each in used.tolist() if (its := sets[each]) is not None]
        self.sizes = np.array([len(its) for its in marks])
        owner = np.repeat(np.arange(len(marks)), self.sizes)
        _, prompt = np.unique(np.concatenate(marks), return_inverse=True)
        of_sets = np.random.default_rng(0).integers(2**64, size=len(marks), dtype=np.uint64)
        where = np.zeros(prompt.max() + 1, np.uint64)
        np.bitwise_xor.at(where, prompt, of_sets[owner])
        _, one, kind, self.n_alike = np.unique(where, return_index=True, return_inverse=True, return_counts=True)
        told = np.isin(prompt, one)
        self.owner, self.kind = owner[told], kind[prompt[told]]  # each set's kinds, as pairs

    def of_sets(self, values: Numbers) -> Any:  # noqa: ANN401 - scipy has no types
        """(sets, kinds) of the pairs."""
        from scipy.sparse import csr_array

        return csr_array((values, (self.owner, self.kind)), (len(self.sizes), len(self.n_alike)))

    def of_groups(self, some: Standings, values: Numbers, n_groups: int) -> Any:  # noqa: ANN401
        """(groups, sets) of the standings."""
        from scipy.sparse import csr_array

        return csr_array((values, (some.group, self.place)), (n_groups, len(self.sizes)))

    def n_prompts(self, some: Standings, n_groups: int) -> Places:
        """(groups,) how many different ones."""
        has = self.of_groups(some, np.ones(len(some.group)), n_groups) @ self.of_sets(np.ones(len(self.kind)))
        found: Places = has.astype(bool) @ self.n_alike
        return found
