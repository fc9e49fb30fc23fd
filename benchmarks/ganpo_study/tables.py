"""The study's tables."""

from benchmarks.ganpo_study.arms import POLICIES, TEMPERATURES
from benchmarks.ganpo_study.measurements import ACCURACY, GOLD, LARGEST, MARGIN, SATISFIED, SPREAD, UNTRAINED, WITHIN
from benchmarks.study.claims_table import claims_table, short
from evaluation.reproduction.findings import Study
from evaluation.reproduction.tables import Table, told
from evaluation.reproduction.toy_world import (
    ARMS,
    DECODER,
    DISCRIMINATOR,
    ENCODER,
    IMPLICIT_REWARD,
    JUDGED,
    PROBE,
    REFERENCE_LOGPROB,
    START,
)
from evaluation.scorers.controls import CONTROLS

SCORERS = {
    DISCRIMINATOR: "discriminator, chosen",
    f"{JUDGED}/discriminator:difference": "discriminator, difference",
    PROBE: "Bradley-Terry probe",
    ENCODER: "encoder reward model",
    DECODER: "decoder reward model",
    IMPLICIT_REWARD: "implicit reward",
    REFERENCE_LOGPROB: "reference mean log-prob",
    **{name: f"{name} (control)" for name in CONTROLS},
}
"""Names of the scorers as readers meet them."""

_HOW = {START: "start (no preferences)", **{arm: arm for arm in ARMS}}


def tables(study: Study) -> list[Table]:
    """All of them, claims first."""
    return [
        claims_table("Claims of the paper", study.paper, SCORERS),
        claims_table("What this project saw before, and controls", study.ours, SCORERS),
        _arms(study, GOLD, "Gold judgement by temperature"),
        _leads(study),
        _arms(study, SATISFIED, "Share of responses that meet every constraint, by temperature"),
        _scorers(study),
    ]


def _arms(study: Study, measure: str, title: str) -> Table:
    first, graded = ["arm"], [f"T = {temperature:g}" for temperature in TEMPERATURES]
    held_out = measure == GOLD
    if held_out:
        first += ["held-out accuracy", "held-out margin"]
    rows = []
    for policy in POLICIES:
        row = [_HOW[policy]]
        if held_out:
            row += [told(study.interval(policy, ACCURACY), 3), told(study.interval(policy, MARGIN), 2)]
        row += [short(study.interval(policy, measure, temperature)) for temperature in TEMPERATURES]
        rows.append(row)
    return Table(title, [*first, *graded], rows)


def _leads(study: Study) -> Table:
    rows = [
        [arm, *(short(study.lead(arm, "dpo", GOLD, temperature)) for temperature in TEMPERATURES)]
        for arm in POLICIES
        if arm != "dpo"
    ]
    return Table(
        "Gold judgement minus DPO's in the same seed", ["arm", *(f"T = {each:g}" for each in TEMPERATURES)], rows
    )


def _scorers(study: Study) -> Table:
    graded = [temperature for temperature in TEMPERATURES if temperature > 0]
    rows = [
        [
            name,
            short(study.interval(scorer, ACCURACY), 3),
            *(short(study.interval(scorer, WITHIN, temperature)) for temperature in graded),
        ]
        for scorer, name in SCORERS.items()
    ]
    for part, name in ((SPREAD, "untrained, standard deviation"), (LARGEST, "untrained, largest size")):
        cells = [short(study.interval(UNTRAINED, f"{WITHIN}/{part}", temperature)) for temperature in graded]
        rows.append([name, "", *cells])
    headings = ["scorer", "held-out accuracy", *(f"T = {temperature:g}" for temperature in graded)]
    return Table(f"r within prompts with gold, on responses of {JUDGED}", headings, rows)


def summary(study: Study) -> str:
    """How much was run."""
    size = study.size
    return (
        f"in each {size.imitation_steps} steps of imitation and {size.preference_steps} of every arm on"
        f" {size.rows:,} preferences, {size.reward_model_steps} of each reward model; {size.prompts} prompts with"
        f" {size.responses} responses each at every temperature, one at 0; {size.untrained} untrained discriminators."
    )
