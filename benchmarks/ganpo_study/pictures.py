"""The study's figures."""

import plotly.graph_objects as go

from benchmarks.ganpo_study.arms import TEMPERATURES
from benchmarks.ganpo_study.measurements import GOLD, WITHIN
from benchmarks.ganpo_study.tables import SCORERS
from evaluation.reproduction.findings import Study
from evaluation.reproduction.pictures import BLUE, GREY, panels, path
from evaluation.reproduction.toy_world import ARMS

_BASELINE = "dpo"


def gold_by_temperature(study: Study) -> go.Figure:
    """A panel for each arm: its gold judgement over temperature in colour, DPO's in grey, each with its band."""
    others = [arm for arm in ARMS if arm != _BASELINE]
    figure = panels(others, "T")
    for place, arm in enumerate(others):
        path(figure, place, TEMPERATURES, [study.interval(_BASELINE, GOLD, each) for each in TEMPERATURES], GREY)
        path(figure, place, TEMPERATURES, [study.interval(arm, GOLD, each) for each in TEMPERATURES], BLUE)
    figure.update_layout(title="Gold judgement by temperature (blue), over DPO's (grey); bands: 95 %, t over seeds")
    return figure


def lead_over_dpo(study: Study) -> go.Figure:
    """A panel for each arm: how far it is ahead of DPO in the same seed, with its band."""
    others = [arm for arm in ARMS if arm != _BASELINE]
    figure = panels(others, "T")
    for place, arm in enumerate(others):
        path(figure, place, TEMPERATURES, [study.lead(arm, _BASELINE, GOLD, each) for each in TEMPERATURES], BLUE)
    figure.add_hline(y=0, line={"color": GREY, "width": 1})
    figure.update_layout(title="Gold judgement minus DPO's, paired within seeds; bands: 95 %, t over seeds")
    return figure


def agreement_by_temperature(study: Study) -> go.Figure:
    """A panel for each scorer: its r within prompts over temperature."""
    figure = panels(list(SCORERS.values()), "T")
    for place, scorer in enumerate(SCORERS):
        path(figure, place, TEMPERATURES, [study.interval(scorer, WITHIN, each) for each in TEMPERATURES], BLUE)
    figure.add_hline(y=0, line={"color": GREY, "width": 1})
    figure.update_layout(title="r within prompts with gold, by temperature; bands: 95 %, t over seeds")
    return figure


FIGURES = {
    "study-gold.png": gold_by_temperature,
    "study-lead.png": lead_over_dpo,
    "study-scorers.png": agreement_by_temperature,
}
