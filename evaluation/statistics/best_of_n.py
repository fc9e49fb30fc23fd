"""What the oracle thinks of the response that a scorer would have chosen from N: trust under optimisation pressure.

From k responses in the scorer's order, the one chosen from N drawn without replacement is the j-th worst with
probability C(j-1, N-1) / C(k, N), so that

    E[o of the best of N] = sum_{j >= N} C(j-1, N-1) / C(k, N) o_(j)

is unbiased (the estimator of Nakano et al. 2021, WebGPT, appendix I). Scores that tie share the mean of their
probabilities, as if ties were broken by lot. Prompts count equally.

Best-of-N is at most KL(N) = log N - (N - 1) / N away from the policy: an upper bound (Beirami et al. 2024), which
Gao et al. (2023, equation 1) fit with R(d) = d (a - b d), d = sqrt(KL), R the gain over one response.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.statistics.bootstrap import Floats, Ints, Known
from evaluation.statistics.measured import Measured, measured
from evaluation.statistics.ordering import order, runs

PROXY, ORACLE, CEILING = "best_of_n_proxy", "best_of_n_oracle", "best_of_n_ceiling"
"""The curves: the scorer's value of its choice, the oracle's value of it, and the oracle's of its own; x is N."""

BEST_N, REGRET, DECLINE = "best_of_n_best", "best_of_n_regret", "best_of_n_decline"
GAO_ALPHA, GAO_BETA = "best_of_n_gao_alpha", "best_of_n_gao_beta"

TOO_FEW = "no prompt has enough responses for more than one N"
NO_SECOND = "best of N is not resampled over a second cluster"

_GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


def kl_bound(n: float) -> float:
    """log N - (N - 1) / N in nats: how far best-of-N can be from the policy it draws from, at most."""
    return float(np.log(n) - (n - 1) / n)


