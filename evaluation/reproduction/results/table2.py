"""Table 2: downstream tasks."""

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go

from evaluation.reproduction.claims import Claim, Terms
from evaluation.reproduction.findings import Study
from evaluation.reproduction.measurements import Quantity
from evaluation.reproduction.pictures import interval_bars
from evaluation.reproduction.result import Found, Readings, Result
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.tables import Table, beside_paper
from evaluation.reproduction.toy_world import GANPO, START
from evaluation.reproduction.world import World

FULL, UNTRAINED = GANPO["transformer"], GANPO["random"]
ARMS = ("dpo", FULL, UNTRAINED)
TASKS = (1.0, 2.0, 3.0, 4.0)
"""Places of the tasks; which they are the world says."""

ACCURACY = "accuracy"
_HARMLESS = -0.02

PAPER = {
    (START, ACCURACY): "46.32, 56.73, 47.75, 53.11",
    ("dpo", ACCURACY): "48.37, 57.02, 47.92, 55.28",
    (FULL, ACCURACY): "48.67, 56.93, 48.25, 55.67",
}
"""GSM8K, MMLU, ANLI R3, TruthfulQA."""


def _lead(policy: str, rival: str, *tasks: float) -> Terms:
    return ((1.0, Quantity(policy, ACCURACY, tasks)), (-1.0, Quantity(rival, ACCURACY, tasks)))


CLAIMS = (
    Claim(
        "not_below_dpo",
        "on no task GANPO is more than 2 points below DPO",
        "Table 2; section 5.2, 'does not degrade'",
        {f"task {task:g}": _lead(FULL, "dpo", task) for task in TASKS},
        level=_HARMLESS,
        paper="+0.30, −0.09, +0.33, +0.39 points",
    ),
    Claim(
        "not_below_base",
        "on no task GANPO is more than 2 points below the policy it started from",
        "Table 2; section 5.2, 'does not degrade'",
        {f"task {task:g}": _lead(FULL, START, task) for task in TASKS},
        level=_HARMLESS,
        paper="+2.35, +0.20, +0.50, +2.56 points",
    ),
    Claim(
        "above_base",
        "in the mean of the tasks GANPO is above the policy it started from",
        "Table 2; section 5.2, 'in several cases improves'",
        {"": _lead(FULL, START, *TASKS)},
        paper="+1.40 points",
    ),
    Claim(
        "above_dpo",
        "in the mean of the tasks GANPO is above DPO",
        "Table 2",
        {"": _lead(FULL, "dpo", *TASKS)},
        paper="+0.23 points",
    ),
)

CONTROLS = (
    Claim(
        "dpo_above_base",
        "in the mean of the tasks DPO is above the policy it started from",
        "control",
        {"": _lead("dpo", START, *TASKS)},
    ),
    Claim(
        "trained_discriminator",
        "in the mean of the tasks GANPO is above GANPO with discriminators that nobody trains",
        "control",
        {"": _lead(FULL, UNTRAINED, *TASKS)},
    ),
    Claim(
        "tasks_can_be_learned",
        "in the mean of the tasks the policy that everything starts from is above half right",
        "control",
        {"": ((1.0, Quantity(START, ACCURACY, TASKS)),)},
        level=0.5,
    ),
)


def _chain(world: World) -> Iterator[Step]:
    yield from world.start()
    for arm in ARMS:
        yield world.arm(arm)
    yield from world.knowledge((START, *ARMS))


def _read(readings: Readings) -> Iterator[Found]:
    world = readings.world
    for policy in (START, *ARMS):
        for place, task in zip(TASKS, world.tasks, strict=True):
            documents, right = world.knows(policy, task, readings.runs)
            if not documents:
                yield policy, ACCURACY, place, None
                continue
            draws = readings.draws(max(documents) + 1)
            yield policy, ACCURACY, place, draws.mean(np.array(documents), np.array(right, dtype=np.float64))


def _table(study: Study) -> Table:
    columns: dict[str, tuple[str, float | None]] = {f"task {each:g}": (ACCURACY, each) for each in TASKS}
    return beside_paper(study, "Share of questions answered rightly", (START, *ARMS), columns, PAPER)


def _figure(study: Study) -> go.Figure:
    names = {
        f"task {task:g}, {policy}": study.interval(policy, ACCURACY, task)
        for task in TASKS
        for policy in (START, *ARMS)
    }
    return interval_bars(names, "Share of questions answered rightly (Table 2)")


RESULT = Result(
    key="table2",
    title="Table 2: downstream tasks",
    claims=CLAIMS,
    controls=CONTROLS,
    chain=_chain,
    read=_read,
    table=_table,
    figure=_figure,
)
