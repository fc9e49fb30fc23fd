"""Table 1: win rate, length-controlled win rate and length on AlpacaEval 2."""

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from evaluation.reproduction.claims import Claim, compare
from evaluation.reproduction.findings import Study
from evaluation.reproduction.pictures import interval_bars
from evaluation.reproduction.result import Found, Readings, Result
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.tables import Table, beside_paper
from evaluation.reproduction.toy_world import GANPO, GANPO_SIMPO, START
from evaluation.reproduction.world import World

FULL, UNTRAINED = GANPO["transformer"], GANPO["random"]
WIN, LC, LENGTH = "win_rate", "win_rate_length_controlled", "log_characters"
RATES = {"win rate": WIN, "length-controlled": LC}

_ARMS = ("dpo", FULL, "simpo", GANPO_SIMPO)
_SAME_LENGTH = 0.02

PAPER = {
    ("dpo", WIN): "22.76 | 33.90",
    (FULL, WIN): "24.17 | 35.23",
    ("simpo", WIN): "30.66 | 44.09",
    (GANPO_SIMPO, WIN): "31.37 | 46.11",
    ("dpo", LC): "27.79 | 32.34",
    (FULL, LC): "29.69 | 33.87",
    ("simpo", LC): "36.03 | 48.31",
    (GANPO_SIMPO, LC): "36.74 | 50.48",
}
"""Per cent, Gemma-2-2B-it | Llama-3-8B-Instruct."""

CLAIMS = (
    Claim(
        "win_over_dpo",
        "GANPO wins more often than DPO",
        "Table 1, Win",
        compare(FULL, "dpo", measure=WIN),
        paper="+1.41 | +1.33 points",
    ),
    Claim(
        "lc_over_dpo",
        "GANPO's length-controlled win rate is above DPO's",
        "Table 1, LC-Win (section 5.2 calls the +1.41 of Win this)",
        compare(FULL, "dpo", measure=LC),
        paper="+1.90 | +1.53 points",
    ),
    Claim(
        "win_over_simpo",
        "GANPO on SimPO wins more often than SimPO",
        "Table 1, Win",
        compare(GANPO_SIMPO, "simpo", measure=WIN),
        paper="+0.71 | +2.02 points",
    ),
    Claim(
        "lc_over_simpo",
        "the length-controlled win rate of GANPO on SimPO is above SimPO's",
        "Table 1, LC-Win",
        compare(GANPO_SIMPO, "simpo", measure=LC),
        paper="+0.71 | +2.17 points",
    ),
    Claim(
        "same_length",
        "GANPO's responses are as long as DPO's, to 2 %",
        "Table 1, Len; section 5.2, 'comparable response lengths'",
        compare(FULL, "dpo", measure=LENGTH),
        "within",
        _SAME_LENGTH,
        paper="−0.2 % | +0.1 %",
        unit="log",
    ),
    Claim(
        "same_length_simpo",
        "responses of GANPO on SimPO are as long as SimPO's, to 2 %",
        "Table 1, Len; section 5.2, 'comparable response lengths'",
        compare(GANPO_SIMPO, "simpo", measure=LENGTH),
        "within",
        _SAME_LENGTH,
        paper="+0.3 % | −0.1 %",
        unit="log",
    ),
)

CONTROLS = (
    Claim(
        "preferences_help",
        "DPO wins more often than the policy it started from",
        "control",
        compare("dpo", START, measure=WIN),
    ),
    Claim(
        "trained_discriminator",
        "GANPO wins more often than with discriminators that nobody trains",
        "control",
        compare(FULL, UNTRAINED, measure=WIN),
    ),
)


def decoded(world: World, arms: Sequence[str]) -> Iterator[Step]:
    """Training of the arms, and their responses for win rates."""
    yield from world.start()
    for arm in arms:
        yield world.arm(arm)
    for policy in (START, *arms):
        yield world.decoded(policy)


def read_decoded(readings: Readings, arms: Sequence[str]) -> Iterator[Found]:
    """Win rates and lengths of the arms and of the policy they start from."""
    for policy in (START, *arms):
        battles = readings.world.battles(policy, readings.answers)
        draws = readings.draws(readings.answers(readings.world.decoded(policy)).n_prompts)
        yield policy, WIN, None, draws.win_rate(battles)
        yield policy, LC, None, draws.length_controlled(battles)
        yield policy, LENGTH, None, draws.log_mean(battles.prompt, battles.characters)


def rates_figure(study: Study, policies: Sequence[str], title: str) -> go.Figure:
    """Both win rates of every policy."""
    names = {
        f"{policy}, {name}": study.interval(policy, measure) for policy in policies for name, measure in RATES.items()
    }
    return interval_bars(names, title)


def _table(study: Study) -> Table:
    columns = {**{name: (measure, None) for name, measure in RATES.items()}, "ln characters": (LENGTH, None)}
    return beside_paper(study, "Win rates against the baseline", (START, *_ARMS, UNTRAINED), columns, PAPER)


RESULT = Result(
    key="table1",
    title="Table 1: AlpacaEval 2",
    claims=CLAIMS,
    controls=CONTROLS,
    chain=lambda world: decoded(world, (*_ARMS, UNTRAINED)),
    read=lambda readings: read_decoded(readings, (*_ARMS, UNTRAINED)),
    table=_table,
    figure=lambda study: rates_figure(study, (START, *_ARMS, UNTRAINED), "Win rates against the baseline (Table 1)"),
    families=("gemma-2-2b-it", "llama-3-8b-instruct"),
)
