"""One number with its interval, what it was computed from, and why it is missing where it is missing."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, model_validator

from trainer.recipe import Model

Verdict = Literal["better", "worse", "not resolved"]


class Estimated(Model):
    """What every number has beside it. Never NaN."""

    oracle: str
    stratum: str = "all"
    """``all`` responses, the ``untruncated`` or the ``non_degenerate`` ones."""

    temperature: float | None = None
    """Sampling temperature of the responses; None where all are pooled or none was recorded."""

    estimate: float | None
    lower: float | None
    upper: float | None
    standard_error: float | None
    """Standard deviation over the bootstrap draws, in the estimate's own unit."""

    n_prompts: int = Field(ge=0)
    """Prompts that could contribute: for statistics within prompts, those with two usable responses or more."""

    n_responses: int = Field(ge=0)
    """Responses of those prompts with both a score and an oracle's judgement."""

    n_dropped: int = Field(ge=0)
    """Responses whose score or judgement was missing or not finite."""

    n_total: int | None = Field(None, ge=0)
    """Responses there are of this temperature and stratum, whether they have values or not."""

    n_truncated: int | None = Field(None, ge=0)
    """How many of them were cut at the token limit; None where that is not recorded."""

    n_constant_prompts: int | None = Field(None, ge=0)
    """Prompts with two usable responses or more whose scores, or whose judgements, are all equal."""

    method: str
    """How the interval was made, in words a reader can look up."""

    undefined_reason: str | None = None
    """Why the estimate, or only its interval, is missing; None where both are there."""

    @model_validator(mode="after")
    def _missing_numbers_have_a_reason(self) -> Self:
        missing = None in (self.estimate, self.lower, self.upper, self.standard_error)
        if missing != (self.undefined_reason is not None):
            raise ValueError("undefined_reason must say why a number is missing, and only then")
        return self


class Estimate(Estimated):
    """A statistic of one scorer against one oracle; a row of the ``correlations`` table."""

    scorer: str
    statistic: str
    """``pearson_pooled``, ``pearson_within``, ...: docs/statistics.md defines each."""


def oracles_of(estimates: Iterable[Estimate]) -> list[str]:
    """Oracles that scorers are compared with, in the estimates' order."""
    return list(dict.fromkeys(each.oracle for each in estimates if each.scorer != each.oracle))


class CurvePoint(Estimated):
    """A point of a curve, such as the oracle's value of the best of N by a scorer; a row of the ``curves`` table."""

    scorer: str
    curve: str
    x: float


class Comparison(Estimated):
    """A paired difference of one statistic between two scorers; a row of the ``comparisons`` table."""

    scorer_a: str
    scorer_b: str
    statistic: str
    verdict: Verdict
    """Of a against b."""
