"""Battles as each model's columns, with the difficulty of the instructions they were fought on."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.battles import Battle, look_up
from evaluation.statistics.bootstrap import Floats, Ints
from evaluation.statistics.length_controlled import instruction_difficulty
from evaluation.statistics.win_rate import Contest


class Contests:
    """The battles of all models against one baseline. Instructions are numbered once for all of them."""

    def __init__(self, battles: Sequence[Battle]) -> None:
        instructions: dict[str, int] = {}
        models: dict[str, int] = {}
        self._instruction: Ints = np.array(
            [instructions.setdefault(each.instruction, len(instructions)) for each in battles], dtype=np.int64
        )
        self._model: Ints = np.array([models.setdefault(each.model, len(models)) for each in battles], dtype=np.int64)
        self._preference = _floats([each.preference for each in battles])
        self._length = _floats([each.length for each in battles])
        self._baseline_length = _floats([each.baseline_length for each in battles])
        self._difficulty: list[Floats | None] = [None] * len(models)
        times = Counter((each.model, each.instruction) for each in battles)
        self._repeated = sum(count > 1 for count in times.values())
        self.models = list(models)
        self.instructions = list(instructions)
        self.difficulty_source = "left out"
        """Where the instructions' difficulty is from, or why its term is left out."""

    def know_difficulty(self, difficulty: Mapping[str, float], path: str) -> None:
        """Use what somebody fitted before, read from ``path``. Raises InvalidInput for an instruction it lacks."""
        known = np.array(look_up(self.instructions, difficulty, path))
        self._difficulty = [known for _ in self.models]
        self.difficulty_source = path

    def estimate_difficulty(self, penalty: float) -> None:
        """Estimate it for each model from the battles of the others, so that no verdict explains itself."""
        if len(self.models) < 2:
            self.difficulty_source = "left out: one model's battles cannot tell it from the model's own strength"
            return
        if not np.isfinite(self._baseline_length).all():
            self.difficulty_source = "left out: the baseline's outputs, whose length is needed, are not recorded"
            return
        difference = self._length - self._baseline_length
        for index in range(len(self.models)):
            others = (self._model != index) & np.isfinite(self._preference)
            self._difficulty[index] = instruction_difficulty(
                self._model[others],
                self._instruction[others],
                self._preference[others],
                difference[others],
                len(self.instructions),
                penalty,
            )
        self.difficulty_source = f"estimated for each model from the battles of the other {len(self.models) - 1}"

    def by_model(self) -> dict[str, Contest]:
        """Each model's battles."""
        contests = {}
        for index, name in enumerate(self.models):
            rows = self._model == index
            instruction, difficulty = self._instruction[rows], self._difficulty[index]
            contests[name] = Contest(
                instruction,
                self._preference[rows],
                self._length[rows],
                self._baseline_length[rows],
                None if difficulty is None else difficulty[instruction],
            )
        return contests

    @property
    def are_complete(self) -> bool:
        """Whether every model fought on every instruction, so that all of their rates stand on the same."""
        return len(set(zip(self._model.tolist(), self._instruction.tolist(), strict=True))) == len(self.models) * len(
            self.instructions
        )

    def notices(self) -> list[str]:
        """What a reader of the rates should know."""
        missing = int(np.isnan(self._preference).sum())
        said = [f"difficulty of instructions: {self.difficulty_source}"]
        if missing:
            said.append(f"{missing} of {len(self._preference)} battles have no verdict and are left out")
        if self._repeated:
            said.append(f"{self._repeated} times a model answered an instruction more than once; every answer counts")
        return said


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if each is None else each for each in values], dtype=np.float64)
