"""Every epoch is every row once, in batches of like length, in an order that the seed alone decides."""

import pytest

from trainer.batches import BatchPlan
from trainer.loop import Schedule


def epoch(plan: BatchPlan, number: int) -> list[list[int]]:
    return [plan[number * plan.steps_per_epoch + step] for step in range(plan.steps_per_epoch)]


def test_batches_cover_each_epoch_once_and_pad_little() -> None:
    lengths = [(i * 7919) % 50 for i in range(320)]
    first, second = (epoch(BatchPlan(lengths, 8, seed=1), number) for number in (0, 1))
    assert sorted(index for batch in first for index in batch) == list(range(320))
    assert first != second
    spread = sum(max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in first) / len(first)
    assert spread < 10


def test_rows_that_fill_no_whole_batch_are_a_smaller_one_and_not_the_longest() -> None:
    lengths = list(range(327))
    plan = BatchPlan(lengths, 8, seed=1)
    assert plan.steps_per_epoch == 41
    smaller = []
    for number in range(20):
        batches = epoch(plan, number)
        assert sorted(index for batch in batches for index in batch) == lengths
        assert sorted(map(len, batches)) == [7] + [8] * 40
        smaller += [index for batch in batches if len(batch) == 7 for index in batch]
    # 140 draws of 0..326 have a mean of 163 and a standard deviation of 8; the longest of each last window have 240
    assert 140 < sum(smaller) / len(smaller) < 187


def test_a_step_is_the_same_wherever_a_run_begins() -> None:
    lengths = [(i * 7919) % 50 for i in range(30)]
    straight = BatchPlan(lengths, 4, seed=3)
    order = [straight[step] for step in range(24)]
    for step in (23, 8, 7, 9, 0):  # within an epoch, at its ends, backwards
        assert BatchPlan(lengths, 4, seed=3)[step] == order[step]
        assert straight[step] == order[step]
    assert [BatchPlan(lengths, 4, seed=4)[step] for step in range(24)] != order


def test_fewer_rows_than_a_batch_are_one_batch() -> None:
    plan = BatchPlan([1, 2, 3], 8, seed=0)
    assert plan.steps_per_epoch == 1
    assert sorted(plan[0]) == sorted(plan[1]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("duration", "per_epoch", "steps"),
    [
        (Schedule(), 486, 486),
        (Schedule(epochs=0.5), 486, 243),
        (Schedule(epochs=1.5), 3, 5),
        (Schedule(epochs=0.1), 30, 3),  # 0.1 * 30 is a little more than 3 in binary
        (Schedule(epochs=0.01), 3, 1),
        (Schedule(epochs=7, max_steps=2), 486, 2),
    ],
)
def test_epochs_may_be_fractions(duration: Schedule, per_epoch: int, steps: int) -> None:
    assert duration.steps(per_epoch) == steps


def test_the_papers_rows_are_its_steps() -> None:
    assert BatchPlan([1] * 62_135, 128, seed=0).steps_per_epoch == 486
