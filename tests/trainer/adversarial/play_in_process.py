"""One process of games played by two; writes how they end, together and alone. Started by test_processes.py."""

import json
import sys
from pathlib import Path

import torch
from torch import distributed

from trainer.adversarial.latent_sets import LatentSets
from trainer.adversarial.settings import Adversarial
from trainer.adversarial.state import AdversarialState
from trainer.models.discriminators import TransformerDiscriminator
from trainer.models.latents import Latents

STEPS, MICRO, ROWS = 3, 2, 8
CONFIG = Adversarial(
    discriminator=TransformerDiscriminator(width=16, layers=1, heads=2, positions=16), learning_rate=1e-2
)


def play(rank: int, world: int, chosen: int) -> list[float]:
    """Moving means, and both logits of other latents, after a few steps with ``chosen`` of 8 rows chosen."""
    torch.manual_seed(rank)  # what processes draw elsewhere differs
    state = AdversarialState(CONFIG, 8, seed=0)
    generator = torch.Generator().manual_seed(1)
    rows = [row for row in range(ROWS) if row % world == rank]
    mask = torch.ones(len(rows), 5, dtype=torch.bool)
    for _ in range(STEPS):
        for micro in range(MICRO):
            policy, reference = torch.randn(2, ROWS, 5, 8, generator=generator)
            count = sum(row < chosen for row in rows)
            sets = LatentSets(Latents(policy[rows], mask), Latents(reference[rows], mask), count)
            state.observe(sets, len(rows) / ROWS / MICRO, last=micro == MICRO - 1)
    others = torch.randn(4, 5, 8, generator=generator)
    with torch.no_grad():
        logits = [network(others, torch.ones(4, 5, dtype=torch.bool)) for network in state.networks.values()]
    return [*state.discriminators.means.flatten().tolist(), *torch.cat(logits).tolist()]


def main() -> None:
    """Arguments: rank, a file to meet at, a file to write."""
    rank, meeting, output = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    cases = {"paired": 4, "unpaired": 1}  # of which the second process sees none
    alone = {name: play(0, 1, chosen) for name, chosen in cases.items()}
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    together = {name: play(rank, 2, chosen) for name, chosen in cases.items()}
    distributed.destroy_process_group()
    output.write_text(json.dumps({"alone": alone, "together": together}))


if __name__ == "__main__":
    main()
