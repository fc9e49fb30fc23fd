"""What is trained and measured: every run of the study as an ordinary recipe, and what each needs done before."""

from collections.abc import Iterator

from evaluation.reproduction.schedule import Step
from evaluation.reproduction.toy_world import (
    ARMS,
    DECODER,
    DISCRIMINATOR,
    ENCODER,
    IMPLICIT_REWARD,
    JUDGED,
    PROBE,
    REFERENCE_LOGPROB,
    START,
    Size,
    ToyWorld,
)

POLICIES = (START, *ARMS)
LEARNED = (DISCRIMINATOR, f"{JUDGED}/discriminator:difference", PROBE, ENCODER, DECODER, IMPLICIT_REWARD)
"""Scorers that were trained on the preferences."""
TEMPERATURES = (0.0, 0.5, 0.7, 1.0, 1.25, 1.5, 2.0)

SIZES = {
    "full": Size(5, 6000, 600, 150, 300, prompts=128, responses=6, untrained=12),
    "quick": Size(2, 96, 6, 3, 3, prompts=4, responses=2, untrained=10, hidden_size=16, layers=1),
}


def steps_of_seed(seed: int, size: Size) -> Iterator[Step]:
    """All runs of one replication, each after what it needs."""
    world = ToyWorld(seed, size)
    untrained = [f"random:random_{index}" for index in range(size.untrained)]
    yield world.start()
    yield world.encoder()
    yield world.decoder()
    for arm in ARMS:
        yield world.arm(arm)
    yield world.probe()
    yield world.untrained()
    for policy in POLICIES:
        scorers = (*LEARNED, REFERENCE_LOGPROB, *untrained) if policy == JUDGED else ()
        yield world.stress_test(stress(policy), policy, TEMPERATURES, scorers)


def prefix(seed: int) -> str:
    """What the names of a seed's runs and artifacts begin with."""
    return f"s{seed}-"


def stress(policy: str) -> str:
    """Name of the step that samples ``policy``."""
    return f"{policy}-stress"
