"""``make demo``: train the small models, stress-test one of them, report, and serve what was found.

Every step is an ordinary recorded run of a recipe in ``recipes/demo``, in a process of its own: what has succeeded
is reused, what was interrupted continues from its checkpoint.
"""

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from service.server import run_server
from service.settings import Settings

RECIPES = Path(__file__).parent.parent / "recipes" / "demo"
STAGES = (
    ("1-policy", "1-encoder-reward-model"),
    ("2-decoder-reward-model", "2-ganpo"),
    ("3-stress-test",),
)
"""Recipes of one stage need nothing of each other and run side by side, one CPU thread each."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration. Exit status: 0 done, 1 a step failed, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m service.demo", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(".demo"), help="database, artifacts, runs and report")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--no-serve", action="store_true", help="stop after the report")
    parser.add_argument("--only", metavar="RECIPE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    settings = demo_settings(options.directory, options.port)
    if options.only:
        return _run_step(options.only, settings)
    started = time.monotonic()
    try:
        for number, stage in enumerate(STAGES, start=1):
            _say(f"step {number} of {len(STAGES)}: {', '.join(name[2:] for name in stage)}")
            with ThreadPoolExecutor(len(stage)) as pool:
                if any(list(pool.map(lambda name: _spawn(name, options.directory), stage))):
                    _say("a step failed; mend what it says above and run the same command again")
                    return 1
    except KeyboardInterrupt:
        _say("interrupted; the same command continues from the last checkpoints")
        return 130
    report = _report(settings, options.directory)
    _say(f"done in {time.monotonic() - started:.0f} s; the report is {report}")
    if options.no_serve:
        return 0
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


def _spawn(name: str, directory: Path) -> int:
    """Run one step in a child process and pass on what it says, line by line."""
    command = [sys.executable, "-m", "service.demo", "--directory", str(directory), "--only", name]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        stderr: IO[str] | None = child.stderr
        assert stderr is not None
        for line in stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
        return child.wait()


def _run_step(name: str, settings: Settings) -> int:
    from evaluation.recipes import parse_recipe
    from service.jobs.here import run_here
    from trainer.errors import AssayError
    from trainer.recipe import read_recipe

    settings.artifact_dir.parent.mkdir(parents=True, exist_ok=True)
    try:
        job = run_here(parse_recipe(read_recipe(RECIPES / f"{name}.yaml")), settings, reuse=True)
    except AssayError as error:
        _say(f"{name[2:]}: {error.detail}")
        return 1
    made = ", ".join(f"{artifact['name']}@{artifact['version']}" for artifact in job["artifacts"]) or job["id"]
    _say(f"{name[2:]}: {made}")
    return 0


def _report(settings: Settings, directory: Path) -> Path:
    """Print the table of the newest stress test and write its page."""
    from rich.console import Console

    from evaluation.recipes import parse_recipe
    from evaluation.report import table, write_report
    from evaluation.verdict import verdict
    from service.estimates import read_run
    from service.jobs.here import run_here
    from trainer.recipe import read_recipe

    job = run_here(parse_recipe(read_recipe(RECIPES / f"{STAGES[-1][0]}.yaml")), settings, reuse=True)
    summary, estimates = read_run(settings, job["id"])
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table(estimates))
    console.print(f"\n{verdict(estimates).headline}\n", markup=False)
    report = directory / "report.html"
    write_report(summary, estimates, report)
    return report


if __name__ == "__main__":
    sys.exit(main())
