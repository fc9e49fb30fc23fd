"""What the study asks: the paper's claims, and what this project saw in a prototype of the same world."""

from benchmarks.gapo_study.arms import (
    DATA_ONLY,
    EARLY,
    GAPO,
    GAPO_DECODER,
    MATCHED,
    ORACLE,
    ORACLE_LABELS,
    PPO,
    PPO_DECODER,
    PROMPT,
    RESPONSE,
    SHARES,
    SIZES,
    START,
    sized,
)
from benchmarks.gapo_study.measurements import (
    ABOVE_CHANCE,
    ACCURACY,
    AT_SAME_KL,
    AUC,
    COMBINATION,
    EACH,
    FROZEN,
    LIVE,
    ON_POLICY,
    PAID,
    RIGHT,
    SATISFIED,
    WATCHED,
    model_of,
)
from evaluation.reproduction.claims import Claim, Terms, minus
from evaluation.reproduction.measurements import Quantity

GREEDY = (0.0,)
_MAIN, _SIZES = "main table", "data sizes"


def _satisfied(better: str, *rivals: str, measure: str = SATISFIED) -> dict[str, Terms]:
    return minus(Quantity(better, measure, GREEDY), *(Quantity(rival, measure, GREEDY) for rival in rivals))


def _of_each_size(kind: str) -> dict[str, Terms]:
    """The lead of preferential prompts over preferential responses, by number of rows."""
    return {
        sized(kind, RESPONSE, share): (
            (1.0, Quantity(sized(kind, PROMPT, share), SATISFIED, GREEDY)),
            (-1.0, Quantity(sized(kind, RESPONSE, share), SATISFIED, GREEDY)),
        )
        for share in SHARES
    }


def _live_against_anchor(measure: str) -> dict[str, Terms]:
    return minus(Quantity(model_of(LIVE, GAPO), measure), Quantity(model_of(FROZEN, GAPO), measure))


_FEWEST = SHARES[0]
PAPER = (
    Claim("gapo_beats_ppo", "GAPO meets more prompts than PPO", _MAIN, _satisfied(GAPO, PPO)),
    Claim(
        "gapo_beats_preferences",
        "GAPO meets more prompts than SFT, DPO, SimPO, KTO and ORPO",
        _MAIN,
        _satisfied(GAPO, START, "dpo", "simpo", "kto", "orpo"),
    ),
    Claim("ppo_beats_sft", "PPO meets more prompts than SFT", _MAIN, _satisfied(PPO, START)),
    Claim(
        "preferences_harm",
        "DPO, SimPO and ORPO meet fewer prompts than SFT",
        _MAIN,
        _satisfied(START, "dpo", "simpo", "orpo"),
    ),
    Claim(
        "gapo_beats_ppo_on_constraints",
        "GAPO meets more single constraints than PPO",
        "IFEval",
        _satisfied(GAPO, PPO, measure=EACH),
    ),
    Claim(
        "gapo_beats_ppo_on_combinations",
        "GAPO meets more prompts of combined constraints than PPO",
        "abstract",
        _satisfied(GAPO, PPO, measure=COMBINATION),
    ),
    Claim("prompts_beat_responses_gapo", "preferential prompts beat responses, GAPO", _SIZES, _of_each_size(GAPO)),
    Claim("prompts_beat_responses_ppo", "preferential prompts beat responses, PPO", _SIZES, _of_each_size(PPO)),
    *(
        Claim(
            f"more_rows_{kind}",
            f"with all rows {kind.upper()} meets more prompts than with a quarter of them",
            _SIZES,
            _satisfied(kind, sized(kind, PROMPT, _FEWEST)),
        )
        for kind in (GAPO, PPO)
    ),
    Claim(
        "encoder_beats_decoder",
        "GAPO with an encoder meets more prompts than with a decoder as reward model",
        "abstract",
        _satisfied(GAPO, GAPO_DECODER),
    ),
    Claim(
        "encoder_understands",
        "an encoder tells accepted from rejected prompts better than a decoder, by the same rows",
        "abstract",
        minus(Quantity("encoder-pp", ACCURACY), Quantity("decoder-pp", ACCURACY)),
    ),
)

