"""Where a result is reproduced: what each part of its chain is there, and how its judgements are called.

A result is written once, in these words; the toy world and real models fill them in.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from evaluation.reproduction.answers import Answers, Battles
from evaluation.reproduction.schedule import Step

GRID = (0.0, 0.5, 0.7, 1.0, 1.25, 1.5)
"""Temperatures of Figure 3."""

VERY_HOT = (1.5, 2.0)
"""Temperatures of Figure 4."""

Runs = Callable[[str], Path]
"""The run directory of a step by its name."""


class World(ABC):
    """One replication in one place. Policies, arms and scorers are named as in ``toy_world``."""

    title: str
    """What it is, for headings."""
    seed: int
    decoding: float
    """At which the paper decodes for AlpacaEval (appendix B)."""
    gold: str
    """Whose scores say how good a response to an open-ended instruction is."""
    satisfied: str
    """Whose judgement says that a response meets every constraint which can be checked."""
    tasks: tuple[str, ...]
    """Downstream tasks."""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Write what the chain reads and no step of it makes."""

    @abstractmethod
    def named(self, name: str) -> str:
        """What an artifact of this replication is called."""

    @abstractmethod
    def start(self) -> Sequence[Step]:
        """What makes the policy that every arm starts from; nothing where it is had."""

    @abstractmethod
    def arm(self, name: str) -> Step:
        """Training one arm."""

    @abstractmethod
    def timed(self, name: str) -> Step:
        """Training one arm with nothing beside it, to see how long a step takes."""

    @abstractmethod
    def scorers(self) -> Sequence[Step]:
        """Reward models, and a probe of the same features as the discriminator."""

    @abstractmethod
    def answers(self, policy: str) -> Step:
        """Responses to open-ended instructions over ``GRID``, judged by ``gold``."""

    @abstractmethod
    def constrained(self, policy: str) -> Step:
        """Responses to instructions that can be checked over ``GRID``, judged by ``satisfied``."""

    @abstractmethod
    def decoded(self, policy: str) -> Step:
        """Responses at the decoding temperature, for win rates."""

    @abstractmethod
    def battles(self, policy: str, read: Callable[[Step], Answers]) -> Battles:
        """The policy's decoded responses against the baseline's."""

    @abstractmethod
    def very_hot(self, scorers: Sequence[str]) -> Step:
        """Responses of GANPO's policy at ``VERY_HOT``, scored by all ``scorers``."""

    @abstractmethod
    def knowledge(self, policies: Sequence[str]) -> Sequence[Step]:
        """The downstream tasks."""

    @abstractmethod
    def knows(self, policy: str, task: str, runs: Runs) -> tuple[list[int], list[float]]:
        """Which document, from 0, and whether it was answered rightly, of every question of a task.

        A question without an answer is NaN, so that policies on the same questions have the same documents.
        """
