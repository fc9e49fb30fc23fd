"""The joint prompt-cluster bootstrap, on sums instead of rows.

Responses to one prompt are not independent, so whole prompts are drawn: in each draw prompt p counts W_p times,
W ~ Multinomial(P; 1/P, ..., 1/P) (Field & Welsh 2007, "Bootstrapping clustered data"). A statistic that depends on its
rows only through sums over prompts then costs a few multiplications a draw, whatever the number of responses, and
the same draws serve every scorer and oracle, so that their differences have intervals too.

A second clustering, such as the policy that wrote the response, crosses the first: V_g ~ Multinomial(G; 1/G, ...) is
drawn independently and a row counts W_p V_g times (Owen 2007, "The pigeonhole bootstrap"; slightly conservative).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evaluation.statistics.cores import shared_by_cores
from trainer.recipe import Model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NUMBERS_IN_A_BLOCK = 16_000_000
"""Bounds a matrix of weights to 128 MB; fewer rows at a time would leave the multiplication waiting for memory."""

_DRAWS_IN_A_STREAM = 250
"""So many draws have a stream of random numbers of their own, and are made by one core."""

_NUMBERS_IN_A_GROUP = 40_000_000
"""Bounds the per-prompt sums held at once to 320 MB; more columns are drawn for in turn, with the same draws."""


class BootstrapSettings(Model):
    """How a recipe asks for intervals."""

    draws: int = Field(2000, ge=100, le=100_000)
    """Bootstrap samples. 2,000 settle the ends of a 95 % interval to a tenth of its width or so."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Share of studies like this one whose interval should hold the truth."""


class Contributions(ABC):
    """Something whose statistic depends on its rows only through sums over prompts."""

    width: int
    """How many sums."""

    @abstractmethod
    def contributions(self, weights: Floats | None) -> Floats:
        """Sums (draws, prompts, width) with rows weighted by second cluster, ``weights`` (draws, second clusters).

        None stands for one draw in which every row counts once.
        """

    def crossed(self, prompt_weights: Floats, second_weights: Floats) -> Floats:
        """Sums (draws, width) over all rows, weighted by prompt (draws, prompts) times second cluster."""
        return np.asarray(np.einsum("bp,bpf->bf", prompt_weights, self.contributions(second_weights)))


class Known(Contributions):
    """Sums by prompt (prompts, width) that are there already, of whole prompts alone."""

    def __init__(self, sums: Floats) -> None:
        self.width = sums.shape[1]
        self._sums = sums

    def contributions(self, weights: Floats | None) -> Floats:
        assert weights is None, "a second cluster would form them anew"
        return self._sums[None]


