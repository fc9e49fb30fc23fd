"""Artifacts over HTTP: import and list them, read a manifest, download, load, unload, delete a version.

Names contain slashes and are told apart from versions by `@`, so one path parameter holds both:
`/v1/artifacts/ganpo-demo/discriminator@1`.
"""

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response, status
from fastapi.responses import StreamingResponse

from service.access import needs
from service.archives import tar_of
from service.db.aliases import delete_version, resolve
from service.db.pages import DEFAULT_LIMIT, versions_page
from service.db.records import Page
from service.routes.lifecycle import Cursor, Limit
from service.scoring import ScoringService
from trainer.artifacts import ArtifactStore
from trainer.errors import StorageFailure
from trainer.manifest import Artifact, ArtifactKind, Manifest, Parent
from trainer.outside import ModelSource, RowsPath
from trainer.recipe import ArtifactName, Model

router = APIRouter(prefix="/v1", tags=["artifacts"], dependencies=[needs("read", changes="admin")])

Reference = Annotated[str, Path(description="`NAME@VERSION`, `NAME@ALIAS`, or `NAME` for its highest version")]


class ArtifactSummary(Model):
    """What a list shows of an artifact; its manifest tells the rest."""

    name: str
    version: int
    kind: ArtifactKind
    created_at: datetime
    job: str | None
    digest: str
    """sha256 of the manifest, which holds the sha256 of every file."""
    bytes: int
    """Size of its files on disk."""
    parents: list[Parent]
    metrics: dict[str, float]

    @classmethod
    def of(cls, artifact: Artifact) -> "ArtifactSummary":
        manifest = artifact.manifest
        return cls(
            name=artifact.name,
            version=artifact.version,
            kind=manifest.kind,
            created_at=manifest.created_at,
            job=manifest.job,
            digest=artifact.digest,
            bytes=artifact.size_bytes,
            parents=manifest.parents,
            metrics=manifest.metrics,
        )


class Residence(Model):
    """Whether a version is in memory."""

    name: str
    version: int
    loaded: bool


class ImportRequest(Model):
    """Body of POST /v1/artifacts."""

    source: ModelSource
    """An artifact's directory, a directory of Hugging Face files, or `OWNER/NAME[@COMMIT]` on the hub; what the
    operator lists."""
    name: ArtifactName
    """What to publish it as."""
    kind: Literal["policy", "reward_model"] | None = None
    """What Hugging Face files are."""
    architecture: Literal["encoder", "decoder"] | None = None
    """Of a reward model in Hugging Face files."""
    pooling: Literal["cls", "mean", "last_token"] | None = None
    validation: RowsPath | None = None
    """Responses it was not trained on, which are scored so that monitoring can compare what is served with them: rows
    of any layout of the training data."""


@router.post("/artifacts", status_code=status.HTTP_201_CREATED, summary="Import a model")
def post_artifact(body: ImportRequest, request: Request, response: Response) -> ArtifactSummary:
    """Publish a model that was trained elsewhere, after loading it and scoring with it: 409 for pickles, adapters and
    weights that lack a head, 422 for a classifier of several labels."""
    from service.places import Places  # these bring the statistics and torch
    from trainer.importing import import_model

    state = request.app.state
    if not state.owner:
        Places(state.settings, state.scoring.artifacts).check(body)
    artifact = import_model(
        state.scoring.artifacts,
        body.source,
        body.name,
        kind=body.kind,
        architecture=body.architecture,
        pooling=body.pooling,
        validation=body.validation,
    )
    response.headers["Location"] = f"{request.url.path}/{artifact.reference}"
    return ArtifactSummary.of(artifact)


@router.get("/artifacts", summary="List artifacts")
def get_artifacts(
    request: Request,
    kind: Annotated[ArtifactKind | None, Query()] = None,
    name: Annotated[str | None, Query(description="only versions of this name")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[ArtifactSummary]:
    """Published artifacts, by name and version."""
    store: ArtifactStore = request.app.state.scoring.artifacts
    found = (
        artifact
        for artifact in store.all()
        if (kind is None or artifact.manifest.kind == kind) and (name is None or artifact.name == name)
    )
    return versions_page(found, ArtifactSummary.of, cursor=cursor, limit=limit)


@router.get(
    "/artifacts/{reference:path}",
    summary="Read an artifact's manifest, or download it",
    response_model=Manifest,
    responses={200: {"content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}}},
)
def get_artifact(
    reference: Reference,
    request: Request,
    answer_format: Annotated[Literal["json", "tar"], Query(alias="format")] = "json",
) -> Manifest | StreamingResponse:
    """The artifact's own account of itself: recipe, parents, metrics, probe pairs and file digests. With `format=tar`
    its whole directory, which `assay artifacts import` reads once unpacked."""
    artifact = _open(request, reference)
    if answer_format == "json":
        return artifact.manifest
    name = f"{artifact.name.replace('/', '-')}-{artifact.version}.tar"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(tar_of(artifact.path), media_type="application/x-tar", headers=headers)


@router.post("/artifacts/{reference:path}/load", summary="Load a model now")
def load_artifact(
    reference: Reference,
    request: Request,
    pin: Annotated[bool, Query(description="keep it in memory until it is unloaded")] = True,
) -> Residence:
    """After checking its files and scoring its probe pairs again; 409 where these differ from what was published."""
    scoring: ScoringService = request.app.state.scoring
    artifact = _open(request, reference)
    scoring.opened().load(artifact.reference, pin=pin)
    return Residence(name=artifact.name, version=artifact.version, loaded=True)


@router.post("/artifacts/{reference:path}/unload", summary="Free a model's memory")
def unload_artifact(reference: Reference, request: Request) -> Residence:
    """What was asked of it already is answered first. 404 if it is not loaded."""
    scoring: ScoringService = request.app.state.scoring
    artifact = _open(request, reference)
    scoring.opened().unload(artifact.reference)
    return Residence(name=artifact.name, version=artifact.version, loaded=False)


@router.delete("/artifacts/{reference:path}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a version")
def delete_artifact(reference: Reference, request: Request) -> None:
    """Remove one version for good, also from memory. 409 while another artifact descends from it or an alias means
    it."""
    scoring: ScoringService = request.app.state.scoring
    delete_version(scoring.artifacts, request.app.state.sessions, reference)
    if (engine := scoring.opened_already()) is not None:
        with suppress(StorageFailure):  # the version is gone; what is in memory of it goes in the next round
            engine.drop_deleted()


def _open(request: Request, reference: str) -> Artifact:
    with request.app.state.sessions() as session:
        meant = resolve(session, reference) or reference
    store: ArtifactStore = request.app.state.scoring.artifacts
    return store.open(meant)
