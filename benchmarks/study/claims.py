"""Claims as data, and the one rule that gives each its word.

A claim says that a contrast, a weighted sum of quantities formed within each seed, is above or below a level or within
a margin of zero. ``reproduced``: the whole interval lies where the claim puts it; ``reversed``: all of it lies
elsewhere; ``not reproduced``: neither.
"""

from dataclasses import dataclass
from typing import Literal

from benchmarks.study.arms import (
    ARMS,
    DECODER,
    DISCRIMINATOR,
    ENCODER,
    GANPO,
    GANPO_SIMPO,
    IMPLICIT_REWARD,
    LEARNED,
    PROBE,
    REFERENCE_LOGPROB,
    START,
)
from benchmarks.study.intervals import Interval, over_seeds
from benchmarks.study.measurements import (
    GOLD,
    LARGEST,
    LENGTH,
    MARGIN,
    POOLED,
    SATISFIED,
    SPREAD,
    UNTRAINED,
    WITHIN,
    Measurements,
    Quantity,
)

Word = Literal["reproduced", "not reproduced", "reversed"]
Expected = Literal["above", "below", "within"]
Terms = tuple[tuple[float, Quantity], ...]

DECODING = (0.7,)
"""At which the paper decodes with Gemma-2-2B (Appendix B)."""
COOL, HOT, VERY_HOT = (0.0, 0.5, 0.7), (1.0, 1.25, 1.5), (1.5, 2.0)
ABOVE_ONE = (1.0, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class Claim:
    """A statement that the study tests."""

    key: str
    text: str
    place: str
    """Where the paper makes it; of a claim of this project, at which temperatures it is tested."""
    contrasts: dict[str, Terms]
    """By name of the rival. All must hold, so the one whose interval reaches lowest speaks for the claim."""
    expected: Expected = "above"
    level: float = 0.0
    """What the contrast is above or below, or how far from zero it may be."""


@dataclass(frozen=True)
class Finding:
    """What the seeds say of a claim. Without an interval there is a reason."""

    claim: Claim
    rival: str
    per_seed: tuple[float | None, ...]
    interval: Interval | None
    word: Word
    undefined_reason: str | None = None


def examine(claim: Claim, measurements: Measurements) -> Finding:
    """Test a claim on all seeds."""
    findings = [_examine(claim, rival, terms, measurements) for rival, terms in claim.contrasts.items()]
    return min(findings, key=lambda finding: float("-inf") if finding.interval is None else finding.interval.lower)


def judge(interval: Interval, expected: Expected, level: float) -> Word:
    """The word for an interval; see the module."""
    lower, upper = interval.lower, interval.upper
    holds, fails = {
        "above": (lower > level, upper < level),
        "below": (upper < level, lower > level),
        "within": (-level < lower and upper < level, lower > level or upper < -level),
    }[expected]
    return "reproduced" if holds else "reversed" if fails else "not reproduced"


def _examine(claim: Claim, rival: str, terms: Terms, measurements: Measurements) -> Finding:
    per_seed = tuple(_contrast(measurements, seed, terms) for seed in measurements.seeds)
    known = [value for value in per_seed if value is not None]
    if len(known) < len(per_seed):
        reason = f"undefined in {len(per_seed) - len(known)} of {len(per_seed)} seeds"
        return Finding(claim, rival, per_seed, None, "not reproduced", reason)
    interval = over_seeds(known)
    return Finding(claim, rival, per_seed, interval, judge(interval, claim.expected, claim.level))


def _contrast(measurements: Measurements, seed: int, terms: Terms) -> float | None:
    values = [(factor, measurements.of(seed, quantity)) for factor, quantity in terms]
    known = [factor * value for factor, value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _minus(better: Quantity, *rivals: Quantity) -> dict[str, Terms]:
    return {rival.subject: ((1.0, better), (-1.0, rival)) for rival in rivals}


def _gold(better: str, *rivals: str, at: tuple[float, ...], measure: str = GOLD) -> dict[str, Terms]:
    return _minus(Quantity(better, measure, at), *(Quantity(rival, measure, at) for rival in rivals))


def _correlation(better: str, *rivals: str, at: tuple[float, ...], how: str = WITHIN) -> dict[str, Terms]:
    return _minus(Quantity(better, how, at), *(Quantity(rival, how, at) for rival in rivals))


def _change(better: str, rival: str, measure: str, to: tuple[float, ...], since: tuple[float, ...]) -> dict[str, Terms]:
    """How much more ``better`` gains, or less loses, than ``rival`` between two ranges of temperature."""
    terms = ((1.0, better, to), (-1.0, better, since), (-1.0, rival, to), (1.0, rival, since))
    return {rival: tuple((factor, Quantity(subject, measure, at)) for factor, subject, at in terms)}


_OURS_AT_ONE = f"T = {', '.join(f'{each:g}' for each in ABOVE_ONE)}"
_FULL, _MSE, _MLP, _RANDOM = GANPO["transformer"], GANPO["mse"], GANPO["mlp"], GANPO["random"]

PAPER = (
    Claim("ganpo_beats_dpo", "GANPO's responses are better than DPO's", "Table 1", _gold(_FULL, "dpo", at=DECODING)),
    Claim("simpo_beats_dpo", "SimPO's responses are better than DPO's", "Table 1", _gold("simpo", "dpo", at=DECODING)),
    Claim(
        "ganpo_beats_simpo",
        "GANPO on SimPO is better than SimPO",
        "Table 1",
        _gold(GANPO_SIMPO, "simpo", at=DECODING),
    ),
    Claim(
        "equal_length",
        "GANPO's responses are as long as DPO's, to 2 %",
        "Table 1",
        _gold(_FULL, "dpo", at=DECODING, measure=LENGTH),
        "within",
        0.02,
    ),
    Claim(
        "transformer_beats_simpler",
        "the Transformer discriminator is better than MSE and than MLP",
        "Table 3",
        _gold(_FULL, _MSE, _MLP, at=DECODING),
    ),
    Claim("robust_when_hot", "GANPO is better than DPO at T = 1 to 1.5", "Figure 3a", _gold(_FULL, "dpo", at=HOT)),
    Claim(
        "gap_widens",
        "GANPO's lead over DPO is wider at T = 1 to 1.5 than below 1",
        "Figure 3a",
        _change(_FULL, "dpo", GOLD, HOT, COOL),
    ),
    Claim(
        "constraints_when_hot",
        "GANPO meets all constraints more often than DPO at T = 1 to 1.5",
        "Figure 3b",
        _gold(_FULL, "dpo", at=HOT, measure=SATISFIED),
    ),
    Claim(
        "constraints_drop_less",
        "from T = 0.5 to 1, GANPO loses fewer fully met tasks than DPO",
        "Figure 3b",
        _change(_FULL, "dpo", SATISFIED, (1.0,), (0.5,)),
    ),
    *(
        Claim(
            f"discriminator_beats_reward_model_{temperature:g}",
            f"the discriminator agrees with the oracle better than a decoder reward model, T = {temperature:g}",
            "Figure 4",
            _correlation(DISCRIMINATOR, DECODER, at=(temperature,), how=POOLED),
        )
        for temperature in VERY_HOT
    ),
    Claim(
        "discriminator_agrees",
        "the discriminator agrees with the oracle, r > 0.5 at T = 1.5 and 2",
        "Figure 4",
        {"": ((1.0, Quantity(DISCRIMINATOR, POOLED, VERY_HOT)),)},
        level=0.5,
    ),
    Claim(
        "reward_model_inverts",
        "the reward model's agreement turns negative at T = 2",
        "Figure 4",
        {"": ((1.0, Quantity(DECODER, POOLED, (2.0,))),)},
        "below",
    ),
    Claim(
        "margins_grow",
        "GANPO reaches larger held-out preference margins than DPO",
        "Figure 6",
        _minus(Quantity(_FULL, MARGIN), Quantity("dpo", MARGIN)),
    ),
    Claim(
        "margins_grow_simpo",
        "GANPO on SimPO reaches larger held-out preference margins than SimPO",
        "Figure 7",
        _minus(Quantity(GANPO_SIMPO, MARGIN), Quantity("simpo", MARGIN)),
    ),
)

OURS = (
    Claim(
        "dpo_beats_start",
        "DPO's responses are better than those of the policy it started from",
        "T = 0.7",
        _gold("dpo", START, at=DECODING),
    ),
    Claim(
        "ganpo_beats_start_when_hot",
        "GANPO is better than the policy it started from at T = 1 to 1.5",
        "T = 1, 1.25, 1.5",
        _gold(_FULL, START, at=HOT),
    ),
    Claim(
        "mse_beats_all",
        "latent MSE beats every other arm at T >= 1",
        _OURS_AT_ONE,
        _gold(_MSE, *(arm for arm in ARMS if arm != _MSE), at=ABOVE_ONE),
    ),
    Claim(
        "training_the_discriminator",
        "a trained discriminator regularises better than the same one untrained",
        _OURS_AT_ONE,
        _gold(_FULL, _RANDOM, at=ABOVE_ONE),
    ),
    Claim(
        "logprob_beats_learned",
        "the reference's mean log-probability agrees better than every learned score",
        _OURS_AT_ONE,
        _correlation(REFERENCE_LOGPROB, *LEARNED, at=ABOVE_ONE),
    ),
    Claim(
        "discriminator_beats_encoder",
        "the discriminator agrees better than an encoder reward model",
        "T = 1.5, 2",
        _correlation(DISCRIMINATOR, ENCODER, at=VERY_HOT),
    ),
    Claim(
        "discriminator_beats_implicit_reward",
        "the discriminator agrees better than the policy's implicit reward",
        "T = 1.5, 2",
        _correlation(DISCRIMINATOR, IMPLICIT_REWARD, at=VERY_HOT),
    ),
    Claim(
        "decoder_at_least_level",
        "a decoder reward model agrees better than the discriminator",
        "T = 1.5, 2",
        _correlation(DECODER, DISCRIMINATOR, at=VERY_HOT),
    ),
    Claim(
        "probe_equals_adversary",
        "a Bradley-Terry probe of the same features equals the adversary, r to 0.1",
        _OURS_AT_ONE,
        _correlation(PROBE, DISCRIMINATOR, at=ABOVE_ONE),
        "within",
        0.1,
    ),
    Claim(
        "untrained_spread",
        "untrained discriminators differ in r by a standard deviation above 0.1",
        "T = 1.5, 2",
        {"": ((1.0, Quantity(UNTRAINED, f"{WITHIN}/{SPREAD}", VERY_HOT)),)},
        level=0.1,
    ),
    Claim(
        "beyond_untrained",
        "the discriminator's r is larger than that of every untrained one, whichever way round",
        "T = 1.5, 2",
        _minus(Quantity(DISCRIMINATOR, WITHIN, VERY_HOT), Quantity(UNTRAINED, f"{WITHIN}/{LARGEST}", VERY_HOT)),
    ),
)
