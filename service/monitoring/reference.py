"""What the latest scores of a scorer are compared with: its own validation data, else the first scores kept.

Validation data come with the artifact. Where there are none, the first window of the sample stands for what the scorer
was taken into service for. Either is stored as numbers for as long as the scorer is monitored; a first window gives way
to validation data.
"""

import logging
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import Field
from sqlalchemy.orm import Session

from evaluation.statistics.bootstrap import Ints
from service.db.served import sampled_numbers
from service.db.tables import MonitoredScorer
from service.wording import count
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError, NotFound
from trainer.recipe import Model
from trainer.validation_scores import read_validation_scores

REFERENCE_ROWS = 1000
NOT_YET = f"the first {REFERENCE_ROWS:,} scores kept"
"""In words, while there are fewer."""


class Reference(Model):
    """Columns of equal length, a row for each response."""

    prompt: list[int]
    score: list[float]
    characters: list[int]
    cut: list[bool]
    begins: datetime | None = Field(None, alias="from")
    until: datetime | None = None
    """When the first window ended; None of validation data."""

    @property
    def is_validation(self) -> bool:
        return self.until is None

    @property
    def words(self) -> str:
        """What it is."""
        if self.begins is None or self.until is None:
            return f"validation data, {count(len(self.score), 'response')} to {count(len(set(self.prompt)), 'prompt')}"
        return f"{NOT_YET}, {self.begins:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC"

    def stored(self) -> dict[str, Any]:
        """As the database has it."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def reference_of(session: Session, artifacts: ArtifactStore, scorer: str) -> Reference | None:
    """Settled already or there by now; None until there is one."""
    row = session.get(MonitoredScorer, scorer)
    settled = None if row is None or row.reference is None else Reference.model_validate(row.reference)
    if settled is not None and settled.is_validation:
        return settled
    return _validation_data(artifacts, scorer) or settled or _first_window(session, scorer)


def numbered(prompts: list[str] | list[int]) -> Ints:
    """Prompts by number, from 0 without a gap: what they were cannot be read from that."""
    return np.unique(prompts, return_inverse=True)[1].astype(np.int64)


def _validation_data(artifacts: ArtifactStore, scorer: str) -> Reference | None:
    name, _, output = scorer.partition(":")
    try:
        found = read_validation_scores(artifacts.open(name))
    except NotFound:  # deleted since it was served
        return None
    except AssayError as error:
        logging.getLogger(__name__).warning("monitoring: no validation data of %s: %s", scorer, error)
        return None
    if found is None or output not in found.scores:
        return None
    return Reference(prompt=found.prompt, score=found.scores[output], characters=found.characters, cut=found.cut)


def _first_window(session: Session, scorer: str) -> Reference | None:
    first = sampled_numbers(session, scorer, after=None, first=True, most=REFERENCE_ROWS)
    if len(first.score) < REFERENCE_ROWS:
        return None
    columns = {"prompt": numbered(first.prompt).tolist(), "score": first.score, "characters": first.characters}
    cut = [tokens > 0 for tokens in first.truncated_tokens]
    return Reference.model_validate({**columns, "cut": cut, "from": first.time[0], "until": first.time[-1]})
