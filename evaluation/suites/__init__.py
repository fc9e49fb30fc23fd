"""Benchmarks of reward models that others have published. Adding a suite is a file and a line here."""

from evaluation.suites.reward_bench import RewardBench
from evaluation.suites.reward_bench_2 import RewardBench2
from evaluation.suites.rm_bench import RMBench
from evaluation.suites.suite import Suite
from trainer.data.tables import Row

SUITES: dict[str, Suite] = {suite.name: suite for suite in (RewardBench(), RewardBench2(), RMBench())}


def recognise(row: Row) -> Suite:
    """The suite whose rows look like this one."""
    if "domain" in row.content:
        return SUITES["rm_bench"]
    return SUITES["reward_bench_2" if isinstance(row.content.get("chosen"), list) else "reward_bench"]
