"""Noise is a function of seed, prompt, replicate, step and token, and it is Gumbel noise."""

import pytest
import torch
from scipy import stats

from trainer.generation.noise import Noise, philox

CPU = torch.device("cpu")


def words(*values: int) -> list[torch.Tensor]:
    return [torch.tensor([value], dtype=torch.int64) for value in values]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert tuple(int(word) for word in philox(words(*counter), words(*key))) == expected


def gumbel(
    streams: list[tuple[str, int]], steps: int, vocabulary: int = 10, *, seed: int = 7, first: int = 0
) -> torch.Tensor:
    """(streams, steps, vocabulary), asked for in one go."""
    stream, step = (
        grid.flatten() for grid in torch.meshgrid(torch.arange(len(streams)), torch.arange(steps), indexing="ij")
    )
    drawn = Noise(seed, streams, CPU).gumbel(stream, step + first, vocabulary)
    return drawn.reshape(len(streams), steps, vocabulary)


def test_a_stream_does_not_depend_on_its_neighbours_nor_on_which_steps_are_drawn_at_once() -> None:
    alone = gumbel([("b", 3)], 1, first=5)
    among = gumbel([("a", 0), ("b", 3), ("b", 4)], 8, first=2)

    assert torch.equal(alone[0, 0], among[1, 3])


def test_a_larger_vocabulary_meets_the_same_noise_on_the_tokens_they_share() -> None:
    assert torch.equal(gumbel([("a", 0)], 1, 10), gumbel([("a", 0)], 1, 301)[..., :10])


def test_seed_prompt_replicate_and_step_each_change_the_noise() -> None:
    def draw(seed: int, prompt_id: str, replicate: int, step: int) -> tuple[float, ...]:
        return tuple(gumbel([(prompt_id, replicate)], 1, 8, seed=seed, first=step)[0, 0].tolist())

    draws = {draw(0, "a", 0, 0), draw(1, "a", 0, 0), draw(0, "b", 0, 0), draw(0, "a", 1, 0), draw(0, "a", 0, 1)}

    assert len(draws) == 5
    assert len({draw(1, "1", 0, 0), draw(11, "", 0, 0)}) == 2


def test_the_draws_are_standard_gumbel() -> None:
    drawn = gumbel([("a", r) for r in range(20)], 20, 100, seed=0).flatten()

    assert stats.kstest(drawn.numpy(), "gumbel_r").pvalue > 0.01
    assert float(drawn.double().mean()) == pytest.approx(0.5772, abs=0.02)  # Euler's constant; se is 0.0064
    assert bool(torch.isfinite(drawn).all())


def test_uniform_draws_are_uniform_and_each_streams_own() -> None:
    stream, step = torch.arange(100).repeat_interleave(50), torch.arange(50).repeat(100)
    drawn = Noise(0, [("a", r) for r in range(100)], CPU).uniform(stream, step).reshape(100, 50)

    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 0.01
    alone = Noise(0, [("a", 7)], CPU).uniform(torch.zeros(3, dtype=torch.int64), torch.arange(20, 23))
    assert torch.equal(alone, drawn[7, 20:23])
    assert len(set(drawn.flatten().tolist())) > 4990
