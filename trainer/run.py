"""Run a recipe in a run directory: ``recipe.json`` first, ``events.jsonl`` on the way, ``result.json`` last.

Whoever started the run, here or in a child process, learns the end from ``result.json`` alone:
``{"status": "succeeded" | "failed" | "stopped", "result": {...} | null, "error": {code, detail} | null}``.
"""

import json
import sys
import traceback
import uuid
from collections.abc import Callable
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError, Conflict, Stopped, StorageFailure
from trainer.files import write_atomically
from trainer.recipe import Recipe, Run
from trainer.reporting import STOP_FILE, Reporter, read_events
from trainer.run_mirror import RunMirror, mirror_of
from trainer.trackers import start_trackers

RECIPE_FILE = "recipe.json"
ID_FILE = "id"
RESULT_FILE = "result.json"
LOG_FILE = "log.txt"

NO_STORAGE = 4
"""Exit status of a job's process whose disk refused its files, perhaps the result among them."""


def run_recipe(
    recipe: Recipe,
    directory: Path,
    artifacts: ArtifactStore,
    *,
    run_id: str | None = None,
    quiet: bool = False,
    mirror: RunMirror | None = None,
) -> dict[str, Any]:
    """Run ``recipe`` in ``directory``, continuing from its checkpoints if it has run there before.

    ``run_id`` identifies the run for ever; by itself the directory makes one up and keeps it, for another directory
    of that name may have published before. With a ``mirror`` the run goes on from what that has, where it has more, and
    stores its directory there while it works. Returns the recipe's summary. Raises what the recipe raised, after
    recording it; Conflict if the directory belongs to another recipe. A directory whose run succeeded returns its
    stored summary without working again. Of several processes that run it together the first records what happens.
    """
    from trainer.checkpoints import Checkpoints
    from trainer.processes import is_first, this_process

    with this_process().main_process_first():
        mirror = mirror if is_first() else None
        if mirror is not None:
            mirror.restore()
        previous = read_result(directory)
        _claim(recipe, directory)
        run_id = run_id or _identity(directory)
        if previous is not None and previous["status"] == "succeeded":
            result: dict[str, Any] = previous["result"]
            return result
        if is_first():
            (directory / RESULT_FILE).unlink(missing_ok=True)
            (directory / STOP_FILE).unlink(missing_ok=True)
            if mirror is not None:
                mirror.start()
    prepare_libraries(recipe.launch.threads)
    with (
        nullcontext() if mirror is None else closing(mirror),
        Reporter(directory, title=recipe.name, quiet=quiet, recording=is_first()) as reporter,
    ):
        reporter.pulse = None if mirror is None else mirror.pulse
        attempt = 1 + sum(event["type"] == "started" for event in read_events(directory))
        reporter.event("started", attempt=attempt)
        run = Run(run_id, directory, artifacts, reporter)
        try:
            if is_first():
                reporter.trackers = start_trackers(recipe.launch.trackers, run_id, directory)
            result = recipe.run(run)
        except Stopped as stop:
            reporter.event("stopped")
            _finish(directory, "stopped", None, stop)
            raise
        except AssayError as error:
            with suppress(StorageFailure):  # a full disk may refuse the event and have room for the result
                reporter.event("failed", error={"code": error.code, "detail": error.detail})
            _finish(directory, "failed", None, error)
            raise
        except Exception as error:
            with (directory / LOG_FILE).open("a", encoding="utf-8") as log:
                traceback.print_exc(file=log)
            if this_process().num_processes > 1:
                raise  # or another process died, which shows here as any error: who started them all will know
            detail = f"{type(error).__name__}: {error}".splitlines()[0]
            reporter.event("failed", error={"code": "internal", "detail": detail})
            _finish(directory, "failed", None, AssayError(detail))
            raise
        _finish(directory, "succeeded", result, None)
        if is_first():
            Checkpoints(directory).clear()  # only now: a run that is killed before trains nothing again
        reporter.event("succeeded")
        return result


def read_result(directory: Path) -> dict[str, Any] | None:
    """The content of ``result.json``, or None while the run has not ended."""
    path = directory / RESULT_FILE
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def run_as_child(recipe: Recipe, directory: Path, artifacts: ArtifactStore) -> int:
    """Body of a job's process: run ``recipe`` in ``directory``, of the job that the directory is named after.

    Returns the process's exit status.
    """
    try:
        run_recipe(recipe, directory, artifacts, run_id=directory.name, mirror=mirror_of(artifacts, directory))
    except Stopped:
        return 3
    except StorageFailure as error:
        with suppress(OSError):
            sys.stderr.write(f"{error.detail}\n")  # the log's last words, should the disk have refused the result
        return NO_STORAGE
    except AssayError:
        return 1
    return 0


def prepare_libraries(threads: int) -> None:
    """What every process that works on a run does first: as many threads, and only the run's own voice."""
    import torch
    from transformers.utils import logging as transformers_logging

    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()  # the run has its own
    transformers_logging.set_verbosity_error()  # a fresh head on a backbone is what training asks for


def stored_recipe(parse: Callable[[dict[str, Any]], Recipe], directory: Path) -> Recipe:
    """The recipe of a run directory. Raises what ``parse`` raises, and OSError where there is none."""
    return parse(json.loads((directory / RECIPE_FILE).read_text(encoding="utf-8")))


def _identity(directory: Path) -> str:
    path = directory / ID_FILE
    if not path.exists():
        write_atomically(path, f"{directory.name}-{uuid.uuid4().hex[:12]}\n")
    return path.read_text(encoding="utf-8").strip()


def _claim(recipe: Recipe, directory: Path) -> None:
    path = directory / RECIPE_FILE
    if path.exists():
        if not _is_same(recipe, path):
            raise Conflict(
                f"{directory} belongs to another recipe; delete it if nothing in it is needed, or use another --run-dir"
            )
        return
    write_atomically(path, recipe.model_dump_json(indent=2) + "\n")


def _is_same(recipe: Recipe, path: Path) -> bool:
    """Whether the recipe stored in ``path`` is this one; one of another kind, or of older code, may not be readable."""
    try:
        stored = type(recipe).model_validate_json(path.read_bytes())
    except ValidationError:
        return False
    return stored.digest() == recipe.digest()


def _finish(directory: Path, status: str, result: dict[str, Any] | None, error: AssayError | None) -> None:
    from trainer.processes import is_first

    if not is_first():
        return
    content = {
        "status": status,
        "result": result,
        "error": None if error is None else {"code": error.code, "detail": error.detail},
    }
    write_atomically(directory / RESULT_FILE, json.dumps(content, allow_nan=False, indent=2) + "\n")
