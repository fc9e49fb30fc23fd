"""One number with its interval, what it was computed from, and why it is missing where it is missing."""

from typing import Self

from pydantic import Field, model_validator

from trainer.recipe import Model


class Estimate(Model):
    """A statistic of one scorer against one oracle; a row of the ``correlations`` table. Never NaN."""

    scorer: str
    oracle: str
    statistic: str
    """``pearson_pooled``, ``pearson_within``, ...: docs/statistics.md defines each."""

    stratum: str = "all"
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
