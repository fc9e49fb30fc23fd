"""What all training recipes share: rows, schedule, batches, checkpoints, and publishing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from trainer.artifacts import Artifact, ArtifactKind, Contents, Parent, Probe
from trainer.checkpoints import Checkpoints
from trainer.data.rows import Pair, Preference, digest_rows
from trainer.data.sources import AnySource
from trainer.loop import BatchSettings, CheckpointSettings, Learner, OptimizerSettings, Row, Schedule, optimise
from trainer.recipe import Recipe, Run


class TrainingRecipe(Recipe):
    """Base of recipes that train a network on rows and publish it."""

    data: AnySource
    optimizer: OptimizerSettings = OptimizerSettings()
    batch: BatchSettings = BatchSettings()
    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    checkpoint: CheckpointSettings = CheckpointSettings()

    def train(self, learner: Learner[Row], rows: Sequence[Row], lengths: Sequence[int], run: Run) -> int:
        """Run the loop with this recipe's settings; return the number of steps."""
        run.artifacts.check_writable()
        return optimise(
            learner,
            rows,
            lengths,
            optimizer=self.optimizer,
            batch=self.batch,
            duration=Schedule(epochs=self.epochs, max_steps=self.max_steps),
            checkpoint=self.checkpoint,
            seed=self.seed,
            run=run,
        )

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
    ) -> Artifact:
        """Publish as this job's artifact and report it."""
        contents = Contents(
            kind=kind,
            recipe=self.model_dump(mode="json"),
            recipe_digest=self.digest(),
            metrics=metrics,
            details=details,
            probes=probes,
            parents=parents,
            job=run.id,
            data_digest=digest_rows(rows),
        )
        artifact = run.artifacts.publish(name, contents, write)
        run.reporter.event("artifact", name=artifact.name, version=artifact.version, kind=kind)
        return artifact

    def finish(self, run: Run, artifacts: dict[str, Artifact], metrics: dict[str, float], steps: int) -> dict[str, Any]:
        """The run's summary, once all is published and checkpoints are no longer needed."""
        Checkpoints(run.directory).clear()
        return {
            "artifacts": {role: artifact.reference for role, artifact in artifacts.items()},
            "metrics": metrics,
            "steps": steps,
        }
