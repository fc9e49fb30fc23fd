"""The pages of artifacts: what there is, the versions and aliases of a name, and all that a version says of itself."""

from collections import defaultdict
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from service.access import may, needs
from service.aliasing import point_alias
from service.dashboard.lineage import lineage
from service.dashboard.metrics import significant
from service.dashboard.parity import Parity, compared
from service.dashboard.posted import posted
from service.dashboard.rendering import answer, back_to, failed, render
from service.db import aliases
from service.db.queries import find_job
from service.metered import Scoring
from service.scoring import ScoringService
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError, InvalidInput, NotFound
from trainer.manifest import Artifact, Manifest
from trainer.models.quantised import is_quantised, original_of

router = APIRouter(include_in_schema=False, dependencies=[needs("read", changes="admin")])
scoring_router = APIRouter(include_in_schema=False, dependencies=[needs("score")])


@dataclass(frozen=True)
class Named:
    """A name in the list: its newest version and how many there are."""

    newest: Artifact
    versions: int
    aliases: list[aliases.AliasRecord]
    told: list[tuple[str, str]]
    """Its most telling metrics."""


@router.get("/artifacts")
def artifacts(request: Request, kind: str = "") -> Response:
    """Every name with its newest version."""

    def page(session: Session) -> Response:
        by_name: dict[str, list[Artifact]] = defaultdict(list)
        for artifact in _store(request).all():
            by_name[artifact.name].append(artifact)
        known: dict[str, list[aliases.AliasRecord]] = defaultdict(list)
        for record in aliases.all_aliases(session):
            known[record.name].append(record)
        kinds = sorted({versions[-1].manifest.kind for versions in by_name.values()})
        named = [
            Named(versions[-1], len(versions), known[name], _headline(versions[-1].manifest))
            for name, versions in by_name.items()
            if not kind or versions[-1].manifest.kind == kind
        ]
        named.sort(key=lambda each: each.newest.manifest.created_at, reverse=True)
        broken = [error.detail for error in _store(request).unreadable()]
        return render(request, "artifacts.html", here="artifacts", named=named, kinds=kinds, kind=kind, broken=broken)

    return answer(request, page)


@router.get("/artifacts/{reference:path}")
def artifact(request: Request, reference: str) -> Response:
    """A name with its versions, or, of ``NAME@VERSION`` and ``NAME@ALIAS``, that version."""

    def page(session: Session) -> Response:
        if "@" not in reference:
            return _name_page(request, session, reference)
        found = _store(request).open(aliases.resolve(session, reference) or reference)
        return _version_page(request, session, found)

    return answer(request, page)


@router.post("/artifacts/{name:path}/aliases")
async def point(request: Request, name: str) -> Response:
    """Point an alias at a version, as ``PUT /v1/aliases`` does: the version is loaded and checked first."""
    try:
        form = await posted(request)
        alias, version = (form.get(field, [""])[0].strip() for field in ("alias", "version"))
        await run_in_threadpool(_point, request, name, alias, version)
    except AssayError as error:
        return failed(request, error)
    return back_to(request, f"/artifacts/{name}")


@scoring_router.post("/artifacts/{reference:path}/parity")
async def parity(request: Request, reference: str, scoring: Scoring) -> Response:
    """The page of a version with its probe pairs scored again, beside the scores they were published with."""
    try:
        found = await run_in_threadpool(_store(request).open, reference)
        scored = await compared(found, scoring)
    except AssayError as error:
        return failed(request, error)

    def page() -> Response:
        return answer(request, lambda session: _version_page(request, session, found, scored))

    return await run_in_threadpool(page)


def _store(request: Request) -> ArtifactStore:
    service: ScoringService = request.app.state.scoring
    return service.artifacts


def _name_page(request: Request, session: Session, name: str) -> Response:
    versions = _store(request).versions(name)[::-1]
    if not versions:
        raise NotFound(f"no artifact {name}; it was never published here, or deleted")
    records = aliases.all_aliases(session, name)
    shown = [metric for metric in versions[0].manifest.metrics if metric.startswith("held_out")] or list(
        versions[0].manifest.metrics
    )
    return render(
        request,
        "artifact.html",
        here="artifacts",
        name=name,
        kind=versions[0].manifest.kind,
        versions=versions,
        aliases=records,
        metrics=shown[:4],
        significant=significant,
        may_admin=may(request, "admin"),
    )


def _version_page(request: Request, session: Session, found: Artifact, scored: "Parity | None" = None) -> Response:
    manifest = found.manifest
    records = [each for each in aliases.all_aliases(session, found.name) if each.version == found.version]
    versions = [each.version for each in _store(request).versions(found.name)]
    return render(
        request,
        "version.html",
        here="artifacts",
        artifact=found,
        manifest=manifest,
        aliases=[each.alias for each in records],
        versions=versions,
        job=manifest.job if manifest.job is not None and _is_job(session, manifest.job) else None,
        lineage=lineage(found, _store(request).all()),
        metrics=[(name, significant(value)) for name, value in manifest.metrics.items()],
        calibration=manifest.details.get("calibration"),
        details={name: value for name, value in manifest.details.items() if name != "calibration"},
        files=[(name, (found.path / name).stat().st_size, digest) for name, digest in manifest.files.items()],
        quantised_from=original_of(manifest) if is_quantised(manifest) else None,
        parity=scored,
        significant=significant,
        may_score=may(request, "score"),
    )


def _headline(manifest: Manifest) -> list[tuple[str, str]]:
    """What a list tells of a version: at most two numbers from held-out rows, of all of them rather than of some."""
    held_out = {name: value for name, value in manifest.metrics.items() if "accuracy" in name or "accuracies" in name}
    chosen = held_out or {name: value for name, value in manifest.metrics.items() if name.endswith("_in_sd")}
    chosen = chosen or manifest.metrics
    parts = min((name.count("/") for name in chosen), default=0)
    chosen = {name: value for name, value in chosen.items() if name.count("/") == parts}
    return [(name.removeprefix("held_out/"), significant(value)) for name, value in list(chosen.items())[:2]]


def _point(request: Request, name: str, alias: str, version: str) -> None:
    if not version.isdecimal() or len(version) > 9:
        raise InvalidInput(f"version {version!r}: a version is a positive number")
    point_alias(request.app.state, f"{name}@{alias}", int(version))


def _is_job(session: Session, job_id: str) -> bool:
    try:
        find_job(session, job_id)
    except NotFound:
        return False
    return True
