"""``assay artifacts``: what is published, whether it is intact, and how to bring in or remove some."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from service.cli.lines import read_lines
from service.cli.options import ArtifactDir, AsJson, DatabaseUrl, StorageUrl
from service.cli.printing import note, print_json, print_table, say
from service.score_schema import ScoreItem, plain_prompt
from service.settings import load_settings
from service.wording import ago, size
from trainer.artifacts import ArtifactStore, check_name
from trainer.errors import BrokenArtifact, InvalidInput
from trainer.manifest import Artifact, ArtifactKind, Manifest
from trainer.shared_artifacts import share

if TYPE_CHECKING:
    from trainer.data.rows import Pair

Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The highest version unless said.")]


def make_family() -> typer.Typer:
    """The commands of this family."""
    family = typer.Typer(name="artifacts", help="Published policies, reward models and discriminators.")
    family.command("list")(list_artifacts)
    family.command()(show)
    family.command()(verify)
    family.command("import")(import_model)
    family.command()(quantize)
    family.command()(delete)
    family.command()(alias)
    family.command("share")(share_artifacts)
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
        print_json({"data": [_without_probes(artifact) for artifact in found]})
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
    as_json: AsJson = False,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Check every file against its manifest's digests; exit 2 if one differs."""
    store = _store(artifact_dir)
    unreadable = [] if references else store.unreadable()
    found: list[tuple[str | None, str | None]] = []
    for artifact in [store.open(reference) for reference in references] if references else store.all():
        found.append((artifact.reference, problem := _problem(artifact)))
        if not as_json:  # each as it is read: large files take long
            say(problem or f"{artifact.reference} is as published")
    for error in unreadable:
        found.append((None, error.detail))
        if not as_json:
            say(error.detail)
    if as_json:
        print_json({"data": [{"artifact": reference, "problem": problem} for reference, problem in found]})
    if broken := sum(problem is not None for _, problem in found):
        raise BrokenArtifact(f"{broken} of these artifacts are not as published; publish or import them again")


def import_model(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DIRECTORY|OWNER/NAME",
            help="An artifact's directory, Hugging Face files in safetensors, or a model on the hub.",
        ),
    ],
    name: Annotated[str, typer.Argument(help="What to publish it as.")],
    kind: Annotated[Literal["policy", "reward_model"] | None, typer.Option(help="What Hugging Face files are.")] = None,
    architecture: Annotated[Literal["encoder", "decoder"] | None, typer.Option(help="Of a reward model.")] = None,
    pooling: Annotated[Literal["cls", "mean", "last_token"] | None, typer.Option(help="Of a reward model.")] = None,
    validation: Annotated[
        str | None,
        typer.Option(metavar="ROWS", help="Responses it was not trained on, to compare with what it scores later."),
    ] = None,
    as_json: AsJson = False,
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
    artifact = importing.import_model(
        _store(artifact_dir),
        source,
        name,
        kind=kind,
        architecture=architecture,
        pooling=pooling,
        validation=validation,
    )
    _tell(artifact, as_json)


def quantize(
    reference: Reference,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="PAIRS.jsonl",
            help="What to compare scores on, lines as `assay score` reads. [default: rows held out of training]",
        ),
    ] = None,
    as_name: Annotated[str | None, typer.Option("--as", help="What to publish it as. [default: NAME-int8]")] = None,
    max_error: Annotated[
        float, typer.Option(help="Publish nothing if scores move more on average, in their standard deviations.", min=0)
    ] = 0.1,
    as_json: AsJson = False,
    artifact_dir: ArtifactDir = None,
) -> None:
    """Publish a reward model with its encoder in 8 bits, faster on a CPU, and what that changes of its scores."""
    from transformers.utils import logging as transformers_logging

    from evaluation.quantising import Compared, quantise

    name = as_name or f"{reference.partition('@')[0]}-int8"
    try:
        check_name(name)
    except ValueError as error:
        raise InvalidInput(f"artifact {name!r}: {error}; choose another with --as") from error
    compared = None if pairs is None else Compared(_pairs(pairs), str(pairs))
    transformers_logging.disable_progress_bar()  # of loading weights
    artifact = quantise(_store(artifact_dir), reference, name, compared=compared, largest_mean_error=max_error)
    _tell(artifact, as_json)
    note(_told(artifact.manifest))


