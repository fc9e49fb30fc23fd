"""The latest scores of a scorer against its reference."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from evaluation.statistics.bootstrap import Ints
from evaluation.statistics.drift import Clustered, moved, share, share_moved
from service.db.served import sampled_numbers
from service.monitoring.reference import Reference, numbered
from service.monitoring.state import Drift

LATEST_ROWS = 1000
LEAST_ROWS = 100
"""Fewer of the latest say too little to be drawn."""

NOW = timedelta(days=1)
"""How far back the latest may reach."""


def drift_of(session: Session, scorer: str, reference: Reference, now: datetime) -> Drift | None:
    """How far the latest are from ``reference``; None where there are too few of them."""
    after = max(now - NOW, reference.until or now - NOW)
    latest = sampled_numbers(session, scorer, after=after, first=False, most=LATEST_ROWS)
    if len(latest.score) < LEAST_ROWS:
        return None
    prompts, before = numbered(latest.prompt), numbered(reference.prompt)
    cut = _prompts_cut(np.array(latest.truncated_tokens) > 0, prompts)
    cut_before = _prompts_cut(np.array(reference.cut), before)
    return Drift(
        n_now=len(latest.score),
        n_prompts_now=int(prompts.max()) + 1,
        n_reference=len(before),
        score=moved(_clustered(latest.score, prompts), _clustered(reference.score, before)),
        length=moved(_clustered(latest.characters, prompts), _clustered(reference.characters, before)),
        truncated=share_moved(cut, cut_before),
        cut_now=share(cut),
        cut_reference=share(cut_before),
    )


def _clustered(values: Sequence[float], prompts: Ints) -> Clustered:
    return Clustered(np.array(values, dtype=np.float64), prompts)


def _prompts_cut(cut: NDArray[np.bool_], prompts: Ints) -> tuple[int, int]:
    """How many prompts were cut for any of their responses, and of how many: rows of a prompt are no evidence apart."""
    return len(np.unique(prompts[cut])), int(prompts.max()) + 1
