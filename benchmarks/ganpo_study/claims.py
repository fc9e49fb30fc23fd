"""What the study asks: the paper's claims, and what this project saw before."""

from benchmarks.ganpo_study.arms import LEARNED
from benchmarks.ganpo_study.measurements import (
    GOLD,
    LARGEST,
    LENGTH,
    MARGIN,
    POOLED,
    SATISFIED,
    SPREAD,
    UNTRAINED,
    WITHIN,
)
from evaluation.reproduction.claims import Claim, Terms, change, compare, minus
from evaluation.reproduction.measurements import Quantity
from evaluation.reproduction.toy_world import (
    ARMS,
    DECODER,
    DISCRIMINATOR,
    ENCODER,
    GANPO,
    GANPO_SIMPO,
    IMPLICIT_REWARD,
    PROBE,
    REFERENCE_LOGPROB,
    START,
)

DECODING = (0.7,)
"""At which the paper decodes with Gemma-2-2B (Appendix B)."""
COOL, HOT, VERY_HOT = (0.0, 0.5, 0.7), (1.0, 1.25, 1.5), (1.5, 2.0)
ABOVE_ONE = (1.0, 1.25, 1.5, 2.0)


def _gold(better: str, *rivals: str, at: tuple[float, ...], measure: str = GOLD) -> dict[str, Terms]:
    return compare(better, *rivals, measure=measure, at=at)


def _correlation(better: str, *rivals: str, at: tuple[float, ...], how: str = WITHIN) -> dict[str, Terms]:
    return compare(better, *rivals, measure=how, at=at)


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
        change(_FULL, "dpo", GOLD, HOT, COOL),
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
        change(_FULL, "dpo", SATISFIED, (1.0,), (0.5,)),
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
        minus(Quantity(_FULL, MARGIN), Quantity("dpo", MARGIN)),
    ),
    Claim(
        "margins_grow_simpo",
        "GANPO on SimPO reaches larger held-out preference margins than SimPO",
        "Figure 7",
        minus(Quantity(GANPO_SIMPO, MARGIN), Quantity("simpo", MARGIN)),
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
        minus(Quantity(DISCRIMINATOR, WITHIN, VERY_HOT), Quantity(UNTRAINED, f"{WITHIN}/{LARGEST}", VERY_HOT)),
    ),
)
