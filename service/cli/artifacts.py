"""``assay artifacts``: what is published, whether it is intact, and how to bring in or remove some."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.options import ArtifactDir, AsJson
from service.cli.printing import note, print_json, print_table, say
from service.settings import load_settings
from service.wording import ago, size
from trainer.artifacts import Artifact, ArtifactKind, ArtifactStore, check_name
from trainer.errors import BrokenArtifact, InvalidInput

Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The highest version unless said.")]


def make_family() -> typer.Typer:
    """The commands of this family."""
    family = typer.Typer(name="artifacts", help="Published policies, reward models and discriminators.")
    family.command("list")(list_artifacts)
    family.command()(show)
    family.command()(verify)
    family.command("import")(import_directory)
    family.command()(delete)
    return family


def list_artifacts(
    kind: Annotated[ArtifactKind | None, typer.Option(help="Only artifacts of this kind.")] = None,
    as_json: AsJson = False,
    artifact_dir: ArtifactDir = None,
) -> None:
    """List what is published."""
    store = _store(artifact_dir)
    found = [artifact for artifact in store.all() if kind is None or artifact.manifest.kind == kind]
    if as_json:
        print_json({"data": [artifact.manifest.model_dump(mode="json", exclude={"probes"}) for artifact in found]})
        return
    if not found:
        note(f"nothing is published in {store.root}; `assay train RECIPE.yaml` publishes")
        return
    print_table(
        ("artifact", "kind", "size", "made", "from"),
        [
            (
                artifact.reference,
                artifact.manifest.kind,
                size(artifact.size_bytes),
                ago(artifact.manifest.created_at),
                ", ".join(f"{parent.name}@{parent.version}" for parent in artifact.manifest.parents),
            )
            for artifact in found
        ],
        numbers=("size",),
    )


def show(reference: Reference, artifact_dir: ArtifactDir = None) -> None:
    """Print an artifact's manifest as JSON."""
    print_json(_store(artifact_dir).open(reference).manifest)


def verify(
    references: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME[@VERSION]]...", help="All unless said.")
    ] = None,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Check every file against its manifest's digests; exit 2 if one differs."""
    store = _store(artifact_dir)
    unreadable = [] if references else store.unreadable()
    broken = len(unreadable)
    for artifact in [store.open(reference) for reference in references] if references else store.all():
        problem = _problem(artifact)
        broken += problem is not None
        say(f"{problem or f'{artifact.reference} is as published'}")
    for error in unreadable:
        say(error.detail)
    if broken:
        raise BrokenArtifact(f"{broken} of these artifacts are not as published; publish or import them again")


def import_directory(
    directory: Annotated[Path, typer.Argument(help="An artifact's directory, or Hugging Face files in safetensors.")],
    name: Annotated[str, typer.Argument(help="What to publish it as.")],
    kind: Annotated[Literal["policy", "reward_model"] | None, typer.Option(help="What Hugging Face files are.")] = None,
    architecture: Annotated[Literal["encoder", "decoder"] | None, typer.Option(help="Of a reward model.")] = None,
    pooling: Annotated[Literal["cls", "mean", "last_token"] | None, typer.Option(help="Of a reward model.")] = None,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Publish a model that was trained elsewhere, after loading and scoring with it."""
    from transformers.utils import logging as transformers_logging

    from trainer import importing

    try:
        check_name(name)
    except ValueError as error:
        raise InvalidInput(f"artifact {name!r}: {error}") from error
    transformers_logging.disable_progress_bar()  # of loading weights
    artifact = importing.import_directory(
        _store(artifact_dir), directory, name, kind=kind, architecture=architecture, pooling=pooling
    )
    say(f"{artifact.reference}")


def delete(reference: Annotated[str, typer.Argument(metavar="NAME@VERSION")], artifact_dir: ArtifactDir = None) -> None:
    """Remove one version for good, unless others descend from it."""
    _store(artifact_dir).delete(reference)
    say(f"{reference} is deleted")


def _store(artifact_dir: Path | None) -> ArtifactStore:
    return ArtifactStore(load_settings(artifact_dir=artifact_dir).artifact_dir)


def _problem(artifact: Artifact) -> str | None:
    try:
        artifact.verify()
    except BrokenArtifact as error:
        return error.detail
    return None
