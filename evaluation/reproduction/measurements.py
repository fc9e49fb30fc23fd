"""Numbers that a study has measured, each of one subject in one seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean

import numpy as np

from evaluation.statistics.bootstrap import Floats

Place = float | None
"""A temperature or a round; None for what has neither."""

Key = tuple[int, str, str, Place]
"""(seed, subject, measure, place)"""


@dataclass(frozen=True)
class Quantity:
    """A number of one subject: of a policy or of a scorer."""

    subject: str
    measure: str
    temperatures: tuple[float, ...] = ()
    """The mean over these, or over these rounds; none for what has no such place."""


class Measurements:
    """Numbers by (seed, subject, measure, temperature), and, where they are known, what they were in every draw."""

    def __init__(self, values: Mapping[Key, float], replicates: Mapping[Key, Floats] | None = None) -> None:
        """``replicates`` (draws,) of a seed come from the same bootstrap draws of that seed's prompts."""
        self._values = values
        self._replicates = replicates or {}
        self.seeds = sorted({seed for seed, *_ in values})

    def of(self, seed: int, quantity: Quantity) -> float | None:
        """The quantity in one seed, None where a part of it is undefined there."""
        found = [self._values.get(key) for key in _keys(seed, quantity)]
        known = [value for value in found if value is not None]
        return mean(known) if len(known) == len(found) else None

    def replicates(self, seed: int, quantity: Quantity) -> Floats | None:
        """The quantity in every bootstrap draw of the seed's prompts (draws,); None where they are not known."""
        found = [self._replicates.get(key) for key in _keys(seed, quantity)]
        known = [each for each in found if each is not None]
        return np.asarray(np.mean(known, axis=0)) if len(known) == len(found) else None

    def quantities(self) -> list[Quantity]:
        """Everything that some seed has measured, in order of appearance, a temperature at a time."""
        places = dict.fromkeys((subject, measure, place) for _, subject, measure, place in self._values)
        return [Quantity(subject, measure, () if place is None else (place,)) for subject, measure, place in places]


def _keys(seed: int, quantity: Quantity) -> list[Key]:
    places = quantity.temperatures or (None,)
    return [(seed, quantity.subject, quantity.measure, place) for place in places]
