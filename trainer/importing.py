"""Publish a model that was trained elsewhere, after loading it the way it will be served."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from trainer.artifacts import ArtifactStore, Contents, check_weight_files, names_directory
from trainer.data.rows import Pair
from trainer.data.schemas import read_sides
from trainer.data.tables import Table
from trainer.errors import AssayError, BrokenArtifact, InvalidInput
from trainer.hub import fetch_model, names_hub_model, pin_model
from trainer.manifest import MANIFEST_FILE, Artifact, ArtifactKind, Probe, read_artifact
from trainer.models.loading import load_pair_model, make_probes
from trainer.models.pair_model import PairModel
from trainer.models.policy import Policy
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.reward_model import RewardModel
from trainer.models.reward_network import Architecture, Pooling
from trainer.models.validation import HeldOut, validate

_PROBE = Pair("Name the capital of France.", "The capital of France is Paris.")


def import_model(
    store: ArtifactStore,
    source: str,
    name: str,
    *,
    kind: ArtifactKind | None = None,
    architecture: Architecture | None = None,
    pooling: Pooling | None = None,
    validation: str | None = None,
) -> Artifact:
    """Publish an artifact's directory, or Hugging Face files whose ``kind`` (and ``architecture``) must be said: a
    directory, or ``owner/name[@COMMIT]`` on the hub where no such directory is here. Responses of the table
    ``validation``, of any layout, are scored for it to carry; without one an artifact keeps those that it has.

    Raises InvalidInput where that is missing or a row cannot be used, BrokenArtifact for pickles and adapters, for
    files that were changed, for weights that lack a head and for probes that score differently here, NotFound for what
    the hub does not give.
    """
    held_out = [] if validation is None else _held_out(validation)
    directory = Path(source).expanduser()
    if directory.is_dir():
        source = str(directory.resolve())
    else:
        if names_directory(source) or not names_hub_model(source):
            raise InvalidInput(f"no such directory: {source}; a model on the hub is written OWNER/NAME")
        source = pin_model(source, None)
        directory = fetch_model(source, None)
    if (directory / MANIFEST_FILE).is_file():
        return _import_artifact(store, read_artifact(directory), name, held_out)
    check_weight_files(directory)
    if kind == "policy":
        with _read(source):
            policy = Policy.load(directory)
            _check_tokenizer(policy.model, policy.tokenizer)
            details = policy.details()
            scorer = PolicyScorer(policy)
            contents = _contents(kind, source, details, scorer)
        return _publish(store, name, contents, policy.save, scorer, held_out)
    if kind == "reward_model" and architecture is not None:
        with _read(source):
            model = _load_reward_model(directory, architecture, pooling)
            contents = _contents(kind, source, {**model.details(), "calibration": None}, model)
            if pooling is None:
                _check_own_score(directory, model, contents.probes)
        return _publish(store, name, contents, model.save, model, held_out)
    raise InvalidInput(
        f"{source} has no {MANIFEST_FILE} to say what it is: "
        "add --kind policy, or --kind reward_model --architecture encoder|decoder"
    )


@contextmanager
def _read(source: str) -> Iterator[None]:
    """Whatever libraries raise at files that are no model, or one that wants what is not here, as BrokenArtifact."""
    try:
        yield
    except AssayError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise BrokenArtifact(
            f"{source} cannot be read as a model of transformers: {type(error).__name__}: {said}"
        ) from error


def _check_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises BrokenArtifact for the few tokens that transformers makes up where a tokenizer's files are missing."""
    known, read = len(tokenizer), int(model.config.get_text_config().vocab_size)
    if known < read / 2:
        raise BrokenArtifact(f"its tokenizer knows {known} tokens of the {read} that the model reads; add its files")


@torch.inference_mode()
def _check_own_score(directory: Path, model: RewardModel, probes: Sequence[Probe]) -> None:
    """Raises InvalidInput where the model called as transformers has it scores a probe pair otherwise than here."""
    config = model.model.config
    before, own = (
        config.to_dict(),
        AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False),
    )
    config.pad_token_id = None  # of a single pair the last token is the last, though it be the one to pad with
    if hasattr(own, "classifier_pooling"):
        config.classifier_pooling = own.classifier_pooling
    for probe in probes:
        inputs = model.collate([model.encode(probe.prompt, probe.response)])
        theirs, ours = float(model.model(**inputs).logits[0, 0]), probe.scores["score"]
        if abs(theirs - ours) > 1e-3 * (1 + abs(theirs)):
            raise InvalidInput(
                f"the model's own head scores a probe pair {theirs:.4g}, and {ours:.4g} as {model.architecture} with"
                f" pooling {model.pooling}: give the architecture and the pooling that it was trained with"
            )
    config.update({name: before[name] for name in ("pad_token_id", "classifier_pooling") if name in before})


def _import_artifact(store: ArtifactStore, artifact: Artifact, name: str, held_out: Sequence[HeldOut]) -> Artifact:
    """Publish under ``name`` with everything its manifest says; its parents must be published here already."""
    with _read(str(artifact.directory)):
        model = load_pair_model(artifact, store, torch.device("cpu"))
    manifest = artifact.manifest
    contents = Contents(
        kind=manifest.kind,
        recipe=manifest.recipe,
        recipe_digest=manifest.recipe_digest,
        metrics=manifest.metrics,
        details=manifest.details,
        probes=manifest.probes,
        parents=manifest.parents,
        data_digest=manifest.data_digest,
        data_counts=manifest.data_counts,
    )
    return _publish(store, name, contents, artifact.copy_files, model, held_out)


def _held_out(path: str) -> list[HeldOut]:
    """Its responses, those of a row together. Raises InvalidInput naming a bad row, or where there is none."""
    found: list[HeldOut] = []
    for row in Table(path).rows(None):
        if isinstance(row, InvalidInput):
            raise row
        sides = read_sides(row)
        found += [HeldOut(pair, sides[0].prompt) for pair in sides]
    if not found:
        raise InvalidInput(f"{path} has no rows")
    return found


def _publish(
    store: ArtifactStore,
    name: str,
    contents: Contents,
    write: Callable[[Path], None],
    model: PairModel,
    held_out: Sequence[HeldOut],
) -> Artifact:
    """Raises InvalidInput where held-out responses are given and cannot be compared with."""
    validation = validate(model, held_out, seed=0) if held_out else None
    if held_out and validation is None:
        raise InvalidInput("validation: responses to two prompts or more are needed that the model's window holds")
    return store.publish(name, contents, write, *([] if validation is None else [validation.save]))


def _load_reward_model(directory: Path, architecture: Architecture, pooling: Pooling | None) -> RewardModel:
    described = {
        "architecture": architecture,
        "pooling": pooling or ("cls" if architecture == "encoder" else "last_token"),
        "match_features": False,
        "max_tokens": None,
    }
    model = RewardModel.load(directory, described)
    _check_tokenizer(model.model, model.tokenizer)
    if (labels := model.model.config.num_labels) != 1:
        raise InvalidInput(f"{directory} classifies into {labels} labels; a reward model has one score")
    return model


def _contents(kind: ArtifactKind, source: str, details: dict[str, Any], model: PairModel) -> Contents:
    return Contents(
        kind=kind,
        recipe={"kind": "import", "source": source},
        recipe_digest="",
        metrics={},
        details=details,
        probes=make_probes(model, [_PROBE]),
        parents=[],
    )
