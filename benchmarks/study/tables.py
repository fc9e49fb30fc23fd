"""The study's tables, once for the terminal and the document."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.study.arms import (
    ARMS,
    DECODER,
    DISCRIMINATOR,
    ENCODER,
    IMPLICIT_REWARD,
    JUDGED,
    POLICIES,
    PROBE,
    REFERENCE_LOGPROB,
    START,
    TEMPERATURES,
)
from benchmarks.study.claims import Finding
from benchmarks.study.findings import Study
from benchmarks.study.intervals import Interval
from benchmarks.study.measurements import ACCURACY, GOLD, LARGEST, MARGIN, SATISFIED, SPREAD, UNTRAINED, WITHIN
from evaluation.scorers.controls import CONTROLS
from evaluation.wording import number

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


@dataclass(frozen=True)
class Table:
    """Text in rows and columns."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def show(self, console: Console) -> None:
        """Print it for people."""
        table = RichTable(title=self.title, title_justify="left")
        for place, heading in enumerate(self.headings):
            table.add_column(heading, overflow="fold", min_width=24 if place == 0 else None)
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        """The same in a document."""
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        return f"**{self.title}**\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def tables(study: Study) -> list[Table]:
    """All of them, claims first."""
    return [
        _claims("Claims of the paper", study.paper),
        _claims("What this project saw before, and controls", study.ours),
        _arms(study, GOLD, "Gold judgement by temperature"),
        _leads(study),
        _arms(study, SATISFIED, "Share of responses that meet every constraint, by temperature"),
        _scorers(study),
    ]


def _claims(title: str, findings: Iterable[Finding]) -> Table:
    rows = []
    for finding in findings:
        told = finding.undefined_reason or _told(finding.interval, 3)
        against = f", against {SCORERS.get(finding.rival, finding.rival)}" if len(finding.claim.contrasts) > 1 else ""
        rows.append([finding.claim.text, finding.claim.place, told + against, finding.word])
    return Table(title, ["claim", "where", "estimate", "here"], rows)


def _arms(study: Study, measure: str, title: str) -> Table:
    first, graded = ["arm"], [f"T = {temperature:g}" for temperature in TEMPERATURES]
    held_out = measure == GOLD
    if held_out:
        first += ["held-out accuracy", "held-out margin"]
    rows = []
    for policy in POLICIES:
        row = [_HOW[policy]]
        if held_out:
            row += [_told(study.interval(policy, ACCURACY), 3), _told(study.interval(policy, MARGIN), 2)]
        row += [_short(study.interval(policy, measure, temperature)) for temperature in TEMPERATURES]
        rows.append(row)
    return Table(title, [*first, *graded], rows)


def _leads(study: Study) -> Table:
    rows = [
        [arm, *(_short(study.lead(arm, "dpo", GOLD, temperature)) for temperature in TEMPERATURES)]
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
            _short(study.interval(scorer, ACCURACY), 3),
            *(_short(study.interval(scorer, WITHIN, temperature)) for temperature in graded),
        ]
        for scorer, name in SCORERS.items()
    ]
    for part, name in ((SPREAD, "untrained, standard deviation"), (LARGEST, "untrained, largest size")):
        cells = [_short(study.interval(UNTRAINED, f"{WITHIN}/{part}", temperature)) for temperature in graded]
        rows.append([name, "", *cells])
    headings = ["scorer", "held-out accuracy", *(f"T = {temperature:g}" for temperature in graded)]
    return Table(f"r within prompts with gold, on responses of {JUDGED}", headings, rows)


def _told(interval: Interval | None, decimals: int) -> str:
    if interval is None:
        return ""
    lower, upper = (number(end, decimals) for end in (interval.lower, interval.upper))
    return f"{number(interval.estimate, decimals)} [{lower}, {upper}]"


def _short(interval: Interval | None, decimals: int = 3) -> str:
    """The estimate and half the interval's width."""
    if interval is None:
        return ""
    return f"{number(interval.estimate, decimals)} ± {number(interval.upper - interval.estimate, decimals)}"
