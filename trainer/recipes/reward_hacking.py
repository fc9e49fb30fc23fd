"""Reward hacking: the reward that is optimised rises while whoever is trusted more sees responses get worse."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from trainer.recipe import Model


class EarlyStop(Model):
    """When to end a run whose reward is being hacked. Judged on averages over several rounds."""

    window: int = Field(5, ge=1)
    """Rounds in an average."""
    drop: float = Field(0.05, gt=0)
    """How far a judge, between 0 and 1, falls below its best average."""
    patience: int = Field(3, ge=1)
    """Rounds in a row in which it does, while the reward stands above what it was at that best average."""
    publish: Literal["best", "last"] = "best"
    """Which policy, should that happen: of the round at which the judges' averages were best together (a second copy
    of the trained weights is kept for it), or of the last round."""


class HackingDetector:
    """Watches one reward and several judges, round by round."""

    def __init__(self, settings: EarlyStop) -> None:
        self._settings = settings
        self._rewards: list[float] = []
        self._judges: dict[str, list[float]] = {}

    def observe(self, reward: float, judges: Mapping[str, float]) -> str | None:
        """Take in a round; the reason to stop, if there is one by now. ``judges`` are the same in every round."""
        self._rewards.append(reward)
        for name, value in judges.items():
            self._judges.setdefault(name, []).append(value)
        for name, values in self._judges.items():
            if reason := self._hacked(name, values):
                return reason
        return None

    def leads(self) -> bool:
        """Whether the judges' newest averages, taken together, are the best so far."""
        together = [sum(each) for each in zip(*map(self._averages, self._judges.values()), strict=True)]
        return bool(together) and together[-1] == max(together)

    def state(self) -> dict[str, Any]:
        return {"rewards": list(self._rewards), "judges": {name: list(each) for name, each in self._judges.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        self._rewards = state["rewards"]
        self._judges = state["judges"]

    def _hacked(self, name: str, values: list[float]) -> str | None:
        rewards, judged = self._averages(self._rewards), self._averages(values)
        patience = self._settings.patience
        if len(judged) <= patience:
            return None
        best = max(range(len(judged)), key=judged.__getitem__)
        recent = range(len(judged) - patience, len(judged))
        fell = all(judged[i] < judged[best] - self._settings.drop and rewards[i] > rewards[best] for i in recent)
        if not fell:
            return None
        last = best + self._settings.window
        return (
            f"reward hacking: since round {last} the reward rose from {rewards[best]:.3f} to {rewards[-1]:.3f} while"
            f" {name} fell from {judged[best]:.3f} to {judged[-1]:.3f} (means over {self._settings.window} rounds)"
        )

    def _averages(self, values: list[float]) -> list[float]:
        window = self._settings.window
        return [sum(values[end - window : end]) / window for end in range(window, len(values) + 1)]
