"""What makes a study: its runs, what they measure, what is asked, and how the answers are shown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from evaluation.reproduction.claims import Claim
from evaluation.reproduction.findings import Study
from evaluation.reproduction.measurements import Measurements
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.tables import Table


@dataclass(frozen=True)
class Plan:
    """One study. A size is a frozen dataclass with ``seeds`` among its fields."""

    module: str
    """By which it is started: ``python -m MODULE``."""
    title: str
    sizes: Mapping[str, Any]
    steps_of_seed: Callable[[int, Any], Iterator[Step]]
    """All runs of one replication, each after what it needs."""
    read: Callable[[Path, Sequence[int]], Measurements]
    """Everything that the runs below a directory have measured, in these seeds."""
    paper: Sequence[Claim]
    ours: Sequence[Claim]
    tables: Callable[[Study], list[Table]]
    figures: Mapping[str, Callable[[Study], go.Figure]]
    """By the name of their PNG file."""
    summary: Callable[[Study], str]
    """How much was run, in a sentence."""
