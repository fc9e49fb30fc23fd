"""A job starts where whole GPUs, a place and memory are free; what no machine has is told from what is taken."""

import pytest

from service.slots import Gpu, Machine, Need, Taken, never, not_now, pick

GIB = 2**30
SMALL, LARGE = Gpu(name="0", memory_bytes=24 * GIB), Gpu(name="1", memory_bytes=80 * GIB)
MACHINE = Machine(places=2, gpus=(SMALL, LARGE), memory_bytes=64 * GIB)


def need(processes: int = 1, gpus: int = 0, gib: int | None = None) -> Need:
    return Need(processes, gpus, None if gib is None else gib * GIB)


def test_gpus_are_written_as_an_index_and_their_memory() -> None:
    assert Gpu.parse("0") == Gpu(name="0", memory_bytes=None)
    assert Gpu.parse("3:80GiB") == Gpu(name="3", memory_bytes=80 * GIB)
    assert Gpu.parse("MIG-7a:9.5GiB").memory_bytes == 10200547328
    with pytest.raises(ValueError, match="is no GPU"):
        Gpu.parse("0:lots")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (need(gpus=1), None),
        (need(2, gpus=1), None),
        (need(3, gpus=1), "needs 3 GPUs and there are 2"),
        (need(gpus=1, gib=79), None),
        (need(gpus=1, gib=81), "needs about 87.0 GB on each GPU and the largest has 85.9 GB"),
        (need(2, gpus=1, gib=30), "needs about 32.2 GB on each GPU and the largest has 85.9 GB"),
        (need(gib=64), None),
        (need(2, gib=33), "needs about 70.9 GB of memory and the machine has 68.7 GB"),
        (need(1000), None),
    ],
)
def test_what_a_machine_can_never_have(asked: Need, reason: str | None) -> None:
    assert never(asked, MACHINE) == reason


def test_the_smallest_gpu_that_suffices_is_given_and_none_twice() -> None:
    nobody = Taken.by([])
    assert pick(need(gpus=1, gib=10), MACHINE, nobody) == ("0",)
    assert pick(need(gpus=1, gib=30), MACHINE, nobody) == ("1",)
    assert pick(need(2, gpus=1), MACHINE, nobody) == ("0", "1")
    one = Taken.by([(need(gpus=1), ["0"])])
    assert pick(need(gpus=1), MACHINE, one) == ("1",)
    assert not_now(need(gpus=1), MACHINE, one) is None
    assert not_now(need(2, gpus=1), MACHINE, one) == "waits for 2 GPUs: 1 of 2 free"
    both = Taken.by([(need(2, gpus=1), ["0", "1"])])
    assert not_now(need(gpus=1), MACHINE, both) == "waits for a GPU: 0 of 2 free"


def test_jobs_on_gpus_take_no_place_and_others_no_gpu() -> None:
    busy = Taken.by([(need(2, gpus=1), ["0", "1"]), (need(gib=40), []), (need(), [])])
    assert (busy.places, sorted(busy.gpus), busy.memory_bytes) == (2, ["0", "1"], 40 * GIB)
    assert not_now(need(), MACHINE, busy) == "waits for a place: 2 of 2 taken"


def test_memory_that_is_promised_is_waited_for() -> None:
    busy = Taken.by([(need(gib=40), [])])
    assert not_now(need(gib=24), MACHINE, busy) is None
    assert not_now(need(2, gib=20), MACHINE, busy) == (
        "waits for memory: needs about 42.9 GB, and of 68.7 GB 25.8 GB is not promised to others"
    )
    assert not_now(need(), MACHINE, busy) is None  # nobody knows what it needs


def test_on_a_cluster_only_places_are_counted() -> None:
    cluster = Machine(places=1, gpus=None)
    assert never(need(64, gpus=8, gib=1000), cluster) is None
    busy = Taken.by([(need(gpus=1), [])], counted=False)
    assert not_now(need(gpus=1), cluster, busy) == "waits for a place: 1 of 1 taken"
    assert pick(need(gpus=1), cluster, Taken.by([])) == ()


def test_a_gpu_that_answers_requests_is_mentioned_where_it_is_missed() -> None:
    serving = Machine(places=1, gpus=(), withheld=1)
    assert never(need(gpus=1), serving) == "needs a GPU and there are 0, besides 1 that answers requests"
