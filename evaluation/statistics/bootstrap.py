"""The joint prompt-cluster bootstrap, on sums instead of rows.

Responses to one prompt are not independent, so whole prompts are drawn: in each draw prompt p counts W_p times,
W ~ Multinomial(P; 1/P, ..., 1/P) (Field & Welsh 2007, "Bootstrapping clustered data"). A statistic that depends on its
rows only through sums over prompts then costs a few multiplications a draw, whatever the number of responses, and
the same draws serve every scorer and oracle, so that their differences have intervals too.

A second clustering, such as the policy that wrote the response, crosses the first: V_g ~ Multinomial(G; 1/G, ...) is
drawn independently and a row counts W_p V_g times (Owen 2007, "The pigeonhole bootstrap"; slightly conservative).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trainer.recipe import Model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Scale = Literal["atanh", "plain"]

_NUMBERS_IN_A_BLOCK = 16_000_000
"""Bounds a matrix of weights to 128 MB; fewer rows at a time would leave the multiplication waiting for memory."""

_NUMBERS_IN_A_GROUP = 48_000_000
"""Bounds the per-prompt sums held at once to 384 MB; more columns are drawn for in turn, with the same draws."""

_MOST_UNDEFINED_DRAWS = 0.1
"""An interval over fewer than nine tenths of the draws would describe another population."""

BEYOND_RANGE = "the draws spread beyond what floating point numbers can hold"


class BootstrapSettings(Model):
    """How a recipe asks for intervals."""

    draws: int = Field(2000, ge=100, le=100_000)
    """Bootstrap samples. 2,000 settle the ends of a 95 % interval to a tenth of its width or so."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Share of studies like this one whose interval should hold the truth."""


class Contributions(Protocol):
    """Something whose statistic depends on its rows only through sums over prompts."""

    width: int
    """How many sums."""

    def contributions(self, weights: Floats | None) -> Floats:
        """Sums (draws, prompts, width) with rows weighted by second cluster, ``weights`` (draws, second clusters).

        None stands for one draw in which every row counts once.
        """
        ...

    def crossed(self, prompt_weights: Floats, second_weights: Floats) -> Floats:
        """Sums (draws, width) over all rows, weighted by prompt (draws, prompts) times second cluster."""
        ...


def summed_over_prompts(prompt_weights: Floats, contributions: Floats) -> Floats:
    """What ``Contributions.crossed`` is wherever each prompt's sums stand for themselves."""
    return np.asarray(np.einsum("bp,bpf->bf", prompt_weights, contributions))


@dataclass(frozen=True)
class Bootstrap:
    """Equal settings give equal draws, so estimates made apart on the same prompts can be compared draw by draw."""

    n_prompts: int
    n_second: int | None
    """How many second clusters; None where prompts are the only clusters."""

    draws: int
    seed: int

    def totals(self, columns: Sequence[Contributions]) -> list[Floats]:
        """For each column the sums (draws, width) of every bootstrap sample."""
        if self.n_second is not None:
            return [self._crossed_totals(column, self.n_second) for column in columns]
        result: list[Floats] = []
        for group in self._groups(columns):
            sums = np.concatenate([column.contributions(None)[0] for column in group], axis=1)
            totals = np.concatenate([weights @ sums for weights in self._prompt_weights(self._block(1))])
            edges = np.cumsum([column.width for column in group])[:-1]
            result.extend(np.split(totals, edges, axis=1))
        return result

    def weights(self, width: int) -> Iterator[Floats]:
        """How often each prompt counts, a block of draws (at most so many, prompts) at a time, with the draws above.

        For statistics that are no function of sums; ``width`` numbers are made of each weight.
        """
        return self._prompt_weights(self._block(width))

    def _crossed_totals(self, column: Contributions, n_second: int) -> Floats:
        # within-prompt sums are not linear in the second weights, so each draw forms its own
        block = self._block(4 * column.width)  # beside the contributions stand their temporaries
        blocks = zip(self._prompt_weights(block), self._second_weights(n_second, block), strict=True)
        return np.concatenate([column.crossed(w, v) for w, v in blocks])

    def _block(self, width: int) -> int:
        return max(1, _NUMBERS_IN_A_BLOCK // (self.n_prompts * width))

    def _groups(self, columns: Sequence[Contributions]) -> Iterator[Sequence[Contributions]]:
        size = max(1, _NUMBERS_IN_A_GROUP // (self.n_prompts * max((column.width for column in columns), default=1)))
        for first in range(0, len(columns), size):
            yield columns[first : first + size]

    def _prompt_weights(self, block: int) -> Iterator[Floats]:
        return _multinomial(self._seeds()[0], self.n_prompts, self.draws, block)

    def _second_weights(self, n_second: int, block: int) -> Iterator[Floats]:
        return _multinomial(self._seeds()[1], n_second, self.draws, block)

    def _seeds(self) -> list[np.random.SeedSequence]:
        return np.random.SeedSequence(self.seed).spawn(2)


def _multinomial(seed: np.random.SeedSequence, size: int, draws: int, block: int) -> Iterator[Floats]:
    """Yield matrices (at most ``block``, size) of multinomial counts, the same counts whatever the block."""
    generator = np.random.default_rng(seed)
    for first in range(0, draws, block):
        weights = np.empty((min(block, draws - first), size))
        for row in weights:
            # counting uniform picks is the multinomial, and far faster than drawing its binomials one by one
            row[:] = np.bincount(generator.integers(size, size=size), minlength=size)
        yield weights


@dataclass(frozen=True)
class Interval:
    """Percentile interval and standard error; all None where too many draws were undefined."""

    lower: float | None
    upper: float | None
    standard_error: float | None
    undefined_reason: str | None = None


def percentile_interval(replicates: Floats, confidence: float, scale: Scale) -> Interval:
    """Interval of a statistic from its bootstrap ``replicates`` (draws,), NaN where a draw left it undefined.

    On the ``atanh`` scale of correlations, neighbouring draws are interpolated where their spread is even.
    """
    defined = replicates[np.isfinite(replicates)]
    undefined = replicates.size - defined.size
    if undefined > _MOST_UNDEFINED_DRAWS * replicates.size or defined.size < 2:
        return Interval(None, None, None, f"undefined in {undefined} of {replicates.size} bootstrap draws")
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    ends = np.tanh(np.quantile(fisher_z(defined), tails)) if scale == "atanh" else np.quantile(defined, tails)
    with np.errstate(over="ignore"):
        error = defined.std(ddof=1)
    if not np.isfinite([*ends, error]).all():
        return Interval(None, None, None, BEYOND_RANGE)
    return Interval(float(ends[0]), float(ends[1]), float(error))


def fisher_z(correlation: Floats) -> Floats:
    """atanh of a correlation; exactly +-1 becomes large but finite."""
    limit = np.nextafter(1.0, 0.0)
    return np.arctanh(np.clip(correlation, -limit, limit))


def describe_method(draws: int, confidence: float, *, crossed: bool) -> str:
    """How an interval was made, for whoever reads the estimate."""
    kind = "bootstrap of prompts crossed with second clusters" if crossed else "prompt-cluster bootstrap"
    return f"{kind}, {draws} draws, {100 * confidence:g} % percentile interval"
