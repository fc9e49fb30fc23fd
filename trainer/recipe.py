"""A recipe: a typed, frozen description of a piece of work that knows how to run itself.

The same object is the HTTP request body, the YAML file, the stored job row and the manifest's entry.
"""

import copy
import hashlib
import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field

from trainer.artifacts import ArtifactStore, check_name
from trainer.errors import InvalidInput
from trainer.reporting import Reporter
from trainer.trackers import TrackerName

ArtifactName = Annotated[str, AfterValidator(check_name)]
DataPart = Literal["training", "held_out"]


class Model(BaseModel):
    """A frozen schema in which an unknown field is an error rather than a silent no-op."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


def by_kind(default: str) -> Discriminator:
    """Of several tagged models the one that ``kind`` names, and ``default`` where nothing does."""

    def kind(content: Any) -> str:  # noqa: ANN401 - pydantic passes whatever was sent
        return str(content.get("kind", default) if isinstance(content, dict) else getattr(content, "kind", default))

    return Discriminator(kind)


class ExecutorSettings(Model):
    """Settings of the executor that carries the run out; the local one has none."""


class Launch(Model):
    """Where and on how much a run executes: facts of the place, kept out of the recipe's digest."""

    processes: int = Field(1, ge=1, le=1024)
    gpus_per_process: int = Field(0, ge=0, le=16)
    executor: ExecutorSettings = ExecutorSettings()
    threads: int = Field(1, ge=1, le=256)
    """CPU threads for torch. One is the default: on busy or small machines more threads are slower."""
    trackers: tuple[TrackerName, ...] = ()
    """Where metrics go besides the run's events."""


@dataclass(frozen=True)
class Run:
    """What a recipe is given to work with: its identity, its directory, the artifact store, and an ear."""

    id: str
    directory: Path
    artifacts: ArtifactStore
    reporter: Reporter
    data_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """What became of the data's rows, for the manifest of whatever is made of them."""

    def count(self, part: DataPart, **counts: int) -> None:
        """Note how many rows of a part of the data met what; counted again, the last count holds."""
        self.data_counts.setdefault(part, {}).update(counts)


class Recipe(Model, ABC):
    """Base of every recipe. Subclasses add a literal ``kind`` and the fields of their work."""

    name: ArtifactName
    seed: int = Field(0, ge=0, lt=2**63)
    labels: dict[str, str] = {}
    """Free key-value notes for finding the job again; not part of the digest."""
    launch: Launch = Launch()

    @abstractmethod
    def run(self, run: Run) -> dict[str, Any]:
        """Do the work and return its JSON summary. Raises Stopped after saving where a stop was requested."""

    def digest(self) -> str:
        """sha256 over what determines the result, so equal digests mean the same work."""
        content = self.model_dump(mode="json", exclude={"launch", "labels"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_recipe(path: Path) -> dict[str, Any]:
    """What a YAML or JSON recipe file says, not validated yet. Raises InvalidInput."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, OverflowError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(f"{path}: not a readable YAML or JSON recipe ({reason})") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"{path}: a recipe is a mapping of settings")
    return content


def apply_overrides(content: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return ``content`` with ``dotted.key=value`` overrides applied; values are read as YAML.

    Raises InvalidInput for an override without ``=``, of no YAML value or through something that is not a mapping.
    """
    result = copy.deepcopy(content)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not re.fullmatch(r"[A-Za-z_][\w.-]*", key):
            raise InvalidInput(f"override {override!r}: write dotted.key=value")
        target = result
        *parents, last = key.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise InvalidInput(f"override {override!r}: {parent} is not a group of settings")
        try:
            target[last] = yaml.safe_load(text)
        except (ValueError, OverflowError, RecursionError, yaml.YAMLError) as error:
            raise InvalidInput(f"override {override!r}: {text} is not a YAML value; quote it") from error
    return result
