"""Aliases over HTTP: names such as `helpfulness@champion` that scoring requests use and operators move."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, status
from pydantic import Field

from service.access import needs
from service.aliasing import point_alias
from service.db import aliases
from service.db.aliases import AliasRecord
from service.db.pages import DEFAULT_LIMIT
from service.db.records import Page
from service.routes.lifecycle import Cursor, Limit
from trainer.recipe import Model

router = APIRouter(prefix="/v1", tags=["artifacts"], dependencies=[needs("read", changes="admin")])

Aliased = Annotated[str, Path(description="`NAME@ALIAS`, such as `helpfulness@champion`")]


class Target(Model):
    """What an alias is to mean."""

    version: Annotated[int, Field(ge=1, lt=10**9)]


@router.get("/aliases", summary="List aliases")
def get_aliases(
    request: Request,
    name: Annotated[str | None, Query(description="only of this artifact")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[AliasRecord]:
    """Where each alias points, and since when, by name and alias."""
    with request.app.state.sessions() as session:
        return aliases.alias_page(session, name, cursor=cursor, limit=limit)


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
