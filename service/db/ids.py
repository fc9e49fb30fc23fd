"""Identifiers that sort by the time they were made."""

import os
import time


def new_id(prefix: str) -> str:
    """``prefix_`` and a UUIDv7 in hexadecimal (RFC 9562).

    48 bits of milliseconds, 12 bits of the fraction of a millisecond, 62 random bits; version and variant between.
    """
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    value = (milliseconds << 80) | (0x7 << 76) | (fraction << 64) | (0b10 << 62) | random
    return f"{prefix}_{value:032x}"
