"""The memory of a process, as Linux tells it."""

import re
from pathlib import Path
from typing import Literal


def process_memory(kind: Literal["VmRSS", "VmHWM"]) -> int:
    """Bytes that this process holds, or held at most.

    Its own: the peak that ``getrusage`` tells begins at that of the process which started it.
    """
    match = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert match is not None
    return 1024 * int(match.group(1))
