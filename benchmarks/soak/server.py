"""``assay serve`` whose reward models are slow and fail at random: out of memory, or with a score that is no number.

    python -m benchmarks.soak.server

It takes its port from the system and all else from ``ASSAY_*``, and prints what ``assay serve`` prints.
"""

import random
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from service.server import run_server
from service.settings import load_settings
from trainer.data.text import Encoded
from trainer.models.readings import Readings
from trainer.models.reward_model import RewardModel

SECONDS_A_PAIR = 0.01
"""So that a hundred pairs a second are all it can do, and a client of one process is ten times too much for it."""
OUT_OF_MEMORY = 0.02
NOT_A_NUMBER = 0.5
"""How likely either is for a batch."""


def main() -> None:
    """Serve until told to stop."""
    whole = RewardModel.score
    draw = random.Random(0)

    def score(
        self: RewardModel,
        batch: Sequence[Encoded],
        outputs: Sequence[str] | None = None,
        readings: Readings | None = None,
    ) -> Tensor:
        if readings is None:  # the probe pairs, as a model is loaded
            return whole(self, batch, outputs, readings)
        time.sleep(SECONDS_A_PAIR * len(batch))
        if draw.random() < OUT_OF_MEMORY:
            raise torch.OutOfMemoryError("injected")
        scores = whole(self, batch, outputs, readings)
        if draw.random() < NOT_A_NUMBER:
            scores = scores.clone()
            scores[draw.randrange(len(batch))] = float("nan")
        return scores

    RewardModel.score = score  # type: ignore[method-assign]
    run_server(load_settings(port=0))


if __name__ == "__main__":
    main()
