"""The study's tables."""

from collections.abc import Mapping, Sequence

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
    PROBES,
    PROMPT,
    REINFORCED,
    RESPONSE,
    SHARES,
    START,
    Arm,
    sized,
)
from benchmarks.gapo_study.measurements import (
    ACCURACY,
    AUC,
    CALIBRATION_ERROR,
    COMBINATION,
    CONSTRAINTS,
    EACH,
    FROZEN,
    KL,
    LIVE,
    RIGHT,
    SATISFIED,
    SINGLE,
    WATCHED,
    WITH_LENGTH,
    model_of,
    of_kind,
)
from benchmarks.study.claims_table import claims_table, short
from evaluation.reproduction.findings import Study
from evaluation.reproduction.tables import Table

NAMES: dict[str, str] = {
    START: "SFT",
    "dpo": "DPO",
    "simpo": "SimPO",
    "kto": "KTO",
    "orpo": "ORPO",
    PPO: "PPO, frozen encoder",
    PPO_DECODER: "PPO, frozen decoder",
    GAPO: "GAPO, encoder",
    GAPO_DECODER: "GAPO, decoder",
    DATA_ONLY: "GAPO without generations",
    ORACLE_LABELS: "GAPO, checker's labels",
    EARLY: "PPO, stopped when hacked",
    MATCHED: "PPO, KL aimed at 1",
    ORACLE: "the checker as reward",
}
"""Arms of the main comparison as readers meet them."""

_PAPER_MAIN: Mapping[str, tuple[str, str]] = {
    START: ("70.1", "78.3"),
    "dpo": ("12.5", "33.3"),
    "simpo": ("5.3", "30.6"),
    "kto": ("64.5", "54.4"),
    "orpo": ("21.4", "33.9"),
    PPO: ("89.4", "75.6"),
    GAPO: ("95.4", "83.9"),
}
"""arXiv 2503.20194: product descriptions by its own evaluator, and IFEval's instructions."""

_PAPER_SIZES: Mapping[tuple[str, str], Sequence[str]] = {
    (PPO, RESPONSE): ("61.8", "72.4", "78.5"),
    (GAPO, RESPONSE): ("63.3", "74.4", "82.9"),
    (PPO, PROMPT): ("68.5", "75.1", "89.4"),
    (GAPO, PROMPT): ("70.6", "81.3", "95.4"),
}
"""arXiv 2503.20194, by 2,000, 4,000 and 6,600 rows."""

_KINDS = (
    "mod_value", "mod_len", "mod_tone", "mod_start", "swap_before", "add_fact", "add_avoid", "add_tone", "drop_fact",
    "drop_tone",
)  # fmt: skip


def tables(study: Study) -> list[Table]:
    """All of them, claims first."""
    return [
        claims_table("Claims of the paper", study.paper, NAMES),
        claims_table("What a prototype of this project saw, and controls", study.ours, NAMES),
        _main(study),
        _sizes(study),
        _constraints(study),
        _rounds(study),
        _reward_models(study),
        _after_the_rounds(study),
    ]


def summary(study: Study) -> str:
    """How much was run."""
    size = study.size
    return (
        f"in each {size.imitation_steps} steps of imitation, {size.warm_up_steps} of every reward model on"
        f" {size.rows:,} rows, {size.preference_steps} of every preference objective; {size.rounds} rounds of"
        f" {size.rollouts} responses and {size.reward_model_steps} reward-model steps; judged on {size.prompts}"
        f" prompts, once at T = 0 and {size.responses} times at T = 1."
    )


def _main(study: Study) -> Table:
    rows = []
    for policy, name in NAMES.items():
        product, ifeval = _PAPER_MAIN.get(policy, ("", ""))
        cells = [short(study.interval(policy, SATISFIED, temperature)) for temperature in (0.0, 1.0)]
        cells += [short(study.interval(policy, measure, 0.0)) for measure in (SINGLE, WITH_LENGTH, COMBINATION, EACH)]
        rows.append([name, *cells, product, ifeval])
    headings = [
        "arm", "all constraints, T = 0", "T = 1", "T = 0: facts alone", "and length", "combinations",
        "of constraints, T = 0", "paper: descriptions, %", "paper: IFEval, %",
    ]  # fmt: skip
    return Table("Share of prompts whose constraints are all met, by the exact checker", headings, rows)


def _sizes(study: Study) -> Table:
    rows = []
    for (kind, augmentation), paper in _PAPER_SIZES.items():
        cells = [short(study.interval(sized(kind, augmentation, share), SATISFIED, 0.0)) for share in SHARES]
        told = "prompts" if augmentation == PROMPT else "responses"
        rows.append([f"{kind.upper()}, preferential {told}", *cells, " / ".join(paper)])
    shares = [f"{round(share * study.size.rows):,} rows" for share in SHARES]
    return Table("Data size and augmentation, T = 0", ["arm", *shares, "paper: 2,000 / 4,000 / 6,600 rows, %"], rows)


def _constraints(study: Study) -> Table:
    rows = [
        [name, *(short(study.interval(policy, constraint, 0.0), 2) for constraint in CONSTRAINTS)]
        for policy, name in NAMES.items()
    ]
    return Table("Share of each constraint met, T = 0", ["arm", *CONSTRAINTS], rows)


def _rounds(study: Study) -> Table:
    marks = [float(mark) for mark in study.size.marks]
    rows = []
    for name in REINFORCED:
        if name in NAMES:
            cells = [short(study.interval(name, WATCHED, mark), 2) for mark in marks]
            rows.append([NAMES[name], *cells, short(study.interval(name, KL, float(study.size.rounds)), 1)])
    headings = ["arm", *(f"round {mark:g}" for mark in marks), "KL at the end, nats"]
    return Table("All constraints met on the way, greedy, held-out prompts", headings, rows)


def _reward_models(study: Study) -> Table:
    warm = dict.fromkeys([*(arm.reward_model for arm in REINFORCED.values()), *PROBES])
    rows = []
    for name in warm:
        kinds = [short(study.interval(name, of_kind(ACCURACY, kind)), 2) for kind in _KINDS]
        rows.append([name, short(study.interval(name, ACCURACY)), *kinds])
    return Table("Held-out pair accuracy of the warm-up models, by perturbation", ["model", "all", *_KINDS], rows)


def _after_the_rounds(study: Study) -> Table:
    arms: dict[str, Arm] = {name: arm for name, arm in REINFORCED.items() if arm.kind == GAPO and name in NAMES}
    rows = []
    for name in arms:
        for role in (FROZEN, LIVE):
            subject = model_of(role, name)
            cells = [short(study.interval(subject, measure)) for measure in (ACCURACY, AUC, RIGHT, CALIBRATION_ERROR)]
            rows.append([f"{NAMES[name]}: {role}", *cells])
    headings = ["model", "held-out accuracy", "AUC, generations", "mean probability of right ones", "calibration error"]
    return Table("Reward models before and after the rounds, on the final policy's responses", headings, rows)
