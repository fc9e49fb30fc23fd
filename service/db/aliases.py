"""Movable names: ``NAME@ALIAS`` is one version of ``NAME`` until somebody points it at another."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session, sessionmaker

from service.db.artifacts import record_artifact
from service.db.pages import DEFAULT_LIMIT, check_limit, decode_cursor, page_of
from service.db.records import Page
from service.db.session import writing
from service.db.tables import Alias
from trainer.artifacts import ArtifactStore
from trainer.errors import Conflict, InvalidInput, NotFound
from trainer.manifest import Artifact
from trainer.recipe import Model

_ALIASED = re.compile(r"([^@]+)@([A-Za-z][A-Za-z0-9._-]{0,63})")


class AliasRecord(Model):
    """Where an alias points."""

    name: str
    alias: str
    version: int
    updated_at: datetime

    @property
    def reference(self) -> str:
        """``NAME@VERSION``."""
        return f"{self.name}@{self.version}"


def split_alias(reference: str) -> tuple[str, str]:
    """Name and alias of ``NAME@ALIAS``. Raises InvalidInput for anything else."""
    match = _ALIASED.fullmatch(reference)
    if match is None:
        raise InvalidInput(
            f"{reference!r}: write NAME@ALIAS, the alias a letter and then letters, digits, '.', '_' or '-'"
        )
    return match[1], match[2]


def resolve(session: Session, reference: str) -> str | None:
    """``NAME@VERSION`` for ``NAME@ALIAS``, None for what is written otherwise. Raises NotFound for no such alias."""
    match = _ALIASED.fullmatch(reference)
    return _find(session, match[1], match[2]).reference if match else None


def resolver(make_session: sessionmaker[Session]) -> Callable[[str], str | None]:
    """``resolve`` in sessions of its own; what is written without an alias asks no database."""

    def resolve_now(reference: str) -> str | None:
        if _ALIASED.fullmatch(reference) is None:
            return None
        with make_session() as session:
            return resolve(session, reference)

    return resolve_now


def point(make_session: sessionmaker[Session], artifact: Artifact, alias: str) -> AliasRecord:
    """Let ``alias`` mean this version from now on. Raises InvalidInput for what cannot be an alias."""
    split_alias(f"{artifact.name}@{alias}")
    row = Alias(name=artifact.name, alias=alias, version=artifact.version, updated_at=datetime.now(UTC))
    with writing(make_session) as session:
        record_artifact(session, artifact)
        session.merge(row)
    return _record(row)


def forget(make_session: sessionmaker[Session], reference: str) -> None:
    """Remove ``NAME@ALIAS``; the version it means stays. Raises NotFound or InvalidInput."""
    name, alias = split_alias(reference)
    with writing(make_session) as session:
        _find(session, name, alias)
        session.delete(session.get_one(Alias, (name, alias)))


def delete_version(store: ArtifactStore, make_session: sessionmaker[Session], reference: str) -> None:
    """Delete a version for good. Raises Conflict while an alias means it, and as ``ArtifactStore.delete``."""
    with make_session() as session:
        for record in all_aliases(session, reference.partition("@")[0]):
            if record.reference == reference:
                raise Conflict(f"{record.name}@{record.alias} means {reference}; point it elsewhere or remove it first")
    store.delete(reference)


def all_aliases(session: Session, name: str | None = None) -> list[AliasRecord]:
    """Every alias, or those of one name, by name and alias."""
    query = select(Alias).order_by(Alias.name, Alias.alias)
    if name is not None:
        query = query.where(Alias.name == name)
    return [_record(row) for row in session.scalars(query)]


def alias_page(
    session: Session, name: str | None = None, *, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> Page[AliasRecord]:
    """A part of them, in the same order. Raises InvalidInput for a bad cursor or limit."""
    query = select(Alias).order_by(Alias.name, Alias.alias).limit(check_limit(limit) + 1)
    if name is not None:
        query = query.where(Alias.name == name)
    if cursor is not None:
        place = _ALIASED.fullmatch(decode_cursor(cursor, str))
        if place is None:
            raise InvalidInput("cursor: belongs to another list; start without it")
        query = query.where(tuple_(Alias.name, Alias.alias) > tuple_(place[1], place[2]))
    return page_of(session.scalars(query).all(), limit, lambda row: f"{row.name}@{row.alias}", _record)


def _find(session: Session, name: str, alias: str) -> AliasRecord:
    row = session.get(Alias, (name, alias))
    if row is None:
        known = ", ".join(f"{name}@{record.alias}" for record in all_aliases(session, name))
        raise NotFound(f"{name} has no alias {alias!r}; it has {known or 'none'}")
    return _record(row)


def _record(row: Alias) -> AliasRecord:
    return AliasRecord(name=row.name, alias=row.alias, version=row.version, updated_at=row.updated_at)
