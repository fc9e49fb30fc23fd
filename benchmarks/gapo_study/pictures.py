"""The study's figures."""

from collections.abc import Sequence

import plotly.graph_objects as go

from benchmarks.gapo_study.arms import (
    DATA_ONLY,
    GAPO,
    GAPO_DECODER,
    MATCHED,
    ORACLE,
    ORACLE_LABELS,
    PPO,
    PPO_DECODER,
    PREFERENCE_ARMS,
    PROMPT,
    REINFORCED,
    RESPONSE,
    SHARES,
    START,
    sized,
)
from benchmarks.gapo_study.measurements import ANCHOR, PAID, SATISFIED, WATCHED
from benchmarks.gapo_study.tables import NAMES
from evaluation.reproduction.findings import Study
from evaluation.reproduction.intervals import Interval
from evaluation.reproduction.pictures import BLUE, GREY, ORANGE, WIDTH, panels, path

_WATCHED_ARMS = (PPO, GAPO, PPO_DECODER, GAPO_DECODER, DATA_ONLY, ORACLE_LABELS, MATCHED, ORACLE)


def reward_hacking(study: Study) -> go.Figure:
    """A panel for each arm: what it is paid, what the frozen anchor says and what the checker says, over the rounds."""
    figure = panels([NAMES[arm] for arm in _WATCHED_ARMS], "round")
    rounds = [float(number) for number in range(1, study.size.rounds + 1)]
    marks = [float(mark) for mark in study.size.marks]
    for place, arm in enumerate(_WATCHED_ARMS):
        path(figure, place, rounds, [study.interval(arm, PAID, each) for each in rounds], GREY, markers=False)
        if REINFORCED[arm].kind == GAPO:
            path(figure, place, rounds, [study.interval(arm, ANCHOR, each) for each in rounds], ORANGE, markers=False)
        path(figure, place, marks, [study.interval(arm, WATCHED, each) for each in marks], BLUE)
    figure.update_yaxes(range=[0, 1])
    figure.update_layout(
        title="Over the rounds: reward as a share of the most (grey), the anchor's mean probability where it does"
        " not pay (orange),<br>and greedy held-out responses that meet every constraint by the checker (blue); bands:"
        " 95 %, t over seeds"
    )
    return figure


def final_judgement(study: Study) -> go.Figure:
    """A bar for each arm: greedy responses that meet every constraint."""
    arms = [START, *PREFERENCE_ARMS, *(arm for arm in NAMES if arm in REINFORCED)]
    figure = _bars([NAMES[arm] for arm in arms], [study.interval(arm, SATISFIED, 0.0) for arm in arms])
    figure.update_layout(title="Prompts whose constraints are all met at T = 0, by the checker; 95 %, t over seeds")
    return figure


def _bars(names: Sequence[str], intervals: Sequence[Interval | None]) -> go.Figure:
    """A horizontal bar for each name's share, the first on top, with the interval on it."""
    known = [(name, each) for name, each in zip(names, intervals, strict=True) if each is not None]
    error = {
        "array": [each.upper - each.estimate for _, each in known],
        "arrayminus": [each.estimate - each.lower for _, each in known],
        "color": GREY,
    }
    figure = go.Figure()
    figure.add_bar(
        x=[each.estimate for _, each in known],
        y=[name for name, _ in known],
        orientation="h",
        error_x=error,
        marker={"color": BLUE},
    )
    figure.update_layout(
        template="plotly_white",
        width=WIDTH,
        height=120 + 26 * len(known),
        margin={"l": 10, "r": 10, "t": 60, "b": 40},
        xaxis={"range": [0, 1]},
        yaxis={"autorange": "reversed", "automargin": True},
    )
    return figure


def data_sizes(study: Study) -> go.Figure:
    """A panel for each method: preferential prompts in blue, responses in grey, over the number of rows."""
    figure = panels(["PPO, frozen encoder", "GAPO, encoder"], "rows")
    rows = [share * study.size.rows for share in SHARES]
    for place, kind in enumerate((PPO, GAPO)):
        for augmentation, colour in ((RESPONSE, GREY), (PROMPT, BLUE)):
            found = [study.interval(sized(kind, augmentation, share), SATISFIED, 0.0) for share in SHARES]
            path(figure, place, rows, found, colour)
    figure.update_layout(
        title="All constraints met at T = 0: preferential prompts (blue) and responses (grey); 95 %, t over seeds"
    )
    return figure


FIGURES = {
    "study-gapo-hacking.png": reward_hacking,
    "study-gapo-arms.png": final_judgement,
    "study-gapo-sizes.png": data_sizes,
}
