"""What makes a result of the paper: its claims, its chain of recipes, what is read off them, how it is shown."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from evaluation.reproduction.answers import Answers, Drawn, Draws, read_answers
from evaluation.reproduction.claims import Claim
from evaluation.reproduction.findings import Study, conclude
from evaluation.reproduction.measurements import Key, Measurements, Place
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.tables import Table
from evaluation.reproduction.world import Runs, World
from evaluation.statistics.bootstrap import Floats
from trainer.errors import InvalidInput

DRAWS = 1000

Found = tuple[str, str, Place, Drawn | None]
"""Subject, measure, place, number; None where it is undefined."""


class Readings:
    """What the finished runs of one replication say."""

    def __init__(self, world: World, runs: Runs) -> None:
        self.world, self.runs = world, runs
        self._answers: dict[str, Answers] = {}

    def answers(self, step: Step) -> Answers:
        """What a stress test sampled and scored, read once."""
        if step.name not in self._answers:
            self._answers[step.name] = read_answers(self.runs(step.name))
        return self._answers[step.name]

    def draws(self, n_prompts: int) -> Draws:
        """Draws of this seed's prompts."""
        return Draws(n_prompts, DRAWS, self.world.seed)


@dataclass(frozen=True)
class Result:
    """One table or figure of the paper."""

    key: str
    title: str
    claims: Sequence[Claim]
    controls: Sequence[Claim]
    """What a reproduced claim is worth: the same against what should not do as well."""
    chain: Callable[[World], Iterator[Step]]
    """All runs of one replication."""
    read: Callable[[Readings], Iterator[Found]]
    table: Callable[[Study], Table]
    """The numbers beside the paper's."""
    figure: Callable[[Study], go.Figure]
    families: tuple[str, ...] = ("gemma-2-2b-it",)
    """Of the paper's models, those that it is about."""
    alone: bool = False
    """Whether its runs must not share the machine with each other."""
    fewest_seeds: int = 1
    """Two where nothing is measured prompt by prompt, so that a single seed gives no interval."""

    def check_seeds(self, seeds: int) -> None:
        """Raises InvalidInput where so many replications could not decide any claim."""
        if seeds < self.fewest_seeds:
            raise InvalidInput(
                f"{self.key} with {seeds} seed can say nothing of its claims, for its intervals are over seeds alone;"
                f" give --seeds {self.fewest_seeds} or more"
            )


def steps(result: Result, worlds: Iterable[World]) -> list[Step]:
    """All runs of all replications, each once and after what it needs."""
    found = {step.name: step for world in worlds for step in result.chain(world)}
    return list(found.values())


def study(result: Result, worlds: Sequence[World], runs: Runs, size: object) -> Study:
    """What the finished runs say of every claim."""
    values: dict[Key, float] = {}
    replicates: dict[Key, Floats] = {}
    for world in worlds:
        for subject, measure, place, drawn in result.read(Readings(world, runs)):
            if drawn is not None:
                key = (world.seed, subject, measure, place)
                values[key] = drawn.value
                if drawn.replicates is not None:
                    replicates[key] = drawn.replicates
    return conclude(Measurements(values, replicates), size, result.claims, result.controls)
