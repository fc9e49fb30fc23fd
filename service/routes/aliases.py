"""Aliases over HTTP: names such as `helpfulness@champion` that scoring requests use and operators move."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, status
from pydantic import Field

from service.access import needs
from service.aliasing import point_alias
from service.db import aliases
from service.db.aliases import AliasRecord
from trainer.recipe import Model

router = APIRouter(prefix="/v1", tags=["artifacts"], dependencies=[needs("read", changes="admin")])

Aliased = Annotated[str, Path(description="`NAME@ALIAS`, such as `helpfulness@champion`")]


class Aliases(Model):
    """All of them, by name and alias; this list has no further pages."""

    data: list[AliasRecord]
    next: None = None


class Target(Model):
    """What an alias is to mean."""

    version: Annotated[int, Field(ge=1, lt=10**9)]


@router.get("/aliases", summary="List aliases")
def get_aliases(
    request: Request, name: Annotated[str | None, Query(description="only of this artifact")] = None
) -> Aliases:
    """Where each alias points, and since when."""
    with request.app.state.sessions() as session:
        return Aliases(data=aliases.all_aliases(session, name))


@router.put("/aliases/{aliased:path}", summary="Point an alias at a version")
def put_alias(aliased: Aliased, body: Target, request: Request) -> AliasRecord:
    """The version is loaded and its probe pairs are scored again first; one that scores differently than when it was
    published is refused with 409, and the alias stays where it was. Requests under way end with the version that they
    began with, and none is dropped."""
    return point_alias(request.app.state, aliased, body.version)


@router.delete("/aliases/{aliased:path}", status_code=status.HTTP_204_NO_CONTENT, summary="Remove an alias")
def delete_alias(aliased: Aliased, request: Request) -> None:
    """The version that it means stays."""
    aliases.forget(request.app.state.sessions, aliased)
