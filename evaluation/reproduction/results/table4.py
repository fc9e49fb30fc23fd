"""Table 4: what GANPO costs. The paper's "GPU" column names machines; of memory it says nothing that can be tested."""

from collections.abc import Iterator
from math import log

import numpy as np
import plotly.graph_objects as go

from evaluation.reproduction.answers import Drawn
from evaluation.reproduction.claims import Claim, compare
from evaluation.reproduction.findings import Study
from evaluation.reproduction.measurements import Quantity
from evaluation.reproduction.pictures import interval_bars
from evaluation.reproduction.result import Found, Readings, Result
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.tables import Table, beside_paper
from evaluation.reproduction.toy_world import GANPO, GANPO_SIMPO
from evaluation.reproduction.world import World
from trainer.reporting import read_events

FULL = GANPO["transformer"]
ARMS = ("dpo", FULL, "simpo", GANPO_SIMPO)
SECONDS, LOG_SECONDS = "seconds_a_step", "log_seconds_a_step"

PAPER = {
    ("dpo", SECONDS): "2h 31m 50s | 4h 20m 13s",
    (FULL, SECONDS): "2h 37m 24s | 4h 34m 08s",
    ("simpo", SECONDS): "2h 11m 22s | 3h 10m 40s",
    (GANPO_SIMPO, SECONDS): "3h 17m 26s | 4h 15m 52s",
}

CLAIMS = (
    Claim(
        "dpo_overhead",
        "GANPO takes less than 4 % more time than DPO",
        "Table 4; appendix C, 'by less than 4%'",
        compare(FULL, "dpo", measure=LOG_SECONDS),
        "below",
        log(1.04),
        paper="+3.7 % | +5.3 %",
        unit="log",
    ),
    Claim(
        "simpo_overhead",
        "GANPO on SimPO takes at most half as long again as SimPO",
        "Table 4; appendix C, 'a larger overhead'",
        compare(GANPO_SIMPO, "simpo", measure=LOG_SECONDS),
        "below",
        log(1.503),
        paper="+50.3 % | +34.2 %",
        unit="log",
    ),
    Claim(
        "simpo_overhead_larger",
        "the overhead over SimPO is larger than that over DPO",
        "Table 4; appendix C, 'a larger overhead'",
        {
            "": (
                (1.0, Quantity(GANPO_SIMPO, LOG_SECONDS)),
                (-1.0, Quantity("simpo", LOG_SECONDS)),
                (-1.0, Quantity(FULL, LOG_SECONDS)),
                (1.0, Quantity("dpo", LOG_SECONDS)),
            )
        },
        paper="+50.3 over +3.7 % | +34.2 over +5.3 %",
        unit="log",
    ),
)

CONTROLS = (
    Claim(
        "costs_something",
        "GANPO takes more time than DPO",
        "control",
        compare(FULL, "dpo", measure=LOG_SECONDS),
        unit="log",
    ),
)


def _chain(world: World) -> Iterator[Step]:
    yield from world.start()
    for arm in ARMS if world.seed % 2 == 0 else reversed(ARMS):  # so that what drifts favours neither
        yield world.timed(arm)


def _read(readings: Readings) -> Iterator[Found]:
    for arm in ARMS:
        events = read_events(readings.runs(readings.world.timed(arm).name))
        seconds = [
            event["values"]["step_seconds"]
            for event in events
            if event["type"] == "metrics" and "step_seconds" in event["values"]
        ]
        # the median, for a neighbour on the machine disturbs some steps and not others
        median = float(np.median(seconds))
        yield arm, SECONDS, None, Drawn(median, None)
        yield arm, LOG_SECONDS, None, Drawn(log(median), None)


def _table(study: Study) -> Table:
    columns: dict[str, tuple[str, float | None]] = {"median seconds a step": (SECONDS, None)}
    return beside_paper(study, "Time", ARMS, columns, PAPER)


def _figure(study: Study) -> go.Figure:
    return interval_bars({arm: study.interval(arm, SECONDS) for arm in ARMS}, "Median seconds a step (Table 4)")


RESULT = Result(
    key="table4",
    title="Table 4: training time",
    claims=CLAIMS,
    controls=CONTROLS,
    chain=_chain,
    read=_read,
    table=_table,
    figure=_figure,
    families=("gemma-2-2b-it", "llama-3-8b-instruct"),
    alone=True,
    fewest_seeds=2,
)
