"""From unbounded scores to [0, 1]: of which there is a probability, and of which differences."""

from trainer.calibration import sigmoid
from trainer.manifest import Contrast, Manifest


def probability(manifest: Manifest, is_first: bool, score: float) -> float | None:
    """Probability behind a finite ``score`` of an artifact's first output, or of another; None where there is none.

    sigma((score - center) / temperature), with what ``details["calibration"]`` says, for the first output of
    pointwise reward models, whose center is 0, and of discriminators, whose center is the mean logit of reference
    responses that were rejected. Nothing is claimed where nothing was fitted: a Bradley-Terry score is fitted up to
    what the two sides of a preference share (see ``contrasts``), and other outputs, log-probabilities and implicit
    rewards are on no such scale.
    """
    calibration = manifest.details.get("calibration")
    if not is_first or not calibration or not (pointwise(manifest) or manifest.kind == "discriminator"):
        return None
    return sigmoid((score - calibration.get("center", 0.0)) / calibration["temperature"])


def contrasts(manifest: Manifest) -> tuple[Contrast, ...]:
    """What two scores may be of for their difference to mean something, the other half of the pair being the same.

    Of a pointwise reward model that is both. A Bradley-Terry score is free to move by any function of what the sides
    of every preference shared, so that is what they differed in; of anything that does not say, responses.
    """
    if pointwise(manifest):
        return ("prompts", "responses")
    return tuple(manifest.details.get("contrasts") or ("responses",))


def pointwise(manifest: Manifest) -> bool:
    """Whether a score is the logit of a probability by itself: that the response satisfies its prompt."""
    return manifest.kind == "reward_model" and manifest.details.get("loss") == "bce"
