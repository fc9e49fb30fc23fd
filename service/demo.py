"""``make demo``: train the small models, stress-test one of them, report, and serve what was found.

Every step is an ordinary recorded run of a recipe in ``recipes/demo``, in a process of its own: what has succeeded
is reused, what was interrupted continues from its checkpoint.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from service.errors import exit_status
from service.jobs.here import find_done
from service.server import run_server
from service.settings import Settings
from trainer.errors import AssayError
from trainer.recipe import Recipe, read_recipe

RECIPES = Path(__file__).parent.parent / "recipes" / "demo"
PLACES = ("database_url", "artifact_dir", "runs_dir")
STRESS_TEST = "3-stress-test"
STAGES = (
    ("1-policy", "1-encoder-reward-model"),
    ("2-decoder-reward-model", "2-ganpo"),
    (STRESS_TEST,),
)
"""Recipes of one stage need nothing of each other and run side by side, one CPU thread each."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration. Exit status: 0 done, 1 a step failed, 2 bad input, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m service.demo", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(".demo"), help="database, artifacts, runs and report")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--no-serve", action="store_true", help="stop after the report")
    options = parser.parse_args(arguments)
    settings = demo_settings(options.directory, options.port)
    try:
        return _demonstrate(settings, options.directory, serve=not options.no_serve)
    except KeyboardInterrupt:
        _say("interrupted; the same command continues from the last checkpoints")
        return 130
    except AssayError as error:
        _say(error.detail)
        return exit_status(error)


def _demonstrate(settings: Settings, directory: Path, *, serve: bool) -> int:
    started = time.monotonic()
    if not _run_stages(settings):
        _say("a step failed; mend what it says above and run the same command again")
        return 1
    report = _report(settings, directory)
    _say(f"done in {time.monotonic() - started:.0f} s; the report is {report}")
    if serve:
        run_server(settings)
    return 0


def demo_settings(directory: Path, port: int = 8000) -> Settings:
    """Everything of the demonstration below one directory."""
    return Settings(
        database_url=f"sqlite:///{(directory / 'assay.db').absolute()}",
        artifact_dir=directory / "artifacts",
        runs_dir=directory / "runs",
        port=port,
    )


def _say(text: str) -> None:
    sys.stderr.write(f"demo: {text}\n")
    sys.stderr.flush()


def _recipe(name: str) -> Recipe:
    from evaluation.recipes import parse_recipe

    return parse_recipe(read_recipe(RECIPES / f"{name}.yaml"))


def _run_stages(settings: Settings) -> bool:
    """Do what is not done yet, and all that comes after it; whether every step succeeded."""
    settings.artifact_dir.mkdir(parents=True, exist_ok=True)
    changed = False
    for number, stage in enumerate(STAGES, start=1):
        waiting = [name for name in stage if changed or find_done(_recipe(name), settings) is None]
        if not waiting:
            continue
        changed = True
        _say(f"step {number} of {len(STAGES)}: {', '.join(name[2:] for name in waiting)}")
        with ThreadPoolExecutor(len(waiting)) as pool:
            if any(list(pool.map(lambda name: _spawn(name, settings), waiting))):
                return False
    return True


def _spawn(name: str, settings: Settings) -> int:
    """Run one recipe as `assay` would and pass on what it says, line by line; returns its exit status."""
    verb = "stress" if name == STRESS_TEST else "train"
    command = [sys.executable, "-m", "service.cli", verb, str(RECIPES / f"{name}.yaml")]
    places = {f"ASSAY_{field.upper()}": str(getattr(settings, field)) for field in PLACES}
    with subprocess.Popen(
        command, env={**os.environ, **places}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
        return child.wait()


def _report(settings: Settings, directory: Path) -> Path:
    """Print the table of the newest stress test and write its page."""
    from evaluation.report import table, write_report
    from evaluation.verdict import verdict
    from service.evidence import read_evidence

    run_id = find_done(_recipe(STRESS_TEST), settings)
    assert run_id is not None  # the stages before saw to it
    summary, evidence = read_evidence(settings, run_id)
    estimates = evidence.estimates
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table(estimates))
    console.print(f"\n{verdict(estimates).headline}\n", markup=False)
    report = directory / "report.html"
    write_report(summary, evidence, report)
    return report


if __name__ == "__main__":
    sys.exit(main())
