"""From an unbounded score to [0, 1], where the artifact says how."""

import math

from trainer.artifacts import Manifest


def probability(manifest: Manifest, output: str, score: float) -> float | None:
    """Probability behind a finite ``score``, or None where the artifact defines none.

    Reward models: sigma(score / T), with the temperature T that was fitted on held-out pairs, or 1. Discriminators:
    sigma(logit - m), with m the mean logit of the opposing set kept at training; without m a logit has no zero.
    A mean log-probability or an implicit reward is no logit of anything.
    """
    if manifest.kind == "reward_model":
        calibration = manifest.details.get("calibration") or {}
        return sigmoid(score / calibration.get("temperature", 1.0))
    if manifest.kind == "discriminator":
        mean = manifest.details.get("means", {}).get(output)
        return None if mean is None else sigmoid(score - mean)
    return None


def sigmoid(x: float) -> float:
    """Logistic function that overflows on neither side."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))
