"""The latest scores of a scorer against the first that were kept: the reference.

Manifests hold no distribution of scores on validation data, only accuracies, so the first window stands for what the
scorer was taken into service for. It is kept as numbers for as long as the scorer is monitored.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from evaluation.statistics.bootstrap import Ints
from evaluation.statistics.drift import Clustered, moved, share_moved
from service.db.served import sampled_numbers
from service.db.tables import MonitoredScorer
from service.monitoring.state import Drift

REFERENCE_ROWS = 1000
LATEST_ROWS = 1000
LEAST_ROWS = 100
"""Fewer of the latest say too little to be drawn."""

NOW = timedelta(days=1)
"""How far back the latest may reach."""


def reference_of(session: Session, scorer: str) -> dict[str, Any] | None:
    """The first window, settled already or complete by now; None until it is."""
    row = session.get(MonitoredScorer, scorer)
    if row is not None and row.reference is not None:
        return row.reference
    first = sampled_numbers(session, scorer, after=None, first=True, most=REFERENCE_ROWS)
    if len(first.score) < REFERENCE_ROWS:
        return None
    return {
        "from": first.time[0].isoformat(),
        "until": first.time[-1].isoformat(),
        "prompt": _numbered(first.prompt).tolist(),
        "score": first.score,
        "characters": first.characters,
        "cut": [tokens > 0 for tokens in first.truncated_tokens],
    }


def drift_of(session: Session, scorer: str, reference: dict[str, Any], now: datetime) -> Drift | None:
    """How far the latest are from ``reference``; None where there are too few of them."""
    after = max(now - NOW, datetime.fromisoformat(reference["until"]))
    latest = sampled_numbers(session, scorer, after=after, first=False, most=LATEST_ROWS)
    if len(latest.score) < LEAST_ROWS:
        return None
    prompts, before = _numbered(latest.prompt), np.array(reference["prompt"], dtype=np.int64)
    cut = np.array(latest.truncated_tokens) > 0
    return Drift(
        n_now=len(latest.score),
        n_reference=len(before),
        score=moved(_clustered(latest.score, prompts), _clustered(reference["score"], before)),
        length=moved(_clustered(latest.characters, prompts), _clustered(reference["characters"], before)),
        truncated=share_moved(_prompts_cut(cut, prompts), _prompts_cut(np.array(reference["cut"]), before)),
    )


def _numbered(prompts: list[str]) -> Ints:
    """Prompts by number, from 0 without a gap: what they were cannot be read from that."""
    return np.unique(prompts, return_inverse=True)[1].astype(np.int64)


def _clustered(values: Sequence[float], prompts: Ints) -> Clustered:
    return Clustered(np.array(values, dtype=np.float64), prompts)


def _prompts_cut(cut: NDArray[np.bool_], prompts: Ints) -> tuple[int, int]:
    """How many prompts were cut for any of their responses, and of how many: rows of a prompt are no evidence apart."""
    return len(np.unique(prompts[cut])), int(prompts.max()) + 1
