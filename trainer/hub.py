"""Models on the Hugging Face hub: the files of one commit, weights in safetensors only, in the machine's cache."""

import re
from pathlib import Path

from trainer.errors import NotFound, first_line

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[0-9a-f]{40})?")
_FILES = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
_TIMEOUT_SECONDS = 10.0


def names_hub_model(reference: str) -> bool:
    """Whether ``reference`` looks like ``owner/name`` or ``owner/name@COMMIT``; an artifact's name may as well."""
    return _HUB_ID.fullmatch(reference) is not None


def fetch_model(reference: str, revision: str | None) -> Path:
    """The directory in the cache with the model's files, downloaded where they are not there yet.

    Raises NotFound for no such model or revision, one that asks for a login, and no connection.
    """
    from huggingface_hub import snapshot_download

    name, _, commit = reference.partition("@")
    try:
        return Path(snapshot_download(name, revision=commit or revision, allow_patterns=_FILES))
    except Exception as error:  # the hub's client and its HTTP library share no base class
        raise NotFound(
            f"the Hugging Face hub gives no model {name}{f' at {commit or revision}' if commit or revision else ''}"
            f" ({first_line(error)}); check the name, the connection and, for a gated model, HF_TOKEN"
        ) from error


def pin_model(reference: str, revision: str | None) -> str:
    """``owner/name@COMMIT`` for what the hub, or without a connection the cache, has now; else as it was."""
    from huggingface_hub import HfApi, snapshot_download

    name, separator, _ = reference.partition("@")
    if separator:
        return reference
    commit: str | None
    try:
        commit = HfApi().model_info(name, revision=revision, timeout=_TIMEOUT_SECONDS).sha
    except Exception:  # as above; opening the model reports what is wrong
        try:
            commit = Path(snapshot_download(name, revision=revision, local_files_only=True)).name
        except Exception:
            return reference
    return f"{name}@{commit}"


def cached_file(reference: str, name: str, revision: str | None) -> Path | None:
    """Where the cache has a model's file ``name``, if it has; no connection is made."""
    from huggingface_hub import try_to_load_from_cache

    model, _, commit = reference.partition("@")
    found = try_to_load_from_cache(model, name, revision=commit or revision)
    return Path(found) if isinstance(found, str) else None
