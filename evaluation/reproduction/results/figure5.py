"""Figure 5: win rate by the length of the response."""

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go

from evaluation.reproduction.claims import Claim, Terms
from evaluation.reproduction.findings import Study
from evaluation.reproduction.measurements import Quantity
from evaluation.reproduction.pictures import BLUE, GREY, ORANGE, panels, path
from evaluation.reproduction.result import Found, Readings, Result
from evaluation.reproduction.results.table1 import FULL, UNTRAINED, decoded
from evaluation.reproduction.tables import Table, beside_paper
from evaluation.reproduction.toy_world import START

SHORT, MEDIUM, LONG = 1.0, 2.0, 3.0
BUCKETS = {"short": SHORT, "medium": MEDIUM, "long": LONG}
"""Thirds of all policies' responses, so that policies meet in the same."""

WIN = "win_rate_by_length"
_ARMS = ("dpo", FULL, UNTRAINED)
_STABLE = 0.05


def _slope(policy: str, factor: float = 1.0) -> Terms:
    return ((factor, Quantity(policy, WIN, (LONG,))), (-factor, Quantity(policy, WIN, (SHORT,))))


def _in_bucket(better: str, rival: str, bucket: float) -> Terms:
    return ((1.0, Quantity(better, WIN, (bucket,))), (-1.0, Quantity(rival, WIN, (bucket,))))


CLAIMS = (
    Claim(
        "dpo_degrades",
        "DPO's win rate is lower among long responses than among short ones",
        "Figure 5; appendix D.1, 'a clear degradation'",
        {"": _slope("dpo")},
        "below",
        paper="shown, no numbers",
    ),
    Claim(
        "ganpo_stable",
        "GANPO's win rate among long responses is that among short ones, to 5 points",
        "Figure 5; appendix D.1, 'maintains stable'",
        {"": _slope(FULL)},
        "within",
        _STABLE,
        paper="shown, no numbers",
    ),
    Claim(
        "ganpo_degrades_less",
        "from short to long GANPO's win rate loses less than DPO's",
        "Figure 5; appendix D.1, 'mitigates verbosity bias'",
        {"": (*_slope(FULL), *_slope("dpo", -1.0))},
        paper="shown, no numbers",
    ),
    Claim(
        "ganpo_higher_when_longer",
        "GANPO's win rate is above DPO's among medium and among long responses",
        "Figure 5; appendix D.1, 'consistently higher win rates for medium and long responses'",
        {name: _in_bucket(FULL, "dpo", BUCKETS[name]) for name in ("medium", "long")},
        paper="shown, no numbers",
    ),
)

CONTROLS = (
    Claim(
        "dpo_degrades_more_than_start",
        "DPO's loss from short to long is larger than that of the policy it started from against itself",
        "control",
        {"": (*_slope("dpo"), *_slope(START, -1.0))},
        "below",
    ),
    Claim(
        "trained_discriminator",
        "among medium and long responses GANPO wins more often than with discriminators that nobody trains",
        "control",
        {name: _in_bucket(FULL, UNTRAINED, BUCKETS[name]) for name in ("medium", "long")},
    ),
)


def _read(readings: Readings) -> Iterator[Found]:
    world = readings.world
    battles = {policy: world.battles(policy, readings.answers) for policy in (START, *_ARMS)}
    lengths = np.concatenate([each.characters for each in battles.values()])
    edges = [0.0, *np.quantile(lengths, [1 / 3, 2 / 3]), np.inf]
    for policy, each in battles.items():
        draws = readings.draws(readings.answers(world.decoded(policy)).n_prompts)
        for place, low, high in zip(BUCKETS.values(), edges[:-1], edges[1:], strict=True):
            yield policy, WIN, place, draws.win_rate(each.of_length(float(low), float(high)))


def _table(study: Study) -> Table:
    columns: dict[str, tuple[str, float | None]] = {name: (WIN, place) for name, place in BUCKETS.items()}
    return beside_paper(study, "Win rate by length of the response", (START, *_ARMS), columns, {})


def _figure(study: Study) -> go.Figure:
    figure = panels(["win rate against the baseline"], "length of the response, in thirds")
    places = list(BUCKETS.values())
    for policy, colour in (("dpo", GREY), (UNTRAINED, ORANGE), (FULL, BLUE)):
        path(figure, 0, places, [study.interval(policy, WIN, each) for each in places], colour)
    figure.update_xaxes(tickvals=places, ticktext=list(BUCKETS))
    figure.update_layout(title="Figure 5: GANPO blue, DPO grey, GANPO with untrained discriminators orange")
    return figure


RESULT = Result(
    key="figure5",
    title="Figure 5: win rate by response length",
    claims=CLAIMS,
    controls=CONTROLS,
    chain=lambda world: decoded(world, _ARMS),
    read=_read,
    table=_table,
    figure=_figure,
)