@dataclass(frozen=True)
class Bootstrap:
    """Equal settings give equal draws, so estimates made apart on the same prompts can be compared draw by draw."""

    n_prompts: int
    n_second: int | None
    """How many second clusters; None where prompts are the only clusters."""

    draws: int
    seed: int

    def totals(self, columns: Sequence[Contributions]) -> Sequence[Floats | None]:
        """For each column the sums (draws, width) of every bootstrap sample; None where one prompt alone has none."""
        if self.n_prompts < 2:
            return [None] * len(columns)
        if self.n_second is not None:
            return [self._crossed_totals(column, self.n_second) for column in columns]
        result: list[Floats] = []
        distinct, places = self._none_yet(columns), []
        for done, column in enumerate(columns, start=1):
            places.append(distinct.places(column.contributions(None)[0]))
            if distinct.size > _NUMBERS_IN_A_GROUP:
                result += self._drawn(distinct, places)
                distinct, places = self._none_yet(columns[done:]), []
        return result + self._drawn(distinct, places)

    def _none_yet(self, columns: Sequence[Contributions]) -> "_DistinctSums":
        widths = [column.width for column in columns]
        most = min(sum(widths), _NUMBERS_IN_A_GROUP // self.n_prompts + 1 + max(widths, default=0))
        return _DistinctSums(self.n_prompts, most)

    def _drawn(self, distinct: "_DistinctSums", places: Sequence[Ints]) -> list[Floats]:
        if not places:
            return []
        sums, block = distinct.sums(), self._block(1)

        def made_of(stream: _Stream) -> Floats:
            return np.concatenate([weights @ sums for weights in stream.weights(self.n_prompts, block)])

        totals = np.concatenate(shared_by_cores(made_of, self._streams(0)))
        return [totals[:, place] for place in places]

    def weights(self, width: int) -> Iterator[Floats]:
        """How often each prompt counts, a block of draws (at most so many, prompts) at a time, with the draws above.

        For statistics that are no function of sums; ``width`` numbers are made of each weight.
        """
        block = self._block(width)
        for stream in self._streams(0):
            yield from stream.weights(self.n_prompts, block)

    def _crossed_totals(self, column: Contributions, n_second: int) -> Floats:
        # within-prompt sums are not linear in the second weights, so each draw forms its own
        block = self._block(4 * column.width)  # beside the contributions stand their temporaries

        def made_of(streams: tuple[_Stream, _Stream]) -> Floats:
            prompts, seconds = streams
            blocks = zip(prompts.weights(self.n_prompts, block), seconds.weights(n_second, block), strict=True)
            return np.concatenate([column.crossed(w, v) for w, v in blocks])

        return np.concatenate(shared_by_cores(made_of, zip(self._streams(0), self._streams(1), strict=True)))

    def _block(self, width: int) -> int:
        return max(1, _NUMBERS_IN_A_BLOCK // (self.n_prompts * width))

    def _streams(self, clustering: int) -> "list[_Stream]":
        """Those of the prompts, 0, or of the second clusters, 1."""
        seed = np.random.SeedSequence(self.seed).spawn(2)[clustering]
        firsts = range(0, self.draws, _DRAWS_IN_A_STREAM)
        sizes = [min(_DRAWS_IN_A_STREAM, self.draws - first) for first in firsts]
        return [_Stream(*each) for each in zip(seed.spawn(len(sizes)), sizes, strict=True)]


@dataclass(frozen=True)
class _Stream:
    """Some draws whose random numbers depend on no other draws, so that any core can make them."""

    seed: np.random.SeedSequence
    draws: int

    def weights(self, size: int, block: int) -> Iterator[Floats]:
        """Yield matrices (at most ``block``, size) of multinomial counts, the same counts whatever the block."""
        generator = np.random.default_rng(self.seed)
        for first in range(0, self.draws, block):
            weights = np.empty((min(block, self.draws - first), size))
            for row in weights:
                # counting uniform picks is the multinomial, and far faster than drawing its binomials one by one
                row[:] = np.bincount(generator.integers(size, size=size, dtype=np.uint32), minlength=size)
            yield weights


class _DistinctSums:
    """Sums by prompt of several columns, each that is equal in two of them held, and drawn for, once.

    Scorers on the same responses share what is the oracle's, and much is the same for every prompt.
    """

    def __init__(self, n_prompts: int, most: int) -> None:
        """At most ``most`` of them; what is not used of their memory is never touched, and so never there."""
        self._places: dict[bytes, int] = {}
        self._sums: Floats = np.empty((most, n_prompts))

    @property
    def size(self) -> int:
        """How many numbers are held."""
        return len(self._places) * int(self._sums.shape[1])

    def places(self, sums: Floats) -> Ints:
        """Where each of ``sums`` (prompts, width) stands among the distinct ones, (width,)."""
        found = []
        for each in np.ascontiguousarray(sums.T):
            place = self._places.setdefault(blake2b(each).digest(), len(self._places))
            self._sums[place] = each
            found.append(place)
        return np.array(found, dtype=np.int64)

    def sums(self) -> Floats:
        """The distinct ones (prompts, any)."""
        return self._sums[: len(self._places)].T
