"""What recipes that make artifacts share: publishing them as this job's, and the summary at the end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainer.artifacts import Contents
from trainer.data.rows import Pair, Preference, digest_rows
from trainer.manifest import Artifact, ArtifactKind, Parent, Probe
from trainer.processes import this_process
from trainer.recipe import Recipe, Run
from trainer.validation_scores import ValidationScores


class PublishingRecipe(Recipe):
    """Base of recipes that publish what they made."""

    def publish(
        self,
        run: Run,
        name: str,
        kind: ArtifactKind,
        write: Callable[[Path], None],
        *,
        rows: Sequence[Pair | Preference],
        metrics: dict[str, float],
        details: dict[str, Any],
        probes: list[Probe],
        parents: list[Parent],
        validation: ValidationScores | None = None,
        job: str | None = None,
    ) -> Artifact:
        """Publish as this job's artifact and report it. Of several processes the first writes, the others find it.

        A job publishes a name once, and gets what it published when asked again; ``job`` tells apart those that it
        publishes several times on its way. ``validation`` is what a scorer says of held-out responses.
        """
        contents = Contents(
            kind=kind,
            recipe=self.model_dump(mode="json"),
            recipe_digest=self.digest(),
            metrics=metrics,
            details=details,
            probes=probes,
            parents=parents,
            job=job or run.id,
            data_digest=digest_rows(rows),
            data_counts=run.data_counts,
        )

        also = [] if validation is None else [validation.save]
        with this_process().main_process_first():
            artifact = run.artifacts.publish(name, contents, write, *also)
        run.reporter.event("artifact", name=artifact.name, version=artifact.version, kind=kind)
        return artifact


def summary(artifacts: dict[str, Artifact], metrics: dict[str, float], steps: int) -> dict[str, Any]:
    """What a run says in the end that published ``artifacts``."""
    return {
        "artifacts": {role: artifact.reference for role, artifact in artifacts.items()},
        "metrics": metrics,
        "steps": steps,
    }
