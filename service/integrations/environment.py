"""The server, the scorer and the key that the environment names, and one client of them per process.

``ASSAY_URL`` (http://127.0.0.1:8000 unless set), ``ASSAY_SCORER`` (NAME, NAME@VERSION or NAME@VERSION:OUTPUT),
``ASSAY_API_KEY`` where the server asks for one, ``ASSAY_ON_OVERLONG`` (error, or truncate_prompt).
"""

import atexit
import os
from dataclasses import dataclass
from typing import cast, get_args

from service.client import AssayClient
from service.client.awaiting import Item
from service.client.requests import KEY_VARIABLE, Patience
from service.score_schema import AnsweringScorer, NoScore, OnOverlong, Score
from trainer.errors import InvalidInput, error_of

DEFAULT_URL = "http://127.0.0.1:8000"

_PATIENCE = Patience(attempts=20, retry_seconds=900.0)
"""A training run outlives a server's restart."""


@dataclass(frozen=True)
class Place:
    """What the environment says."""

    url: str
    scorer: str
    api_key: str | None
    on_overlong: OnOverlong


def place() -> Place:
    """Raises InvalidInput naming the variable that is missing or of no use."""
    scorer = os.environ.get("ASSAY_SCORER", "")
    if not scorer:
        raise InvalidInput("set ASSAY_SCORER to the scorer that gives the rewards; `assay artifacts list` shows them")
    on_overlong = os.environ.get("ASSAY_ON_OVERLONG", "error")
    if on_overlong not in get_args(OnOverlong):
        raise InvalidInput(f"ASSAY_ON_OVERLONG is {on_overlong!r}; use {' or '.join(get_args(OnOverlong))}")
    url = os.environ.get("ASSAY_URL", DEFAULT_URL)
    return Place(url, scorer, os.environ.get(KEY_VARIABLE), cast(OnOverlong, on_overlong))


def ask(items: list[Item]) -> list[list[Score | NoScore]]:
    """``[item][response]``. Any thread of any process may ask.

    Raises what the server raises, InvalidInput for an environment of no use, and BrokenArtifact or the like where the
    scorer exists and cannot be loaded.
    """
    where = place()
    answer = _client(where).score_items([where.scorer], items, where.on_overlong, "trainer")
    by = answer.scorers[0]
    if not isinstance(by, AnsweringScorer):
        raise error_of(by.error.code, by.error.detail)
    return [[cells[where.scorer] for cells in item.scores] for item in answer.items]


_clients: dict[tuple[int, str, str | None], AssayClient] = {}
"""By process, as a forked one cannot use its parent's, and by what they were opened with. Without a lock, which could
be forked while it is held."""


def _client(where: Place) -> AssayClient:
    wanted = (os.getpid(), where.url, where.api_key)
    if (found := _clients.get(wanted)) is not None:
        return found
    opened = AssayClient(where.url, api_key=where.api_key, patience=_PATIENCE)
    kept = _clients.setdefault(wanted, opened)
    if kept is opened:
        atexit.register(opened.close)
    else:  # another thread was first
        opened.close()
    return kept
