"""From an unbounded score to [0, 1], where the artifact says how."""

import math

from trainer.artifacts import Manifest


def probability(manifest: Manifest, output: int, score: float) -> float | None:
    """Probability behind a finite ``score`` of an artifact's output number ``output``; None where there is none.

    sigma((score - center) / temperature), with what ``details["calibration"]`` says, for the first output of reward
    models and discriminators, whose center is the mean logit of reference responses that were rejected. Nothing is
    claimed where nothing was fitted; other outputs, log-probabilities and implicit rewards are on no such scale.
    """
    calibration = manifest.details.get("calibration")
    if output != 0 or manifest.kind == "policy" or not calibration:
        return None
    return sigmoid((score - calibration.get("center", 0.0)) / calibration["temperature"])


def sigmoid(x: float) -> float:
    """Logistic function that overflows on neither side."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))
