"""What a training run's metrics say of it, in a sentence."""

from collections.abc import Sequence

from evaluation.figures.evidence import Series
from evaluation.verdict import Verdict
from evaluation.wording import listed, number

_TELLING = {
    "loss": "loss",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "the margin",
    "objective/scores": "scores",
    "discriminator/chosen/loss": "the chosen discriminator's loss",
}


def course(metrics: Sequence[Series]) -> Verdict:
    """Of a training run, where its telling metrics began and ended."""
    told = []
    for name, words in _TELLING.items():
        points = next((each.points for each in metrics if each.name == name and len(each.points) > 1), None)
        if points:
            told.append(f"{words} went from {number(points[0][1])} to {number(points[-1][1])}")
    steps = max((step for each in metrics for step, _ in each.points), default=0)
    if not told:
        return Verdict(f"Trained for {steps:,} steps.", [])
    return Verdict(f"In {steps:,} steps {listed(told)}.", [])
