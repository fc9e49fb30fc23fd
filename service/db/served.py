"""The sample of served scores: stored in bulk, read as columns, forgotten in time."""

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from heapq import nsmallest
from itertools import chain, groupby, islice
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.db.bulk import Row, insert_rows
from service.db.columns import storable
from service.db.tables import ServedScore, Table

MOST_OF_A_PROMPT = 8
"""Responses that one prompt has in a sample for an audit: trainers ask for hundreds of one."""

_DELETED_AT_ONCE = 5000
_AT_ONCE = 500


def store_served(session: Session, rows: Sequence[Row], *, now: datetime, per_hour: int) -> int:
    """Insert as many of ``rows``, from the first, as this hour of the clock has room for; return how many."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    counted = select(func.count()).select_from(ServedScore).where(ServedScore.time >= hour)
    room = max(0, per_hour - session.scalars(counted).one())
    return insert_rows(session, Table.metadata.tables[ServedScore.__tablename__], rows[:room])


def forget_served(session: Session, before: datetime) -> int:
    """Delete some of what is older than ``before``; return how many rows, 0 where none are left."""
    old = select(ServedScore.id).where(ServedScore.time < before).order_by(ServedScore.time).limit(_DELETED_AT_ONCE)
    ids = session.scalars(old).all()
    session.execute(delete(ServedScore).where(ServedScore.id.in_(ids)))
    return len(ids)


def sampled_scorers(session: Session, since: datetime) -> list[tuple[str, int]]:
    """Scorers with rows from ``since`` on, and how many each has."""
    counted = select(ServedScore.scorer, func.count()).where(ServedScore.time >= since)
    rows = session.execute(counted.group_by(ServedScore.scorer).order_by(ServedScore.scorer))
    return [(scorer, count) for scorer, count in rows]


@dataclass(frozen=True)
class Numbers:
    """Rows of the sample as columns."""

    time: list[datetime]
    prompt: list[str]
    """Of rows of which nothing was kept, each is a prompt of its own."""
    score: list[float]
    characters: list[int]
    truncated_tokens: list[int]


def sampled_numbers(session: Session, scorer: str, *, after: datetime | None, first: bool, most: int) -> Numbers:
    """The ``first`` rows or else the latest, of those later than ``after``; at most ``most``."""
    prompt = func.coalesce(ServedScore.prompt_digest, ServedScore.id)
    place = (ServedScore.time, ServedScore.id)
    numbers = (ServedScore.score, ServedScore.response_characters, ServedScore.truncated_tokens)
    query = select(ServedScore.time, prompt, *numbers).where(ServedScore.scorer == scorer)
    if after is not None:
        query = query.where(ServedScore.time > after)
    order = place if first else tuple(column.desc() for column in place)
    found = Numbers([], [], [], [], [])
    for time, of, score, characters, cut in session.execute(query.order_by(*order).limit(most)):
        found.time.append(time)
        found.prompt.append(of)
        found.score.append(score)
        found.characters.append(characters)
        found.truncated_tokens.append(cut)
    return found


def sampled_pairs(
    session: Session, scorer: str, *, since: datetime, before: datetime, most: int
) -> Iterator[dict[str, Any]]:
    """Pairs whose texts were kept, each once, as ``prompt_id, prompt, response``: at most so many of prompts drawn at
    random from the whole time, of each at most ``MOST_OF_A_PROMPT`` responses.

    The draw is the same on every server and another in every period.
    """
    within = (ServedScore.scorer == scorer, ServedScore.time >= since, ServedScore.time < before)
    firsts = (
        select(ServedScore.prompt_digest, ServedScore.response_digest, func.min(ServedScore.id))
        .where(*within, ServedScore.response.is_not(None))
        .group_by(ServedScore.prompt_digest, ServedScore.response_digest)
        .order_by(ServedScore.prompt_digest, ServedScore.response_digest)
    )
    rows = session.execute(firsts.execution_options(yield_per=_AT_ONCE))
    lot = partial(_lot, f"{scorer} {since.isoformat()}")
    prompts = (
        (lot(prompt), nsmallest(MOST_OF_A_PROMPT, its, key=lambda row: lot(row[1])))
        for prompt, its in groupby(rows, key=lambda row: row[0])
    )
    drawn = chain.from_iterable(some for _, some in nsmallest(most, prompts, key=lambda prompt: prompt[0]))
    chosen = [first for _, _, first in islice(drawn, most)]
    for start in range(0, len(chosen), _AT_ONCE):
        query = select(ServedScore.prompt_digest, ServedScore.prompt, ServedScore.response).where(
            ServedScore.id.in_(chosen[start : start + _AT_ONCE])
        )
        for prompt_id, prompt, response in session.execute(query):
            yield {"prompt_id": prompt_id, "prompt": prompt, "response": response}


def has_pairs(
    session: Session, scorer: str, *, since: datetime, before: datetime, period: timedelta, least: int
) -> bool:
    """Whether so many different pairs of one ``period``, counted from 1970, have their texts here."""
    within = (ServedScore.scorer == scorer, ServedScore.time >= since, ServedScore.time < before)
    columns = (ServedScore.time, ServedScore.prompt_digest, ServedScore.response_digest)
    query = select(*columns).where(*within, ServedScore.response.is_not(None)).order_by(ServedScore.time)
    with session.execute(query.execution_options(yield_per=_AT_ONCE)) as rows:
        for _, of_one in groupby(rows, key=lambda row: row[0].timestamp() // period.total_seconds()):
            pairs: set[tuple[str | None, str | None]] = set()
            for _, prompt, response in of_one:
                pairs.add((prompt, response))
                if len(pairs) >= least:
                    return True
    return False


def matching_scores(
    session: Session, digest: str | None, containing: str | None, before: datetime | None
) -> Iterator[str]:
    """Ids of rows of a prompt, or with a text in them, or older than that: what is given must hold."""
    columns = (ServedScore.id, ServedScore.prompt, ServedScore.response)
    query = select(*(columns if containing is not None else columns[:1]))
    if digest is not None:
        query = query.where(ServedScore.prompt_digest == digest)
    if before is not None:
        query = query.where(ServedScore.time < before)
    if containing is None:
        yield from session.scalars(query.execution_options(yield_per=_DELETED_AT_ONCE))
        return
    # JSON escapes what is not ASCII, and databases fold cases differently
    rows = session.execute(query.where(ServedScore.response.is_not(None)).execution_options(yield_per=_AT_ONCE))
    yield from (row for row, prompt, response in rows if holds_text(containing, prompt, response))


def holds_text(text: str, prompt: Any, response: str) -> bool:  # noqa: ANN401 - a text or a list of messages
    """Whether ``text`` is in either as they are stored, in capitals or not, and however its accents are encoded."""
    messages = [prompt] if isinstance(prompt, str) else [turn["content"] for turn in prompt or []]
    return any(_folded(text) in _folded(each) for each in [*messages, response])


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", storable(text)).casefold()


def _lot(of: str, digest: str | None) -> bytes:
    """A number as good as random for each digest, and others in another draw."""
    return hashlib.blake2b(f"{of} {digest}".encode(), digest_size=8).digest()
