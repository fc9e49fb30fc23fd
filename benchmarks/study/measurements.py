"""Numbers that a study has measured, each of one subject in one seed."""

from dataclasses import dataclass
from statistics import mean

Place = float | None
"""A temperature or a round; None for what has neither."""


@dataclass(frozen=True)
class Quantity:
    """A number of one subject: of a policy or of a scorer."""

    subject: str
    measure: str
    temperatures: tuple[float, ...] = ()
    """The mean over these, or over these rounds; none for what has no such place."""


class Measurements:
    """Numbers by (seed, subject, measure, temperature)."""

    def __init__(self, values: dict[tuple[int, str, str, Place], float]) -> None:
        self._values = values
        self.seeds = sorted({seed for seed, *_ in values})

    def of(self, seed: int, quantity: Quantity) -> float | None:
        """The quantity in one seed, None where a part of it is undefined there."""
        places = quantity.temperatures or (None,)
        found = [self._values.get((seed, quantity.subject, quantity.measure, place)) for place in places]
        known = [value for value in found if value is not None]
        return mean(known) if len(known) == len(found) else None

    def quantities(self) -> list[Quantity]:
        """Everything that some seed has measured, in order of appearance, a temperature at a time."""
        places = dict.fromkeys((subject, measure, place) for _, subject, measure, place in self._values)
        return [Quantity(subject, measure, () if place is None else (place,)) for subject, measure, place in places]
