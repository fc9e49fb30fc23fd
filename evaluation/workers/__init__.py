"""Who does work that is cut into shards. One file per kind of worker; this is all a recipe knows of any of them.

What is found in a shard depends on the shard alone: not on who does it, on what else that worker does, nor on whether
it was begun before. So it does not matter where a run's shards are done, and another does those of a lost worker.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

Shard = TypeVar("Shard")
Found = TypeVar("Found")
_Shard_contra = TypeVar("_Shard_contra", contravariant=True)
_Found_co = TypeVar("_Found_co", covariant=True)

Worker = Callable[[Shard], Iterator[Found]]
"""Does one shard; gives what it finds as it finds it."""


class Work(Protocol[_Shard_contra, _Found_co]):
    """What a worker is given to begin with. It may have to travel, by pickle, to a machine with the same files."""

    def begin(self) -> AbstractContextManager[Callable[[_Shard_contra], Iterator[_Found_co]]]:
        """Open what the work needs; within, there is a worker."""


class Workers(Protocol):
    """Those who share the shards of a run."""

    def over(self, shards: Iterable[Shard], work: Work[Shard, Found]) -> Iterator[Found | None]:
        """What is found in ``shards``, each of which is done to its end, in any order.

        None comes every second or so while nothing is found: whoever listens may want to stop. What a lost worker had
        found in its shard comes again from the one that does it anew. Raises what a worker raises.
        """
