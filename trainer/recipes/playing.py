"""Rounds of a game: played one after the other, killed anywhere, continued from the last checkpoint."""

import math
import random
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.checkpoints import Checkpoints
from trainer.errors import Stopped
from trainer.recipe import Run
from trainer.recipes.ppo_learner import PPOLearner
from trainer.recipes.reward_hacking import EarlyStop, HackingDetector
from trainer.recipes.rounds import RoundsRecipe
from trainer.resuming import put_weights, trained_weights
from trainer.rollouts import Between


@dataclass(frozen=True)
class RoundReport:
    """What one round says of itself."""

    metrics: dict[str, float]
    reward: float
    """Mean of the score that is optimised."""
    judges: dict[str, float]
    """Means between 0 and 1 of whoever is trusted more than that."""


class Game(ABC):
    """One algorithm's rounds. A round depends on its number and on the state alone."""

    learner: PPOLearner

    @abstractmethod
    def play(self, number: int, between: Between) -> RoundReport:
        """Round ``number``, from 0. Where ``between`` raises it is abandoned, and the game has no use any more."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Metrics on held-out prompts, if there are any."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that a resume needs."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""


@dataclass(frozen=True)
class Played:
    """How the rounds ended."""

    rounds: int
    reason: str | None
    """Why they ended early."""
    metrics: dict[str, float]
    """Of the last round."""
    policy_round: int
    """After which the policy was as it is now: the last, or the best where the reward was hacked."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a policy's manifest says of them."""
        return {"rounds": self.rounds, "stopped_early": self.reason, "policy_round": self.policy_round}


def play_rounds(game: Game, recipe: RoundsRecipe, run: Run) -> Played:
    """Play until the rounds are over or the reward is hacked, continuing from the run's last checkpoint.

    Raises Stopped where a stop was requested, which a round answers between its steps: it is abandoned and will be
    played again from the last checkpoint. Raises whatever else a round raises: that checkpoint is intact then too.
    """
    checkpoints = Checkpoints(run.directory)
    detector = HackingDetector(recipe.early_stop or EarlyStop())
    keeps_best = recipe.early_stop is not None and recipe.early_stop.publish == "best"
    number, reason, metrics = 0, None, dict[str, float]()
    best: tuple[int, dict[str, Tensor]] | None = None
    if (state := checkpoints.latest()) is not None:
        number, reason, metrics, best = state["round"], state["reason"], state["metrics"], state["best"]
        detector.restore(state["detector"])
        game.restore(state["game"])
    saved = number

    def between(doing: str) -> None:
        if run.reporter.stop_requested():
            place = f"after round {saved}" if saved else "with the first"
            raise Stopped(f"stopped on request in round {number + 1} of {recipe.rounds}; it continues {place}")
        run.reporter.progress("train", number, recipe.rounds, unit="round", note=doing)

    while number < recipe.rounds and reason is None:
        started = time.monotonic()
        # a reward model may have dropout; a round that is played again meets the same
        torch.manual_seed(random.Random(f"round/{recipe.seed}/{number}").getrandbits(62))
        report = game.play(number, between)
        number += 1
        found = detector.observe(report.reward, report.judges)
        reason = found if recipe.early_stop is not None else None
        if keeps_best and detector.leads():
            best = number, trained_weights(game.learner.policy.network)
        last = number == recipe.rounds or reason is not None
        evaluated = game.evaluate() if last or number % recipe.evaluation.every_rounds == 0 else {}
        metrics = {name: value for name, value in {**report.metrics, **evaluated}.items() if math.isfinite(value)}
        run.reporter.metrics("train", number, {**metrics, "round_seconds": time.monotonic() - started})
        run.reporter.progress("train", number, recipe.rounds, unit="round", note=f"reward {report.reward:.3f}")
        stop = run.reporter.stop_requested()
        if stop or last or number % recipe.checkpoint.every_rounds == 0:
            told = {"round": number, "reason": reason, "metrics": metrics, "best": best}
            checkpoints.save(number, {**told, "detector": detector.state(), "game": game.state()})
            saved = number
        if stop and not last:
            raise Stopped(f"stopped on request after round {number} of {recipe.rounds}; it continues from there")
    if reason is None:
        return Played(number, None, metrics, number)
    run.reporter.message(f"stopped after round {number} of {recipe.rounds}: {reason}")
    if best is None:
        return Played(number, reason, metrics, number)
    put_weights(game.learner.policy.network, best[1])
    return Played(number, reason, {**metrics, **game.evaluate()}, best[0])
