"""What several networks of one kind achieve, in one line: where the middle one lies, and the least and the greatest."""

from collections.abc import Sequence

import numpy as np

from evaluation.statistics.estimate import Estimate


def band(members: Sequence[Estimate], name: str) -> Estimate:
    """Estimates of one statistic of several scorers, at least one, as that of a scorer ``name``.

    The estimate is their median, its interval reaches from the least to the greatest and its standard error is their
    standard deviation: how chance in the networks moves the statistic, where other intervals tell how chance in the
    prompts does. Counts are those of the member with most.
    """
    values = [each.estimate for each in members if each.estimate is not None]
    most = max(members, key=lambda each: each.n_responses)
    known = len(values) > 1
    reason = next((each.undefined_reason for each in members if each.undefined_reason), "there is only one")
    return Estimate(
        scorer=name,
        oracle=most.oracle,
        statistic=most.statistic,
        stratum=most.stratum,
        temperature=most.temperature,
        estimate=float(np.median(values)) if values else None,
        lower=min(values) if known else None,
        upper=max(values) if known else None,
        standard_error=float(np.std(values, ddof=1)) if known else None,
        n_prompts=most.n_prompts,
        n_responses=most.n_responses,
        n_dropped=most.n_dropped,
        n_total=most.n_total,
        n_truncated=most.n_truncated,
        n_constant_prompts=most.n_constant_prompts,
        method=f"median, least and greatest of {len(values)} untrained networks",
        undefined_reason=None if known else reason,
    )
