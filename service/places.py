"""Which files, models and servers a recipe sent over HTTP may name: those the operator lists, and what is registered.

The command line, where the recipe is the operator's own, is not asked.
"""

import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel

from evaluation.engine.catalogue import controls_of, outputs_of
from evaluation.engine.names import ScorerName
from evaluation.judged_columns import is_registered
from service.settings import Settings
from trainer.artifacts import ArtifactStore, names_directory
from trainer.errors import AssayError, Forbidden, InvalidInput
from trainer.manifest import Artifact
from trainer.outside import Place, outside

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(@[0-9a-f]+)?")
_FILES = (".jsonl", ".gz", ".parquet", ".json")
"""What the readers of rows take for a file, whatever else it looks like."""

_WORD = re.compile(r"[^/\\~]*")


class Places:
    """What recipes may name. ``expected`` are names that jobs under way will publish something under."""

    def __init__(self, settings: Settings, artifacts: ArtifactStore, expected: Collection[str] = ()) -> None:
        self._roots = [root.expanduser().resolve() for root in (*settings.allowed_roots, settings.uploads_dir)]
        self._hub_ids = settings.allowed_hub_ids
        self._urls = settings.allowed_urls
        self._artifacts = artifacts
        self._expected = frozenset(expected)

    def check(self, recipe: BaseModel) -> None:
        """Of a recipe, or of another body with such fields. Raises Forbidden, or InvalidInput for a name nothing is
        registered under, with a pointer to the field."""
        for pointer, place, text in outside(recipe):
            try:
                self._check(place, text)
            except AssayError as error:
                raise type(error)(f"at {pointer}: {error.detail}", pointer=pointer) from error

    def _check(self, place: Place, text: str) -> None:
        match place:
            case "server":
                if not any(url == "*" or f"{text}/".startswith(f"{url.rstrip('/')}/") for url in self._urls):
                    raise Forbidden(f"{text!r} is no server the operator lists in ASSAY_ALLOWED_URLS")
            case "scorer":
                if is_registered(text):
                    self._scorer(ScorerName.parse(text))
            case "model":
                self._model(text)
            case "source":
                self._source(text)
            case "file":
                if not self._within_roots(text):
                    raise self._unlisted(text)
            case "split" | "task":
                plain = _WORD.fullmatch(text) and not text.endswith((".yaml", ".yml")) and not self._exists(text)
                if not plain and not self._within_roots(text):
                    raise self._unlisted(text)

    def _source(self, text: str) -> None:
        hub = _HUB_ID.fullmatch(text) is not None and not names_directory(text) and not text.endswith(_FILES)
        if hub and not self._on_hub(text):  # also where a listed directory could hold something of that name later
            raise self._unlisted(text, hub=True)
        if (not hub or self._exists(text)) and not self._within_roots(text):
            raise self._unlisted(text, hub=True)

    def _model(self, text: str) -> None:
        if names_directory(text):
            if not self._within_roots(text):
                raise self._unlisted(text)
        elif self._artifact(text) is not None or self._on_hub(text):
            return
        elif _HUB_ID.fullmatch(text):
            # an artifact that a job under way will publish has no slash here: if that job fails, this is a hub model
            raise Forbidden(
                f"{text!r} is no artifact here and no model the operator lists in ASSAY_ALLOWED_HUB_IDS;"
                " if a job will publish it, wait for that job"
            )
        else:
            self._registered(text)

    def _scorer(self, name: ScorerName) -> None:
        """An output that it does not give would end the job after everything was sampled."""
        self._registered(name.reference)
        if (artifact := self._artifact(name.reference)) is not None:
            name.meant(outputs_of(artifact.manifest), controls_of(artifact.manifest))

    def _registered(self, reference: str) -> None:
        if self._artifact(reference) is None and reference.partition("@")[0].partition("/")[0] not in self._expected:
            raise InvalidInput(f"there is no artifact {reference!r}; `assay artifacts list` shows what there is")

    def _artifact(self, reference: str) -> Artifact | None:
        try:
            return self._artifacts.open(reference)
        except AssayError:
            return None

    def _on_hub(self, text: str) -> bool:
        match = _HUB_ID.fullmatch(text)
        return match is not None and any(fnmatchcase(match[1], pattern) for pattern in self._hub_ids)

    def _within_roots(self, text: str) -> bool:
        if "://" in text:
            return False
        try:
            path = Path(text).expanduser().resolve()
        except (OSError, RuntimeError, ValueError):  # too long, a loop of links, a user nobody knows, NUL
            return False
        return any(path.is_relative_to(root) for root in self._roots)

    def _exists(self, text: str) -> bool:
        try:
            return Path(text).expanduser().exists()
        except (OSError, RuntimeError, ValueError):
            return True

    def _unlisted(self, text: str, *, hub: bool = False) -> Forbidden:
        # the same words whether or not there is such a file: nobody learns what else lies around here
        also = ", and of the hub what ASSAY_ALLOWED_HUB_IDS lists" if hub else ""
        return Forbidden(f"{text!r} may not be read here; the operator lists directories in ASSAY_ALLOWED_ROOTS{also}")
