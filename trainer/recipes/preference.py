"""Offline preference optimisation, and GANPO: the same with a latent-space adversarial regulariser."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from trainer.adversarial.state import Adversarial, AdversarialState, LatentSets
from trainer.artifacts import Artifact
from trainer.data.sources import Preference
from trainer.data.text import Encoded
from trainer.loop import Learner
from trainer.models.discriminator_pair import DiscriminatorPair
from trainer.models.latents import response_latents
from trainer.models.loading import make_probes
from trainer.models.policy import PairBatch, Policy, collate
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.starting_point import TrainedPolicy
from trainer.objectives import DPO, PreferenceObjective
from trainer.objectives.contract import PreferenceLogps
from trainer.recipe import Run
from trainer.recipes.encoding import EncodedPreference, encode_preferences, training_device
from trainer.recipes.training import TrainingRecipe


class PreferenceRecipe(TrainingRecipe):
    """Optimise a preference objective from a frozen reference; publishes the policy."""

    kind: Literal["preference"]
    policy: TrainedPolicy
    objective: PreferenceObjective = DPO()

    def run(self, run: Run) -> dict[str, Any]:
        return _train(self, None, run)


class GANPO(TrainingRecipe):
    """A preference objective plus lambda L_adv (arXiv 2601.22083, eqs. 7 and 18-20).

    Publishes the policy and, as ``NAME/discriminator``, the two discriminators on the reference's features.
    """

    kind: Literal["ganpo"]
    policy: TrainedPolicy
    objective: PreferenceObjective = DPO()
    adversarial: Adversarial = Adversarial()

    def run(self, run: Run) -> dict[str, Any]:
        return _train(self, self.adversarial, run)


def _train(recipe: PreferenceRecipe | GANPO, adversarial: Adversarial | None, run: Run) -> dict[str, Any]:
    rows, held_out = recipe.data.preferences(), recipe.data.preferences(held_out=True)
    policy, parent = recipe.policy.settled(run).open(run.artifacts, recipe.seed)
    policy.model.to(training_device())
    reference = Policy(copy.deepcopy(policy.model).eval().requires_grad_(False), policy.tokenizer)
    origin = parent or _publish_reference(recipe, reference, rows, run)
    state = None
    if adversarial is not None:
        state = AdversarialState(adversarial, int(policy.model.config.hidden_size), recipe.seed).to(policy.device)
    learner = PreferenceLearner(policy, reference, recipe.objective, state)
    encoded = encode_preferences(policy, rows, recipe.data, run)
    steps = recipe.train(learner, encoded, [row.tokens for row in encoded], run)
    policy.model.eval()
    metrics = learner.evaluate(encode_preferences(policy, held_out, recipe.data, run)) if held_out else {}
    probes = [row.chosen for row in held_out or rows]
    beta = recipe.objective.beta
    artifacts = {
        "policy": recipe.publish(
            run,
            recipe.name,
            "policy",
            policy.save,
            rows=rows,
            metrics=metrics,
            details={"max_tokens": policy.max_tokens, "template_hash": policy.format.template_hash, "beta": beta},
            probes=make_probes(PolicyScorer(policy, reference, beta), probes),
            parents=[origin.as_parent("reference")],
        )
    }
    if state is not None:
        artifacts["discriminator"] = _publish_discriminators(recipe, state, reference, origin, rows, held_out, run)
    return recipe.finish(run, artifacts, metrics, steps)


@dataclass
class PreferenceLearner(Learner[EncodedPreference]):
    """One policy forward on [chosen; rejected], one reference forward, one loss."""

    policy: Policy
    reference: Policy
    objective: PreferenceObjective
    adversarial: AdversarialState | None

    def __post_init__(self) -> None:
        self.trained = self.policy.model.train()

    def backward(self, rows: Sequence[EncodedPreference], share: float, *, last: bool) -> dict[str, float]:
        batch = self._collate(rows)
        hidden = self.policy.hidden_states(batch)
        with torch.no_grad():
            reference_hidden = self._reference_hidden(batch)
        outcome = self.objective(self._logps(batch, hidden, reference_hidden))
        loss = outcome.losses.mean()
        metrics = {"loss": float(loss.detach()), **_reward_metrics(outcome.chosen_rewards, outcome.rejected_rewards)}
        if self.adversarial is not None:
            assert reference_hidden is not None
            latents = LatentSets(response_latents(hidden, batch), response_latents(reference_hidden, batch))
            metrics |= self.adversarial.observe(latents, share, last=last)
            regulariser = self.adversarial.loss(latents)
            metrics["adversarial_loss"] = float(regulariser.detach())
            loss = loss + self.adversarial.config.weight * regulariser
        (share * loss).backward()  # type: ignore[no-untyped-call]
        return metrics

    @torch.inference_mode()
    def evaluate(self, rows: Sequence[EncodedPreference], size: int = 64) -> dict[str, float]:
        """Loss, rewards and accuracy on held-out preferences."""
        losses, chosen, rejected = [], [], []
        for start in range(0, len(rows), size):
            batch = self._collate(rows[start : start + size])
            outcome = self.objective(
                self._logps(batch, self.policy.hidden_states(batch), self._reference_hidden(batch))
            )
            losses.append(outcome.losses)
            chosen.append(outcome.chosen_rewards)
            rejected.append(outcome.rejected_rewards)
        metrics = _reward_metrics(torch.cat(chosen), torch.cat(rejected))
        return {
            f"held_out/{name}": value for name, value in {"loss": float(torch.cat(losses).mean()), **metrics}.items()
        }

    def state(self) -> dict[str, Any]:
        if self.adversarial is None:
            return {}
        return {"networks": self.adversarial.state_dict(), "optimizer": self.adversarial.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        if self.adversarial is not None:
            self.adversarial.load_state_dict(state["networks"])
            self.adversarial.optimizer.load_state_dict(state["optimizer"])

    def _collate(self, rows: Sequence[EncodedPreference]) -> PairBatch:
        sides: list[Encoded] = [*(row.chosen for row in rows), *(row.rejected for row in rows)]
        return collate(sides, self.policy.pad_id).to(self.policy.device)

    def _reference_hidden(self, batch: PairBatch) -> Tensor | None:
        if self.adversarial is None and not self.objective.needs_reference_logps:
            return None
        return self.reference.hidden_states(batch)

    def _logps(self, batch: PairBatch, hidden: Tensor, reference_hidden: Tensor | None) -> PreferenceLogps:
        summed = self.policy.logps(batch, hidden).sum(dim=1)
        reference = torch.zeros_like(summed)
        if reference_hidden is not None and self.objective.needs_reference_logps:
            with torch.no_grad():
                reference = self.reference.logps(batch, reference_hidden).sum(dim=1)
        tokens = batch.response_mask.sum(dim=1)
        half = len(summed) // 2
        return PreferenceLogps(
            summed[:half], summed[half:], reference[:half], reference[half:], tokens[:half], tokens[half:]
        )


def _reward_metrics(chosen: Tensor, rejected: Tensor) -> dict[str, float]:
    """Named as TRL names them, so that curves compare."""
    return {
        "rewards/chosen": float(chosen.mean()),
        "rewards/rejected": float(rejected.mean()),
        "rewards/margins": float((chosen - rejected).mean()),
        "rewards/accuracies": float((chosen > rejected).float().mean()),
    }


def _publish_reference(
    recipe: PreferenceRecipe | GANPO, reference: Policy, rows: Sequence[Preference], run: Run
) -> Artifact:
    """A policy that came from a directory becomes an artifact, so that what is trained on it can name it."""
    return recipe.publish(
        run,
        f"{recipe.name}/reference",
        "policy",
        reference.save,
        rows=rows,
        metrics={},
        details={"max_tokens": reference.max_tokens, "template_hash": reference.format.template_hash},
        probes=make_probes(PolicyScorer(reference), [row.chosen for row in rows]),
        parents=[],
    )


def _publish_discriminators(
    recipe: PreferenceRecipe | GANPO,
    state: AdversarialState,
    reference: Policy,
    origin: Artifact,
    rows: Sequence[Preference],
    held_out: Sequence[Preference],
    run: Run,
) -> Artifact:
    pair = DiscriminatorPair(reference, state.chosen, state.rejected, {"chosen": (0.0, 1.0), "rejected": (0.0, 1.0)})
    measured = encode_preferences(pair, held_out or rows[:256], recipe.data, run)
    chosen = _logits(pair, [row.chosen for row in measured])
    rejected = _logits(pair, [row.rejected for row in measured])
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
        probes=make_probes(pair, [row.chosen for row in held_out or rows]),
        parents=[origin.as_parent("reference")],
    )


def _logits(pair: DiscriminatorPair, rows: Sequence[Encoded], size: int = 64) -> Tensor:
    return torch.cat([pair.logits(rows[start : start + size]).cpu() for start in range(0, len(rows), size)])


def _accuracy(chosen: Tensor, rejected: Tensor) -> float:
    return float((chosen > rejected).float().mean() + 0.5 * (chosen == rejected).float().mean())
