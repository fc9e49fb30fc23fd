"""A run's own process does all of its shards, one after the other."""

from collections.abc import Iterable, Iterator

from evaluation.workers import Found, Shard, Work


class ThisProcess:
    """The only worker there is where no others were asked for."""

    def over(self, shards: Iterable[Shard], work: Work[Shard, Found]) -> Iterator[Found | None]:
        """See Workers."""
        with work.begin() as do:
            for shard in shards:
                yield from do(shard)