_LAST = float(SIZES["full"].rounds)
_FIRST_FIVE = tuple(float(number) for number in range(1, 6))
_LAST_FIVE = tuple(_LAST - number for number in reversed(range(5)))
_EARLY_ROUND = float(SIZES["full"].marks[1])
OURS = (
    Claim(
        "frozen_is_hacked",
        "against a frozen reward model the policy ends below where it started",
        "greedy",
        _satisfied(START, PPO),
    ),
    Claim(
        "reward_rises",
        f"while its reward goes on rising after round {_EARLY_ROUND:g}",
        "of its own samples",
        {"": ((1.0, Quantity(PPO, PAID, (_LAST,))), (-1.0, Quantity(PPO, PAID, (_EARLY_ROUND,))))},
    ),
    Claim(
        "gapo_does_not_collapse",
        f"GAPO does not fall by more than 0.1 from round {_EARLY_ROUND:g} to its end",
        "greedy",
        {"": ((1.0, Quantity(GAPO, WATCHED, (_LAST,))), (-1.0, Quantity(GAPO, WATCHED, (_EARLY_ROUND,))))},
        level=-0.1,
    ),
    Claim(
        "generations_matter",
        "a reward model that goes on learning from the data alone does not do what GAPO does",
        "greedy",
        _satisfied(GAPO, DATA_ONLY),
    ),
    Claim(
        "zero_beats_oracle_labels",
        "label 0 for every generation is better than the checker's labels",
        "greedy",
        _satisfied(GAPO, ORACLE_LABELS),
    ),
    Claim(
        "early_stopping_ties",
        "PPO that stops when it is hacked ties GAPO, to 0.05",
        "greedy",
        _satisfied(EARLY, GAPO),
        "within",
        0.05,
    ),
    Claim(
        "beyond_same_kl",
        "GAPO's end is better than PPO when it had come as far from its start",
        "greedy, by KL",
        {"": ((1.0, Quantity(GAPO, WATCHED, (_LAST,))), (-1.0, Quantity(PPO, AT_SAME_KL)))},
    ),
    Claim(
        "beyond_held_kl",
        "GAPO is better than PPO whose KL is held back by the controller",
        "greedy",
        _satisfied(GAPO, MATCHED),
    ),
    Claim("frozen_decoder_is_hacked", "the same with a frozen decoder", "greedy", _satisfied(START, PPO_DECODER)),
    Claim(
        "ppo_learns",
        "paid by the checker, PPO's own samples of the last five rounds are better than those of the first five",
        "of its own samples",
        {"": ((1.0, Quantity(ORACLE, ON_POLICY, _LAST_FIVE)), (-1.0, Quantity(ORACLE, ON_POLICY, _FIRST_FIVE)))},
    ),
    Claim("ppo_learns_greedily", "and its greedy responses better than SFT's", "greedy", _satisfied(ORACLE, START)),
    Claim("oracle_is_the_ceiling", "the checker as the reward is better than GAPO", "greedy", _satisfied(ORACLE, GAPO)),
    Claim(
        "live_model_ranks_worse",
        "GAPO's live reward model ranks the final policy's responses worse than the anchor",
        "AUC by the checker",
        _live_against_anchor(AUC),
        "below",
    ),
    Claim(
        "live_model_doubts_the_right",
        "it finds right responses less probable than the anchor does",
        "by the checker",
        _live_against_anchor(RIGHT),
        "below",
    ),
    Claim(
        "response_only_is_blind",
        "a classifier that sees only the response tells nothing from preferential prompts, to 0.02",
        "held-out accuracy",
        {"": ((1.0, Quantity("response-only", ABOVE_CHANCE)),)},
        "within",
        0.02,
    ),
)
