"""The index of published artifacts. The directory is the truth; a row makes it queryable and joins it to its job."""

from sqlalchemy.orm import Session

from service.db.tables import ArtifactRow, Job
from trainer.manifest import Artifact


def record_artifact(session: Session, artifact: Artifact) -> None:
    """Add an artifact to the index, or bring its row up to date."""
    manifest = artifact.manifest
    known = manifest.job is not None and session.get(Job, manifest.job) is not None
    session.merge(
        ArtifactRow(
            name=artifact.name,
            version=artifact.version,
            kind=manifest.kind,
            digest=artifact.digest,
            job=manifest.job if known else None,  # a job of another database stays in the manifest
            manifest=manifest.model_dump(mode="json"),
            created_at=manifest.created_at,
        )
    )
    session.flush()
