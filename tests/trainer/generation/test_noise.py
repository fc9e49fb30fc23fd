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


def test_a_stream_does_not_depend_on_its_neighbours_nor_on_how_many_steps_are_drawn_at_once() -> None:
    alone = Noise(7, [("b", 3)], 10, CPU)
    among = Noise(7, [("a", 0), ("b", 3), ("b", 4)], 10, CPU)

    assert torch.equal(alone.gumbel(5, 1)[0, 0], among.gumbel(2, 8)[1, 3])


def test_a_larger_vocabulary_meets_the_same_noise_on_the_tokens_they_share() -> None:
    assert torch.equal(
        Noise(7, [("a", 0)], 10, CPU).gumbel(0, 1), Noise(7, [("a", 0)], 301, CPU).gumbel(0, 1)[..., :10]
    )


def test_seed_prompt_replicate_and_step_each_change_the_noise() -> None:
    def draw(seed: int, prompt_id: str, replicate: int, step: int) -> tuple[float, ...]:
        return tuple(Noise(seed, [(prompt_id, replicate)], 8, CPU).gumbel(step, 1)[0, 0].tolist())

    draws = {draw(0, "a", 0, 0), draw(1, "a", 0, 0), draw(0, "b", 0, 0), draw(0, "a", 1, 0), draw(0, "a", 0, 1)}

    assert len(draws) == 5
    assert len({draw(1, "1", 0, 0), draw(11, "", 0, 0)}) == 2


def test_the_draws_are_standard_gumbel() -> None:
    drawn = Noise(0, [("a", r) for r in range(20)], 100, CPU).gumbel(0, 20).flatten()

    assert stats.kstest(drawn.numpy(), "gumbel_r").pvalue > 0.01
    assert float(drawn.double().mean()) == pytest.approx(0.5772, abs=0.02)  # Euler's constant; se is 0.0064
    assert bool(torch.isfinite(drawn).all())


def test_uniform_draws_are_uniform_and_each_streams_own() -> None:
    drawn = Noise(0, [("a", r) for r in range(100)], 10, CPU).uniform(0, 50)

    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 0.01
    assert torch.equal(Noise(0, [("a", 7)], 294, CPU).uniform(20, 3)[0], drawn[7, 20:23])
    assert len(set(drawn.flatten().tolist())) > 4990
