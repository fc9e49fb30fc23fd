"""How a manifest says that a model's weights are quantised as it is loaded. Imports no torch."""

from trainer.manifest import Manifest

QUANTISATION = "quantisation"
"""In a manifest's details, how; absent where floats are multiplied."""

LARGEST_ERROR = "quantisation/error/max"
"""Among its metrics, the largest absolute difference between its score of a pair and the original's."""

ORIGINAL = "original"
"""Role of the parent whose weights these are."""


def is_quantised(manifest: Manifest) -> bool:
    """Whether what is loaded multiplies integers."""
    return QUANTISATION in manifest.details


def original_of(manifest: Manifest) -> str:
    """``NAME@VERSION`` of the model that multiplies floats."""
    return next(f"{parent.name}@{parent.version}" for parent in manifest.parents if parent.role == ORIGINAL)