def choices(most_responses: int) -> tuple[int, ...]:
    """The N to estimate where a prompt has at most so many responses: up to a quarter, beyond which noise reigns."""
    largest = max(1, most_responses // 4)
    return tuple(sorted({*(n for n in _GRID if n <= largest), min(largest, _GRID[-1])}))


class Chooser:
    """Whoever takes the best of N by some values (rows,) of each prompt's responses; ``prompt`` (rows,) is sorted.

    Prompts with fewer responses than the largest N are left out, so that every N is about the same prompts.
    """

    def __init__(self, prompt: Ints, values: Floats, n_prompts: int) -> None:
        self.sizes = np.bincount(prompt, minlength=n_prompts)
        self.ns = choices(int(self.sizes.max(initial=0)))
        self.large = self.sizes >= self.ns[-1]
        rows = np.flatnonzero(self.large[prompt])
        self._prompt = prompt[rows]
        rank = np.unique(values[rows], return_inverse=True)[1]
        by_rank = order(self._prompt, rank)
        self._rows = rows[by_rank]
        self._chances = _chances(self._prompt, rank[by_rank], self.ns)

    def expected(self, values: Floats) -> list[Floats]:
        """By N the mean of other ``values`` (rows,) of the choice, (prompts,)."""
        values = values[self._rows]
        by_prompt = (np.bincount(self._prompt, each * values, len(self.sizes)) for each in self._chances)
        return [np.asarray(each, dtype=np.float64) for each in by_prompt]


class BestOfN(Known):
    """Per prompt [n, present, proxy by N, oracle by N, ceiling by N]."""

    def __init__(
        self, prompt: Ints, score: Floats, oracle: Floats, n_prompts: int, ceiling: Sequence[Floats] | None = None
    ) -> None:
        """``ceiling``, where known, is what the oracle expects of its own choices from these rows."""
        chooser = Chooser(prompt, score, n_prompts)
        self.ns, large = chooser.ns, chooser.large
        if ceiling is None:
            ceiling = Chooser(prompt, oracle, n_prompts).expected(oracle)
        sums = [
            np.where(large, chooser.sizes, 0).astype(np.float64),
            (large & (chooser.sizes > 0)).astype(np.float64),
            *chooser.expected(score),
            *chooser.expected(oracle),
            *ceiling,
        ]
        super().__init__(np.stack(sums, axis=-1))

    def crossed(self, prompt_weights: Floats, second_weights: Floats) -> Floats:
        """Nothing: which response is chosen depends on which second clusters there are."""
        return np.full((len(prompt_weights), self.width), np.nan)

    def measures(self, totals: Floats | None) -> dict[tuple[str, float], Measured]:
        """By curve and N the mean over prompts."""
        count = len(self.ns)
        return {
            (curve, n): self._mean(2 + place * count + index, totals)
            for place, curve in enumerate((PROXY, ORACLE, CEILING))
            for index, n in enumerate(self.ns)
        }

    def summary(self, totals: Floats | None) -> dict[str, Measured]:
        """N*, what is lost at the largest N against the ceiling, and the two parameters of Gao's curve."""
        count = len(self.ns)
        oracle = slice(2 + count, 2 + 2 * count)

        def best(at: Floats) -> Floats:
            means = at[..., oracle] / at[..., 1:2]
            n = np.asarray(self.ns, dtype=np.float64)[np.argmax(np.nan_to_num(means, nan=-np.inf), axis=-1)]
            return np.asarray(np.where(np.isfinite(means).all(axis=-1), n, np.nan))

        def regret(at: Floats) -> Floats:
            return np.asarray((at[..., 2 + 3 * count - 1] - at[..., 2 + 2 * count - 1]) / at[..., 1])

        def fitted(at: Floats) -> Floats:
            means = at[..., oracle] / at[..., 1:2]
            return (means[..., 1:] - means[..., :1]) @ gao_weights(self.ns[1:]).T

        present = self._sums[:, 1] > 0
        two, four = present & (count >= 2), present & (count >= 4)
        few = "too few responses to a prompt for four N"
        return {
            BEST_N: measured(best, self._sums, totals, two, TOO_FEW),
            REGRET: measured(regret, self._sums, totals, two, TOO_FEW),
            GAO_ALPHA: measured(lambda at: fitted(at)[..., 0], self._sums, totals, four, few),
            GAO_BETA: measured(lambda at: fitted(at)[..., 1], self._sums, totals, four, few),
        }

    def _mean(self, place: int, totals: Floats | None) -> Measured:
        return measured(
            lambda at: np.asarray(at[..., place] / at[..., 1]), self._sums, totals, self._sums[:, 1] > 0, TOO_FEW
        )


def gao_weights(ns: Sequence[int]) -> Floats:
    """What turns gains R at ``ns`` into (a, b) of R = d (a - b d) by least squares, (2, len(ns))."""
    d = np.sqrt([kl_bound(n) for n in ns])
    return np.asarray(np.linalg.pinv(np.stack([d, -d * d], axis=-1)) if len(ns) else np.zeros((2, 0)))


def _chances(prompt: Ints, rank: Ints, ns: Sequence[int]) -> list[Floats]:
    """By N the probability of being chosen (rows,); rows are sorted by prompt and rank, the worst first."""
    starts, sizes = runs(prompt)
    # prompts with equally many responses have the same probabilities, which are looked up
    different, which = np.unique(sizes, return_inverse=True)
    first = np.cumsum(different) - different
    place, size = np.arange(different.sum()) - np.repeat(first, different), np.repeat(different, different)
    at = np.arange(len(prompt)) + np.repeat(first[which] - starts, sizes)
    tie_starts, tie_sizes = runs(prompt, rank)
    tied = len(tie_starts) < len(prompt)
    result = []
    for n in ns:
        chances = _choose_ratio(place, size, n)[at]
        if tied:
            chances = np.repeat(np.add.reduceat(chances, tie_starts) / tie_sizes, tie_sizes)
        result.append(chances)
    return result


def _choose_ratio(place: Ints, size: Ints, n: int) -> Floats:
    """C(place, n - 1) / C(size, n) = n / size times the product of (place - i) / (size - 1 - i) for i below n - 1."""
    result = n / size
    for i in range(n - 1):
        result = result * np.maximum(place - i, 0) / np.maximum(size - 1 - i, 1)
    return np.asarray(result)
