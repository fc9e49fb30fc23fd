"""Discriminators alone: against an existing policy, as a Bradley-Terry probe, or random as controls."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator

from trainer.adversarial.discriminators import Discriminators
from trainer.adversarial.settings import Game
from trainer.checkpoints import FEATURES
from trainer.data.rows import Preference
from trainer.errors import InvalidInput
from trainer.manifest import Artifact
from trainer.models.discriminators import (
    Discriminator,
    DiscriminatorConfig,
    RandomDiscriminator,
    TransformerDiscriminator,
)
from trainer.models.outputs import RANDOM
from trainer.models.policy import Policy
from trainer.models.starting_point import PolicyOrigin
from trainer.recipe import Run
from trainer.recipes.discriminator_artifact import publish_discriminators
from trainer.recipes.discriminator_learners import FrozenLatents, Player, Probe
from trainer.recipes.encoding import EncodedPreference, encode_preferences, training_device
from trainer.recipes.publishing import summary
from trainer.recipes.reading import read_preferences
from trainer.recipes.reference_artifact import publish_reference
from trainer.recipes.training import TrainingRecipe
from trainer.schedule import OptimizerSettings


class DiscriminatorRecipe(TrainingRecipe):
    """Train discriminators on the latents of frozen policies; publishes a scorer on the reference's features.

    Latents are computed once, into files of the run directory.
    """

    kind: Literal["discriminator"]
    reference: PolicyOrigin
    policy: PolicyOrigin | None = None
    """What has drifted from the reference and is told from it; for ``loss: adversarial``."""
    discriminator: DiscriminatorConfig = TransformerDiscriminator()
    loss: Literal["adversarial", "bradley_terry"] = "adversarial"
    """``adversarial``: C_chosen and C_rejected by eqs. 19 and 20 of arXiv 2601.22083, as GANPO trains them, but for a
    policy that stands still. ``bradley_terry``: one network by -log sigmoid(C(ref+) - C(ref-)), which never sees a
    policy: the control that says what the adversary adds. It is published with the one output ``chosen``."""
    game: Game = Game()
    """Of which ``mask`` is everybody's and the rest ``adversarial``'s."""
    copies: int = Field(10, ge=1, le=256)
    """How many random discriminators a ``random`` one means, published as outputs ``random_0``, ``random_1``, ... of
    one artifact, so that they share one pass of the reference. Nothing is trained then."""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=1e-4, schedule="constant", warmup_fraction=0.0)

    @model_validator(mode="after")
    def _policy_plays(self) -> Self:
        plays = self.loss == "adversarial" and not isinstance(self.discriminator, RandomDiscriminator)
        if plays and self.policy is None:
            raise ValueError("loss adversarial tells a policy from its reference: give policy, or loss bradley_terry")
        if not plays and self.policy is not None:
            raise ValueError("nothing here looks at a policy: leave it out, or choose loss adversarial")
        return self

    def run(self, run: Run) -> dict[str, Any]:
        rows, held_out = read_preferences(self.data, run)
        reference, parent = self.reference.settled(run).open(run.artifacts, self.seed)
        reference.model.to(training_device()).eval().requires_grad_(False)
        origin = parent or publish_reference(self, reference, rows, run)
        networks, steps, played = self._make(reference, rows, run)
        artifact, metrics = publish_discriminators(
            self,
            self.name,
            networks,
            self.discriminator,
            self.game.mask,
            reference=reference,
            origin=origin,
            played=played,
            rows=rows,
            held_out=held_out,
            run=run,
        )
        return summary({"discriminator": artifact}, metrics, steps)

    def _make(
        self, reference: Policy, rows: Sequence[Preference], run: Run
    ) -> tuple[dict[str, Discriminator], int, tuple[Policy, Artifact] | None]:
        """The networks by name, trained where they are to be, the steps that took, and the policy they played."""
        hidden = int(reference.model.config.hidden_size)
        if isinstance(self.discriminator, RandomDiscriminator):
            torch.manual_seed(self.seed)
            drawn = {f"{RANDOM}{index}": self.discriminator.build(hidden) for index in range(self.copies)}
            return {name: network.to(reference.device) for name, network in drawn.items()}, 0, None
        encoded = encode_preferences(reference, rows, self.data, run)
        learner: Player | Probe
        played = None
        if self.policy is None:
            torch.manual_seed(self.seed)
            probe = self.discriminator.build(hidden).to(reference.device)
            learner = Probe(probe, self._features("reference", reference, encoded, run))
            networks = {"chosen": probe}
        else:
            policy, artifact = self.policy.settled(run).open(run.artifacts, self.seed)
            played = None if artifact is None else (policy, artifact)
            policy.model.to(reference.device).eval().requires_grad_(False)
            _check_alike(policy, reference)
            players = Discriminators(self.discriminator, self.game, hidden, self.seed).to(reference.device)
            features = [self._features(*each, encoded, run) for each in (("policy", policy), ("reference", reference))]
            learner = Player(players, *features)
            networks = players.players
        return networks, self.train(learner, encoded, [row.tokens for row in encoded], run), played

    def _features(self, name: str, policy: Policy, rows: Sequence[EncodedPreference], run: Run) -> FrozenLatents:
        return FrozenLatents(run.directory / FEATURES / name, policy, rows, self.game.mask, run)


def _check_alike(policy: Policy, reference: Policy) -> None:
    sizes = int(policy.model.config.hidden_size), int(reference.model.config.hidden_size)
    if sizes[0] != sizes[1] or policy.tokenizer.get_vocab() != reference.tokenizer.get_vocab():
        raise InvalidInput(
            f"policy and reference must share hidden size (here {sizes[0]} and {sizes[1]}) and vocabulary: name the"
            " reference that the policy was trained from",
            pointer="/policy/path",
        )
