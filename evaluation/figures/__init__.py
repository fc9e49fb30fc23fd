"""Figures of what a run found, built once for dashboard, report and image files: a file for each, and one list."""

from evaluation.figures.agreement import agreement, agreement_with
from evaluation.figures.choosing import best_of_n
from evaluation.figures.correlations import correlations
from evaluation.figures.differences import differences, differences_between
from evaluation.figures.distributions import distributions
from evaluation.figures.drawing import Builder, Drawing
from evaluation.figures.evidence import Evidence
from evaluation.figures.instructions import instructions
from evaluation.figures.judgement import judgement
from evaluation.figures.missing import missing
from evaluation.figures.reliability import reliability
from evaluation.figures.scatter import scatter
from evaluation.figures.texts import texts
from evaluation.figures.training import training
from evaluation.figures.ways import ways
from evaluation.figures.wins import wins

__all__ = [
    "FIGURES",
    "Drawing",
    "Evidence",
    "agreement",
    "agreement_with",
    "correlations",
    "differences_between",
    "draw",
]

FIGURES: tuple[Builder, ...] = (
    correlations,
    agreement,
    wins,
    ways,
    differences,
    scatter,
    best_of_n,
    reliability,
    judgement,
    instructions,
    distributions,
    texts,
    missing,
    training,
)
"""In the order of reading: what is asked first comes first."""


def draw(evidence: Evidence) -> list[Drawing]:
    """Everything that the evidence allows."""
    return [drawing for build in FIGURES for drawing in build(evidence)]
