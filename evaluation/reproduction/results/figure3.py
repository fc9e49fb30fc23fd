"""Figure 3: win rate and strict accuracy as the sampling temperature rises."""

from collections.abc import Iterator

import plotly.graph_objects as go

from evaluation.reproduction.answers import fight
from evaluation.reproduction.claims import Claim, Terms, change, compare
from evaluation.reproduction.findings import Study
from evaluation.reproduction.measurements import Quantity
from evaluation.reproduction.pictures import BLUE, GREY, ORANGE, panels, path
from evaluation.reproduction.result import Found, Readings, Result
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.tables import Table, beside_paper
from evaluation.reproduction.toy_world import GANPO, START
from evaluation.reproduction.world import GRID, World

FULL, UNTRAINED = GANPO["transformer"], GANPO["random"]
ARMS = ("dpo", FULL, UNTRAINED)
WIN, LC, REWARD, SATISFIED = "win_rate", "win_rate_length_controlled", "reward", "satisfied"
COOL, HOT = (0.0, 0.5, 0.7), (1.0, 1.25, 1.5)


def _everywhere(measure: str) -> dict[str, Terms]:
    return {
        f"T = {each:g}": ((1.0, Quantity(FULL, measure, (each,))), (-1.0, Quantity("dpo", measure, (each,))))
        for each in GRID
    }


CLAIMS = (
    Claim(
        "win_rate_everywhere",
        "GANPO's win rate is above DPO's at every temperature",
        "Figure 3a; section 5.2, 'consistently achieves higher winrate'",
        _everywhere(WIN),
        paper="shown, no numbers",
    ),
    Claim(
        "reward_everywhere",
        "the oracle's scores of GANPO's responses are above DPO's at every temperature",
        "Figure 3a; section 5.2, 'and reward scores'",
        _everywhere(REWARD),
        paper="shown, no numbers",
    ),
    Claim(
        "gap_widens",
        "GANPO's lead in win rate is wider at T = 1 to 1.5 than below 1",
        "Figure 3a; section 5.2, 'the winrate gap widens'",
        change(FULL, "dpo", WIN, HOT, COOL),
        paper="shown, no numbers",
    ),
    Claim(
        "constraints_when_hot",
        "GANPO meets all constraints more often than DPO at T = 1 to 1.5",
        "Figure 3b",
        compare(FULL, "dpo", measure=SATISFIED, at=HOT),
        paper="shown, no numbers",
    ),
    Claim(
        "constraints_drop_less",
        "from T = 0.5 to 1, GANPO loses fewer fully met tasks than DPO",
        "Figure 3b; section 5.2, (2)",
        change(FULL, "dpo", SATISFIED, (1.0,), (0.5,)),
        paper="shown, no numbers",
    ),
    Claim(
        "dpo_collapses",
        "DPO loses at least 15 points of fully met tasks from T = 0.5 to 1",
        "Section 5.2, (2), 'dropping nearly 20%'",
        {"": ((1.0, Quantity("dpo", SATISFIED, (0.5,))), (-1.0, Quantity("dpo", SATISFIED, (1.0,))))},
        level=0.15,
        paper="nearly 20 points",
    ),
)

CONTROLS = (
    Claim(
        "trained_discriminator",
        "at T = 1 to 1.5 GANPO wins more often than with discriminators that nobody trains",
        "control",
        compare(FULL, UNTRAINED, measure=WIN, at=HOT),
    ),
    Claim(
        "length_controlled_when_hot",
        "at T = 1 to 1.5 GANPO's win rate is above DPO's at equal lengths",
        "control",
        compare(FULL, "dpo", measure=LC, at=HOT),
    ),
    Claim(
        "beats_start_when_hot",
        "at T = 1 to 1.5 GANPO wins more often than the policy it started from",
        "control",
        compare(FULL, START, measure=WIN, at=HOT),
    ),
)


def _chain(world: World) -> Iterator[Step]:
    yield from world.start()
    for arm in ARMS:
        yield world.arm(arm)
    for policy in (START, *ARMS):
        yield world.answers(policy)
        yield world.constrained(policy)


def _read(readings: Readings) -> Iterator[Found]:
    world = readings.world
    baseline = readings.answers(world.answers(START)).at(world.decoding)
    for policy in (START, *ARMS):
        answers, checked = readings.answers(world.answers(policy)), readings.answers(world.constrained(policy))
        draws, others = readings.draws(answers.n_prompts), readings.draws(checked.n_prompts)
        for temperature in GRID:
            own, strict = answers.at(temperature), checked.at(temperature)
            itself = policy == START and temperature == world.decoding
            battles = fight(own, baseline, world.gold, apart=itself)
            yield policy, WIN, temperature, draws.win_rate(battles)
            yield policy, LC, temperature, draws.length_controlled(battles)
            yield policy, REWARD, temperature, draws.mean(own.prompt, own.scores[world.gold])
            yield policy, SATISFIED, temperature, others.mean(strict.prompt, strict.scores[world.satisfied])


def _table(study: Study) -> Table:
    columns = {
        f"{name}, T = {temperature:g}": (measure, temperature)
        for name, measure in (("wins", WIN), ("all met", SATISFIED))
        for temperature in GRID
    }
    return beside_paper(study, "Win rate against the start, and share of tasks fully met", (START, *ARMS), columns, {})


def _figure(study: Study) -> go.Figure:
    figure = panels(["win rate against the start at its decoding temperature", "share of tasks fully met"], "T")
    for place, measure in enumerate((WIN, SATISFIED)):
        for policy, colour in (("dpo", GREY), (UNTRAINED, ORANGE), (FULL, BLUE)):
            path(figure, place, GRID, [study.interval(policy, measure, each) for each in GRID], colour)
    figure.update_layout(title="Figure 3: GANPO blue, DPO grey, GANPO with untrained discriminators orange")
    return figure


RESULT = Result(
    key="figure3",
    title="Figure 3: robustness against entropy",
    claims=CLAIMS,
    controls=CONTROLS,
    chain=_chain,
    read=_read,
    table=_table,
    figure=_figure,
)
