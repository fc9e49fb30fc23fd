"""How much each key has asked for lately.

A bucket of ``n`` a minute fills evenly and holds ``n``. Whoever asks may begin while anything is left in it; what a
request takes beyond that is missing afterwards. So a request larger than the bucket is served once, and the mean over
time is never above ``n`` a minute.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable

from service.security.keys import Key
from trainer.errors import QuotaExceeded


class Bucket:
    """One quota of one key. Not safe among threads by itself."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._rate = per_minute / 60
        self._capacity = float(per_minute)
        self._level = self._capacity
        self._at = now

    def wait_seconds(self, now: float) -> float:
        """How long until something is left; 0 where something is."""
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._level >= 1 else (1 - self._level) / self._rate

    def take(self, amount: int) -> None:
        """Take ``amount``, into debt if need be."""
        self._level -= amount


class Quotas:
    """Buckets of all keys, in this process: a second server beside it keeps its own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str], tuple[int, Bucket]] = {}

    def admit_request(self, key: Key) -> None:
        """Count one request. Raises QuotaExceeded with the seconds to wait."""
        self._admit(key, {"requests": 1})

    def admit_pairs(self, key: Key, pairs: int) -> None:
        """Count pairs that are about to be scored; how many tokens they have is known only afterwards.

        Raises QuotaExceeded with the seconds to wait; nothing is counted then.
        """
        self._admit(key, {"pairs": pairs, "tokens": 0})

    def give_pairs_back(self, key: Key, pairs: int) -> None:
        """Undo ``admit_pairs`` for pairs that were not scored."""
        with self._lock:
            for bucket in self._of(key, ["pairs"]).values():
                bucket.take(-pairs)

    def charge_tokens(self, key: Key, tokens: int) -> None:
        """Count the tokens of pairs that were scored."""
        with self._lock:
            for bucket in self._of(key, ["tokens"]).values():
                bucket.take(tokens)

    def _admit(self, key: Key, amounts: dict[str, int]) -> None:
        with self._lock:
            buckets = self._of(key, amounts)
            for name, bucket in buckets.items():
                wait = math.ceil(bucket.wait_seconds(self._clock()))
                if wait > 0:
                    raise QuotaExceeded(
                        f"key {key.prefix} has used its {getattr(key.quota, name)} {name} a minute; wait {wait} s",
                        retry_after_seconds=wait,
                    )
            for name, bucket in buckets.items():
                bucket.take(amounts[name])

    def _of(self, key: Key, names: Iterable[str]) -> dict[str, Bucket]:
        """The key's buckets among ``names``; those without a bound have none."""
        found = {}
        for name in names:
            limit: int | None = getattr(key.quota, name)
            if limit is None:
                continue
            known = self._buckets.get((key.id, name))
            if known is None or known[0] != limit:
                known = self._buckets[key.id, name] = (limit, Bucket(limit, self._clock()))
            found[name] = known[1]
        return found
