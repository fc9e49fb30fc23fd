"""Trained discriminators as an artifact: standardised, measured on held-out pairs, with probes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.adversarial.state import AdversarialState
from trainer.artifacts import Artifact
from trainer.data.rows import Preference
from trainer.data.text import Encoded
from trainer.models.discriminator_pair import DiscriminatorPair
from trainer.models.loading import make_probes
from trainer.models.policy import Policy
from trainer.recipe import Run
from trainer.recipes.encoding import encode_preferences
from trainer.recipes.training import TrainingRecipe


def publish_discriminators(
    recipe: TrainingRecipe,
    state: AdversarialState,
    reference: Policy,
    origin: Artifact,
    rows: Sequence[Preference],
    held_out: Sequence[Preference],
    run: Run,
) -> Artifact:
    """Publish the two discriminators on the reference's features as ``NAME/discriminator``, measured on pairs."""
    pair = DiscriminatorPair(reference, state.chosen, state.rejected, {"chosen": (0.0, 1.0), "rejected": (0.0, 1.0)})
    measured = encode_preferences(pair, held_out or rows[:256], recipe.data, run)
    chosen = _logits(pair, [row.pair[0] for row in measured])
    rejected = _logits(pair, [row.pair[1] for row in measured])
    both = torch.cat([chosen, rejected])
    centre, spread = both.mean(dim=0).tolist(), both.std(dim=0).clamp(min=1e-6).tolist()
    pair.standardisation = {"chosen": (centre[0], spread[0]), "rejected": (centre[1], spread[1])}
    difference = (both[:, 0] - centre[0]) / spread[0] - (both[:, 1] - centre[1]) / spread[1]
    half = len(chosen)
    rows_of = "held_out" if held_out else "train"
    metrics = {
        f"{rows_of}/chosen/accuracy": _accuracy(chosen[:, 0], rejected[:, 0]),
        f"{rows_of}/rejected/accuracy": _accuracy(-chosen[:, 1], -rejected[:, 1]),
        f"{rows_of}/difference/accuracy": _accuracy(difference[:half], difference[half:]),
    }
    if (accuracy := metrics[f"{rows_of}/chosen/accuracy"]) < 0.55:
        run.reporter.message(
            f"the chosen discriminator orders {accuracy:.2f} of {rows_of} pairs, close to chance: raise"
            " adversarial.learning_rate or train longer before trusting its scores"
        )
    return recipe.publish(
        run,
        f"{recipe.name}/discriminator",
        "discriminator",
        lambda path: pair.save(path, state.config.discriminator),
        rows=rows,
        metrics=metrics,
        details={
            "max_tokens": pair.max_tokens,
            "template_hash": pair.template_hash,
            "orientation": "higher_is_better",
            "features": "reference",
            "layer": "last_hidden_state_after_norm",
            "mask": "response",
            "standardisation": pair.standardisation,
            "calibration": {"center": float(rejected[:, 0].mean()), "temperature": 1.0},
        },
        probes=make_probes(pair, [row.sides[0] for row in held_out or rows]),
        parents=[origin.as_parent("reference")],
    )


def _logits(pair: DiscriminatorPair, rows: Sequence[Encoded], size: int = 64) -> Tensor:
    return torch.cat([pair.logits(rows[start : start + size]).cpu() for start in range(0, len(rows), size)])


def _accuracy(chosen: Tensor, rejected: Tensor) -> float:
    return float((chosen > rejected).float().mean() + 0.5 * (chosen == rejected).float().mean())
