"""Batches really contain the shares that were asked for."""

from collections import Counter

import pytest

from trainer.data.text import Encoded
from trainer.errors import InvalidInput
from trainer.recipes.adversarial_batches import AdversarialBatches, Labelled, counts
from trainer.recipes.encoding import EncodedPreference

ROWS = [EncodedPreference(Encoded([index, 1], 1), Encoded([index, 0], 1), "mod_value") for index in range(10)]
GENERATED = [Labelled(Encoded([100 + index], 0), 0.0, "generated") for index in range(5)]


@pytest.mark.parametrize(
    ("size", "accepted", "generated", "expected"),
    [
        (8, 0.5, 0.25, (4, 2, 2)),  # the paper's
        (8, 0.5, 0.5, (4, 0, 4)),  # half means half, not none
        (8, 0.5, 0.0, (4, 4, 0)),
        (4, 0.5, 0.25, (2, 1, 1)),
        (6, 0.5, 0.25, (3, 2, 1)),  # 3, 1.5, 1.5
        (10, 1 / 3, 1 / 3, (4, 3, 3)),
        (1, 0.0, 1.0, (0, 0, 1)),
    ],
)
def test_shares_become_rows(size: int, accepted: float, generated: float, expected: tuple[int, int, int]) -> None:
    found = counts(size, accepted, generated)
    assert (found["accepted"], found["rejected"], found["generated"]) == expected


def test_a_share_is_never_rounded_away_nor_do_shares_exceed_the_whole() -> None:
    with pytest.raises(InvalidInput, match=r"a batch of 2 has no room for a generated row at a share of 0\.25"):
        counts(2, 0.5, 0.25)
    with pytest.raises(InvalidInput, match="exceed 1 together"):
        counts(8, 0.7, 0.5)


@pytest.mark.parametrize("generated_share", [0.0, 0.25, 0.5])
def test_every_batch_has_its_rows_and_labels(generated_share: float) -> None:
    mix = counts(8, 0.5, generated_share)
    batches = AdversarialBatches(ROWS, mix, seed=0)
    for step in range(12):  # epochs of ten rows end within a batch of four
        batch = batches.batch(step, GENERATED)
        assert Counter(row.origin for row in batch) == Counter(mix)
        accepted = [row.encoded.input_ids for row in batch if row.origin == "accepted"]
        rejected = [row.encoded.input_ids for row in batch if row.origin == "rejected"]
        assert all(row.label == float(row.origin == "accepted") for row in batch)
        assert all(ids[1] == 1 for ids in accepted)
        assert all([ids[0], 1] in accepted for ids in rejected)  # rejected beside the very row it was made from
        generated = [row.encoded.input_ids[0] for row in batch if row.origin == "generated"]
        assert len(set(generated)) == mix["generated"]
        assert all(index >= 100 for index in generated)


def test_an_epoch_sees_every_row_and_a_step_is_repeatable() -> None:
    batches = AdversarialBatches(ROWS, counts(4, 0.5, 0.25), seed=3)
    seen = [row.encoded.input_ids[0] for step in range(5) for row in batches.batch(step, GENERATED)[:2]]
    assert sorted(seen) == list(range(10))
    again = AdversarialBatches(ROWS, counts(4, 0.5, 0.25), seed=3)
    assert again.batch(7, GENERATED) == batches.batch(7, GENERATED)
    assert again.batch(7, GENERATED) != batches.batch(8, GENERATED)


def test_few_generations_are_repeated_and_none_are_an_error() -> None:
    batches = AdversarialBatches(ROWS, counts(8, 0.5, 0.25), seed=0)
    assert len([row for row in batches.batch(0, GENERATED[:1]) if row.origin == "generated"]) == 2
    with pytest.raises(InvalidInput, match="no generations"):
        batches.batch(0, [])