def delete(
    reference: Annotated[str, typer.Argument(metavar="NAME@VERSION")],
    artifact_dir: ArtifactDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Remove one version for good, unless others descend from it or an alias means it."""
    from service.database import open_database
    from service.db.aliases import delete_version
    from service.db.session import sessions

    settings = load_settings(artifact_dir=artifact_dir, database_url=database_url)
    with open_database(settings) as engine:
        delete_version(settings.open_artifacts(), sessions(engine), reference)
    say(f"{reference} is deleted")


def alias(
    aliased: Annotated[
        str | None, typer.Argument(metavar="[NAME@ALIAS]", help="Such as helpfulness@champion; lists all unless said.")
    ] = None,
    version: Annotated[int | None, typer.Argument(help="What it is to mean.", min=1)] = None,
    remove: Annotated[bool, typer.Option("--delete", help="Remove the alias; the version stays.")] = False,
    as_json: AsJson = False,
    artifact_dir: ArtifactDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """List aliases, point one at a version, or remove one."""
    from service.database import open_database
    from service.db import aliases
    from service.db.session import sessions

    if (aliased is None) != (version is None and not remove) or (remove and version is not None):
        raise InvalidInput("write `alias NAME@ALIAS VERSION`, `alias NAME@ALIAS --delete`, or `alias` to list all")
    settings = load_settings(artifact_dir=artifact_dir, database_url=database_url)
    with open_database(settings) as engine:
        make_session = sessions(engine)
        if aliased is not None and version is not None:
            name, label = aliases.split_alias(aliased)
            artifact = settings.open_artifacts().open(f"{name}@{version}")
            artifact.verify()
            found = [aliases.point(make_session, artifact, label)]
        elif aliased is not None:
            aliases.forget(make_session, aliased)
            found = []
        else:
            with make_session() as session:
                found = aliases.all_aliases(session)
    if as_json:
        print_json({"data": [record.model_dump(mode="json") for record in found]})
        return
    if remove:
        say(f"{aliased} is removed")
    for record in found:
        say(f"{record.name}@{record.alias} means {record.reference} since {ago(record.updated_at)}")


def share_artifacts(storage_url: StorageUrl = None, artifact_dir: ArtifactDir = None) -> None:
    """Send what is published in the directory to object storage; from then on the directory holds copies."""
    if storage_url is None:
        raise InvalidInput("write --storage-url URL, or set ASSAY_STORAGE_URL")
    root = load_settings(artifact_dir=artifact_dir).artifact_dir
    sent = share(root, storage_url)
    for reference in sent:
        say(reference)
    note(f"{len(sent)} sent to {storage_url}; servers and commands find them with ASSAY_STORAGE_URL={storage_url}")


def _store(artifact_dir: Path | None) -> ArtifactStore:
    return load_settings(artifact_dir=artifact_dir).open_artifacts()


def _pairs(path: Path) -> "list[Pair]":
    from trainer.data.rows import Pair

    return [Pair(plain_prompt(item.prompt), text) for item in read_lines(path, ScoreItem) for text in item.texts()]


def _tell(artifact: Artifact, as_json: bool) -> None:
    if as_json:
        print_json(_without_probes(artifact))
    else:
        say(artifact.reference)


def _without_probes(artifact: Artifact) -> dict[str, Any]:
    return artifact.manifest.model_dump(mode="json", exclude={"probes"})


def _told(manifest: Manifest) -> str:
    """What quantising changed, in a line."""
    found = {name.removeprefix("quantisation/"): value for name, value in manifest.metrics.items()}
    told = [f"on {found['pairs']:.0f} pairs ({manifest.recipe['pairs']}) scores differ by {found['error/mean']:.2g}"]
    if "error/mean_in_sd" in found:
        told[0] += f" on average, {found['error/mean_in_sd']:.2g} of their standard deviations"
    told[0] += f", and {found['error/max']:.2g} at most"
    if "spearman" in found:
        told.append(f"Spearman {found['spearman']:.4f}")
    if "flips/upper" in found:
        told.append(
            f"{found['flips']:.2%} of {found['compared_orders']:.0f} orders within prompts turn"
            f" ({found['flips/lower']:.2%} to {found['flips/upper']:.2%})"
        )
    return "; ".join(told)


def _problem(artifact: Artifact) -> str | None:
    try:
        artifact.verify()
    except BrokenArtifact as error:
        return error.detail
    return None
