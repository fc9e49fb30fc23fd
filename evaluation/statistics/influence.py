"""How much each prompt moves a number, and what that makes its standard error, in the sample and in every draw.

Leaving one prompt out at a time, z_(p) = atanh r_(p) of a correlation, or the number itself of a mean, the jackknife's
variance is the sum of u_p^2 with

    u_p = sqrt((P - 1) / P) (mean z_() - z_(p))

(Tukey 1958; Efron and Stein 1981: on average it is not too small). A bootstrap draw takes prompt p W_p times, so its
variance is sum_p W_p u_p^2 - (sum_p W_p u_p)^2 / P: the same influences, about the draw's own mean.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace

import numpy as np

from evaluation.statistics.bootstrap import Floats, Known
from evaluation.statistics.interval import MOTIONLESS, Scale, fisher_z
from evaluation.statistics.measured import Measured


def influences(number: Callable[[Floats], Floats], sums: Floats, scale: Scale = "atanh") -> Floats | None:
    """u (prompts,) of ``number``, a function of sums over prompts (..., width), from each prompt's ``sums``.

    None where the number does not survive without some prompt, or where there are not two.
    """
    if len(sums) < 2:
        return None
    with np.errstate(all="ignore"):
        without = number(sums.sum(axis=0) - sums)
        without = fisher_z(without) if scale == "atanh" else without
    if not np.isfinite(without).all():
        return None
    return np.asarray(np.sqrt((len(sums) - 1) / len(sums)) * (without.mean() - without))


class Influences(Known):
    """Sums of u and of u^2 of several numbers, each under the name it was asked by.

    Leaving out a prompt says nothing of second clusters.
    """

    def __init__(self, asked: Mapping[Hashable, Floats | None]) -> None:
        """``asked`` has influences (prompts,) by name, None for numbers that have none."""
        known = {name: each for name, each in asked.items() if each is not None}
        self._place = {name: place for place, name in enumerate(known)}
        self._n_prompts = len(next(iter(known.values()), ()))
        sums = np.empty((self._n_prompts, 2 * len(known)))
        for place, each in enumerate(known.values()):
            sums[:, 2 * place], sums[:, 2 * place + 1] = each, each * each
        super().__init__(sums)

    def sure(self, name: Hashable, found: Measured, totals: Floats | None) -> Measured:
        """What was measured, with its standard errors; as it is where it has no influences or they are all 0.

        ``totals`` (draws, width) are what was drawn of these sums.
        """
        place = self._place.get(name)
        if place is None or totals is None:
            return found
        error = float(np.sqrt(self._sums[:, 2 * place + 1].sum()))
        if error <= MOTIONLESS:
            return found
        total, squares = totals[:, 2 * place], totals[:, 2 * place + 1]
        variances = np.maximum(squares - total**2 / self._n_prompts, 0)
        return replace(found, errors=(error, np.sqrt(variances)))
