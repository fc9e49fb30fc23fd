"""The rows that statistics are taken of: sorted by prompt, with prompts and second clusters numbered from 0."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import Floats, Ints
from trainer.errors import InvalidInput

_MOST_CELLS = 20_000_000
"""Prompts times second clusters: at 48 bytes each, the sums of one column take 1 GB."""


@dataclass(frozen=True)
class Key:
    """Which column: a scorer and an oracle on the rows of ``usable``, packed bits."""

    scorer: str
    oracle: str
    usable: bytes


@dataclass(frozen=True)
class Rows:
    """The rows of a key, sorted by prompt."""

    prompt: Ints
    score: Floats
    oracle: Floats
    length: Floats | None
    second: Ints | None


def temperatures_of(temperature: Floats) -> list[float]:
    """Those recorded among rows (rows,), lowest first."""
    return [float(each) for each in np.unique(temperature) if np.isfinite(each)]


class Sample:
    """Scores and judgements (rows,) of one temperature and stratum; what is not finite is missing."""

    def __init__(
        self,
        clusters: Ints,
        second: Ints | None,
        scores: Mapping[str, Floats],
        oracles: Mapping[str, Floats],
        *,
        n_prompts: int | None = None,
        length: Floats | None = None,
    ) -> None:
        """With ``n_prompts``, clusters are numbers below it, and draws are of all these prompts.

        ``length`` (rows,) is the logarithm of the responses' lengths. Raises InvalidInput where the second cluster has
        too many values to be one.
        """
        order = np.argsort(clusters, kind="stable")
        if n_prompts is None:
            prompts, self._prompt = np.unique(clusters[order], return_inverse=True)
            n_prompts = len(prompts)
        else:
            self._prompt = clusters[order]
        self.n_rows, self.n_prompts = len(clusters), n_prompts
        self._second: Ints | None = None
        self.n_second: int | None = None
        if second is not None:
            groups, self._second = np.unique(second[order], return_inverse=True)
            self.n_second = len(groups)
            if self.n_prompts * self.n_second > _MOST_CELLS:
                raise InvalidInput(
                    f"the second cluster has {self.n_second} values for {self.n_prompts} prompts; "
                    "choose a column that groups the responses, such as the policy"
                )
        self._scores = {name: _finite_or_nan(values[order]) for name, values in scores.items()}
        self._oracles = {name: _finite_or_nan(values[order]) for name, values in oracles.items()}
        self._length = None if length is None else _finite_or_nan(length[order])

    @property
    def has_length(self) -> bool:
        """Whether any row's length is known."""
        return self._length is not None and bool(np.isfinite(self._length).any())

    def key(self, oracle: str, scorer: str, *others: str, length: bool = False) -> Key:
        """The column of ``scorer`` on the rows where it, ``others``, ``oracle`` and, if asked, the length are known."""
        usable = np.isfinite(self._oracles[oracle])
        for name in (scorer, *others):
            usable &= np.isfinite(self._scores[name])
        if length and self._length is not None:
            usable &= np.isfinite(self._length)
        return Key(scorer, oracle, np.packbits(usable).tobytes())

    def rows(self, key: Key) -> Rows:
        """What the key's rows have."""
        known = self._usable(key)
        usable = slice(None) if known.all() else known  # nothing is copied where nothing is missing
        return Rows(
            self._prompt[usable],
            self._scores[key.scorer][usable],
            self._oracles[key.oracle][usable],
            None if self._length is None else self._length[usable],
            None if self._second is None else self._second[usable],
        )

    def series(self, values: Floats) -> tuple[Ints, Floats, Ints | None]:
        """Prompt, value and second cluster of the rows where ``values``, in the sample's order, are finite."""
        known = np.isfinite(values)
        return self._prompt[known], values[known], None if self._second is None else self._second[known]

    def all_series(self) -> dict[str, Floats]:
        """Every scorer's and oracle's values, in the sample's order; of a name that is both, the oracle's."""
        return {**self._scores, **self._oracles}

    def n_dropped(self, key: Key) -> int:
        return self.n_rows - int(self._usable(key).sum())

    def _usable(self, key: Key) -> NDArray[np.bool_]:
        return np.unpackbits(np.frombuffer(key.usable, np.uint8), count=self.n_rows).astype(bool)


def by_rows(keys: Iterable[Key]) -> list[list[Key]]:
    """The keys divided by what they have in common: the oracle and the rows, and so its pairs and ranks."""
    found: dict[tuple[str, bytes], list[Key]] = {}
    for key in keys:
        found.setdefault((key.oracle, key.usable), []).append(key)
    return list(found.values())


def _finite_or_nan(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)
