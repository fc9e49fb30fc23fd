"""Which rows make up which step: a function of the seed alone, so that a resumed run sees what it would have seen."""

import random
from collections.abc import Sequence

WINDOW = 16
"""Batches sorted by length together: enough to pad little, few enough to keep the order random."""


class BatchPlan:
    """Length-bucketed shuffled batches, epoch after epoch; ``plan[step]`` is the same in every run with the seed.

    An epoch is every row once: where they do not divide evenly one batch, of random rows, is smaller than the others.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.steps_per_epoch = -(-len(lengths) // batch_size)
        self._epoch = -1
        self._batches: list[list[int]] = []

    def __getitem__(self, step: int) -> list[int]:
        """Row indices of one step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._shuffle(epoch)
        return self._batches[position]

    def _shuffle(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"batches/{self.seed}/{epoch}")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        whole = len(order) - len(order) % self.batch_size
        batches = [order[whole:]] if whole < len(order) else []
        for start in range(0, whole, WINDOW * self.batch_size):
            window = sorted(order[start : min(start + WINDOW * self.batch_size, whole)], key=self.lengths.__getitem__)
            batches += [window[i : i + self.batch_size] for i in range(0, len(window), self.batch_size)]
        rng.shuffle(batches)
        return batches
