"""Discriminators as an artifact: standardised, measured on held-out preferences, with probes."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from trainer.data.rows import Preference
from trainer.data.text import Encoded
from trainer.manifest import Artifact
from trainer.models.discriminator_pair import DiscriminatorPair
from trainer.models.discriminators import Discriminator, DiscriminatorConfig, RandomDiscriminator
from trainer.models.latents import MaskChoice
from trainer.models.loading import make_probes
from trainer.models.outputs import PLAYERS
from trainer.models.policy import Policy
from trainer.recipe import DataPart, Run
from trainer.recipes.encoding import encode_preferences
from trainer.recipes.training import TrainingRecipe
from trainer.recipes.validation import validation_of

SEPARATES = 0.55
"""Held-out accuracy below which a trained discriminator has learned next to nothing."""


def publish_discriminators(
    recipe: TrainingRecipe,
    name: str,
    networks: Mapping[str, Discriminator],
    config: DiscriminatorConfig,
    mask: MaskChoice,
    *,
    reference: Policy,
    origin: Artifact,
    played: tuple[Policy, Artifact] | None,
    rows: Sequence[Preference],
    held_out: Sequence[Preference],
    run: Run,
) -> tuple[Artifact, dict[str, float]]:
    """Publish networks on the reference's features as ``name``; also returns what was measured.

    ``played`` is the policy they were trained against, whose features they can then be asked about too, as it is
    published.
    """
    pair = DiscriminatorPair(reference, networks, {}, mask)
    part: DataPart | None = "held_out" if held_out else None
    measured = encode_preferences(pair, held_out or rows[:256], recipe.data, run, part, paired=False)
    logits = _logits(pair, [side for row in measured for side in row.sides])
    is_chosen = torch.tensor([side is row.chosen for row in measured for side in row.sides], dtype=torch.bool)
    chosen, rejected = logits[is_chosen], logits[~is_chosen]
    if tuple(networks) == PLAYERS:
        spread, centre = torch.std_mean(logits, dim=0, correction=0)
        spread = spread.clamp(min=1e-6)
        pair.standardisation = {
            player: (float(centre[column]), float(spread[column])) for column, player in enumerate(PLAYERS)
        }
    paired = all(row.chosen is not None and row.rejected is not None for row in measured)
    metrics = _measure(pair, chosen, rejected, "held_out" if held_out else "train", paired=paired)
    first, accuracy = next(iter(metrics.items()), ("", 1.0))
    if accuracy < SEPARATES and not isinstance(config, RandomDiscriminator):
        run.reporter.message(
            f"the discriminator's {first} is {accuracy:.2f}, close to chance: raise its learning rate or train longer"
            " before trusting its scores"
        )
    details = pair.details()
    if len(rejected):
        details["calibration"] = {"center": float(rejected[:, 0].mean()), "temperature": 1.0}
    known = dict(zip(pair.outputs, pair.scores(logits).T.tolist(), strict=True))
    open_policy = None if played is None else lambda: played[0]
    served = DiscriminatorPair(reference, networks, pair.standardisation, mask, open_policy=open_policy)
    artifact = recipe.publish(
        run,
        name,
        "discriminator",
        lambda path: pair.save(path, config),
        rows=rows,
        metrics=metrics,
        details=details,
        probes=make_probes(pair, [row.sides[0] for row in held_out or rows]),
        parents=[origin.as_parent("reference"), *([] if played is None else [played[1].as_parent("policy")])],
        validation=validation_of(served, measured, known, recipe.seed) if held_out else None,
    )
    return artifact, metrics


def _measure(
    pair: DiscriminatorPair, chosen: Tensor, rejected: Tensor, rows_of: str, *, paired: bool
) -> dict[str, float]:
    """How often each output puts chosen above rejected: within pairs, or, where rows are unpaired, among all (AUC)."""
    if not len(chosen) or not len(rejected):
        return {}
    winners, losers = pair.scores(chosen), pair.scores(rejected)
    if not paired:
        winners, losers = winners[:, None], losers[None, :]
    right = (winners > losers).float() + 0.5 * (winners == losers).float()
    what = "accuracy" if paired else "auc"
    return {
        f"{rows_of}/{output}/{what}": value
        for output, value in zip(pair.outputs, right.flatten(end_dim=-2).mean(dim=0).tolist(), strict=True)
    }


def _logits(pair: DiscriminatorPair, rows: Sequence[Encoded], size: int = 64) -> Tensor:
    """Raw logits (rows, networks) on the CPU."""
    parts = [pair.logits(rows[start : start + size]).cpu() for start in range(0, len(rows), size)]
    return torch.cat(parts) if parts else torch.zeros(0, len(pair.networks))
