"""What memory a piece of work really took."""

from collections.abc import Callable

import pytest
from torch.profiler import ProfilerActivity, profile


@pytest.fixture
def peak_bytes() -> Callable[[Callable[[], None]], int]:
    """``peak_bytes(work)``: the most memory that was handed out during ``work`` and not yet given back."""

    def measure(work: Callable[[], None]) -> int:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            work()
        events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
        held = peak = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            held += event.nbytes()
            peak = max(peak, held)
        return peak

    return measure
