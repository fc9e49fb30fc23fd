"""The tiny scale: every result in the product-description world, in minutes on two cores.

The exact checker stands for every oracle and judge; the baseline of win rates is the policy that every arm starts
from; a downstream task asks which of two responses meets its prompt, the other having one defect of a kind.
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from evaluation.recipes.benchmark import SCORES_FILE
from evaluation.reproduction.answers import Answers, Battles, fight
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.toy_world import JUDGED, START, Size, ToyWorld
from evaluation.reproduction.world import GRID, VERY_HOT, Runs, World
from trainer.data.product_world import render_prompt, sample_examples
from trainer.data.product_world.checker import satisfied
from trainer.data.product_world.grammar import render
from trainer.data.product_world.perturbations import RESPONSE_EDITS
from trainer.files import read_jsonl, write_atomically

TINY = Size(3, 2000, 600, 50, 100, prompts=64, responses=4, untrained=0, hidden_size=64, layers=2)

_TIMED_STEPS = 20


class TinyWorld(World):
    """One replication in the product-description world."""

    title = "product world, tiny"
    decoding = 0.7
    gold = "product_world"
    satisfied = "product_world:satisfied"
    tasks = ("wrong_value", "dropped_sentence", "swapped_sentences", "wrong_tone")

    def __init__(self, seed: int, size: Size, directory: Path) -> None:
        """``directory`` keeps the questions of the downstream tasks."""
        self.seed = seed
        self._size = size
        self._toy = ToyWorld(seed, size, "tiny-")
        self._questions = directory.absolute() / f"{self._toy.prefix}{size.prompts}-questions.jsonl"

    def prepare(self) -> None:
        if not self._questions.exists():
            self._questions.parent.mkdir(parents=True, exist_ok=True)
            rows = [json.dumps(row) + "\n" for row in _questions(self._size.prompts, self.seed, self.tasks)]
            write_atomically(self._questions, "".join(rows))

    def named(self, name: str) -> str:
        return self._toy.named(name)

    def start(self) -> Sequence[Step]:
        return [self._toy.start()]

    def arm(self, name: str) -> Step:
        return self._toy.arm(name)

    def timed(self, name: str) -> Step:
        return self._toy.arm_as(f"{name}-timed", name, min(_TIMED_STEPS, self._size.preference_steps))

    def scorers(self) -> Sequence[Step]:
        return [self._toy.decoder(), self._toy.encoder(), self._toy.probe()]

    def answers(self, policy: str) -> Step:
        return self._toy.stress_test(f"{policy}-answers", policy, GRID)

    def constrained(self, policy: str) -> Step:
        return self.answers(policy)

    def decoded(self, policy: str) -> Step:
        return self.answers(policy)

    def battles(self, policy: str, read: Callable[[Step], Answers]) -> Battles:
        own, baseline = (read(self.answers(each)).at(self.decoding) for each in (policy, START))
        return fight(own, baseline, self.gold, apart=policy == START)

    def very_hot(self, scorers: Sequence[str]) -> Step:
        return self._toy.stress_test("very-hot", JUDGED, VERY_HOT, scorers)

    def knowledge(self, policies: Sequence[str]) -> Sequence[Step]:
        return [
            self._toy.step(
                "knowledge",
                tuple(policies),
                kind="benchmark",
                suite="reward_bench",
                path=str(self._questions),
                scorers=[self.named(f"{policy}:mean_logprob") for policy in policies],
                bootstrap={"draws": self._size.draws},
            )
        ]

    def knows(self, policy: str, task: str, runs: Runs) -> tuple[list[int], list[float]]:
        questions = [row for _, row in read_jsonl(self._questions)]
        scorer = self.named(f"{policy}:mean_logprob")
        documents, right = [], []
        for _, row in read_jsonl(runs(self.named("knowledge")) / SCORES_FILE):
            question = questions[row["item"]]
            if row["scorer"] == scorer and question["subset"] == task:
                documents.append(question["document"])
                answered = row["error"] is None
                right.append(float(row["chosen"][0] > row["rejected"][0]) if answered else float("nan"))
        return documents, right


def _questions(size: int, seed: int, tasks: Sequence[str]) -> list[dict[str, object]]:
    """One question of every task about each example to which the task's edit applies; RewardBench's rows."""
    rng = random.Random(f"questions/{seed}")
    rows: list[dict[str, object]] = []
    for document, example in enumerate(sample_examples("test", size, seed)):
        for task in tasks:
            sentences = RESPONSE_EDITS[task](rng, example)
            if sentences is None or satisfied(example.task, render(sentences)):
                continue
            sides = {"chosen": example.response, "rejected": render(sentences)}
            rows.append({"prompt": render_prompt(example.task), **sides, "subset": task, "document": document})
    return rows
