"""A study as one command: train, sample, judge, test the claims. Killed and started again, it continues."""

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from benchmarks.study.directory import Directory
from benchmarks.study.document import fill, generated
from benchmarks.study.plan import Plan
from evaluation.reproduction.findings import Study, conclude
from evaluation.reproduction.schedule import carry_out, end_with_parent, say
from service.reproduction import facts
from trainer.errors import AssayError, Stopped


def main(plan: Plan, arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 a run failed, 130 interrupted."""
    options = _options(plan, arguments)
    size = plan.sizes[options.size]
    size = replace(size, seeds=options.seeds or size.seeds)
    directory: Path = options.directory / options.size
    steps = [step for seed in range(size.seeds) for step in plan.steps_of_seed(seed, size)]
    started = time.monotonic()
    say(f"{len(steps)} runs of {size.seeds} seeds in {directory}, {options.processes} at a time")
    try:
        # spawned, for a process forked from one with torch's threads may hang
        context = get_context("spawn")
        with ProcessPoolExecutor(options.processes, mp_context=context, initializer=end_with_parent) as pool:
            carry_out(steps, Directory(directory), pool, options.processes)
    except (KeyboardInterrupt, Stopped):
        say("interrupted; the same command continues")
        return 130
    except AssayError as error:
        say(error.detail)
        return 1
    except BrokenProcessPool:
        say("a run's process was killed, perhaps for want of memory; the same command continues")
        return 1
    say(f"all runs done, {(time.monotonic() - started) / 60:.1f} minutes")
    study = conclude(plan.read(directory, range(size.seeds)), size, plan.paper, plan.ours)
    _report(plan, study, directory, options.document)
    return 0


def _options(plan: Plan, arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {plan.module}", description=plan.title)
    parser.add_argument("--size", choices=sorted(plan.sizes), default="full")
    parser.add_argument("--seeds", type=int, help="replications, at least 2; those that are done are kept")
    parser.add_argument("--processes", type=int, default=2, help="runs side by side, one thread each")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(f".{plan.module.removeprefix('benchmarks.')}"),
        help="runs, artifacts and results",
    )
    parser.add_argument("--document", type=Path, help="a page whose generated part and figures are renewed")
    options = parser.parse_args(arguments)
    if options.seeds is not None and options.seeds < 2:
        parser.error("--seeds: an interval over seeds needs two")
    return options


def _report(plan: Plan, study: Study, directory: Path, document: Path | None) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    tables = plan.tables(study)
    for table in tables:
        table.show(console)
    measured_with = facts()
    results = directory / "study.json"
    results.write_text(json.dumps(study.to_json(measured_with), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    say(f"results in {results}")
    images = directory if document is None else document.parent / "images"
    images.mkdir(exist_ok=True)
    drawn: dict[str, str] = {}
    for name, draw in plan.figures.items():
        figure = draw(study)
        if find_spec("kaleido") is not None:
            figure.write_image(images / name)
            drawn[f"images/{name}"] = figure.layout.title.text
    if not drawn:
        say("no figures were drawn: they need Chromium and .[figures]")
    if document is not None:
        fill(document, generated(study, plan.summary(study), tables, measured_with, drawn))
        say(f"renewed {document}")
