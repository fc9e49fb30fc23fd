"""GET /v1/scorers: what can score, and what its scores mean."""

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session, sessionmaker

from service.access import needs
from service.db.aliases import all_aliases
from service.db.pages import DEFAULT_LIMIT, versions_page
from service.db.records import Page
from service.routes.lifecycle import Cursor, Limit
from service.scoring import ScoringService
from trainer.manifest import ArtifactKind, Contrast, Parent
from trainer.recipe import Model

if TYPE_CHECKING:
    from evaluation.engine.pairs import ScorerInfo

router = APIRouter(prefix="/v1", tags=["scoring"], dependencies=[needs("read", "score")])


class Scorer(Model):
    """One artifact as a scorer."""

    name: str
    version: int
    alias: str | None
    """The first of `aliases`."""
    aliases: list[str]
    """What it may be asked for by, as `NAME@ALIAS`; `PUT /v1/aliases/NAME@ALIAS` moves one."""
    kind: ArtifactKind
    outputs: list[str]
    """Names of the scores it gives, asked for as `NAME@VERSION:OUTPUT`; the first is meant where none is named."""
    orientation: str
    template_hash: str
    max_tokens: int
    """Longest prompt plus response it reads, in its own tokens."""
    calibration: dict[str, float] | None
    pointwise: bool
    """Whether each score is the logit of a probability."""
    contrasts: list[Contrast]
    """What two scores may be of for their difference to mean something: two `prompts`, two `responses`, or either."""
    prefer: str | None
    """The artifact to score with in place of this one; the manifests of both say why."""
    parents: list[Parent]
    loaded: bool
    """Whether it is in memory; the others are loaded when first asked."""


@router.get("/scorers", summary="List what can score")
async def get_scorers(
    request: Request,
    kind: Annotated[ArtifactKind | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[Scorer]:
    """Every artifact that can be named in `scorers`, by name and version."""
    service: ScoringService = request.app.state.scoring
    found = (info for info in await service.scorers() if kind is None or info.kind == kind)
    aliases = await run_in_threadpool(_aliases, request.app.state.sessions)
    return versions_page(
        found, lambda info: _scorer(info, aliases[info.name, info.version]), cursor=cursor, limit=limit
    )


def _scorer(info: "ScorerInfo", aliases: list[str]) -> Scorer:
    return Scorer(
        name=info.name,
        version=info.version,
        alias=next(iter(aliases), None),
        aliases=aliases,
        kind=info.kind,
        outputs=list(info.outputs),
        orientation=info.orientation,
        template_hash=info.template_hash,
        max_tokens=info.max_tokens,
        calibration=info.calibration,
        pointwise=info.pointwise,
        contrasts=list(info.contrasts),
        prefer=info.prefer,
        parents=list(info.parents),
        loaded=info.loaded,
    )


def _aliases(make_session: sessionmaker[Session]) -> dict[tuple[str, int], list[str]]:
    found = defaultdict[tuple[str, int], list[str]](list)
    with make_session() as session:
        for record in all_aliases(session):
            found[record.name, record.version].append(record.alias)
    return found
