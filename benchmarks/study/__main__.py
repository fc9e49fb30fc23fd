"""The toy-world study of GANPO as one command: train, sample, judge, test the paper's claims.

    OMP_NUM_THREADS=1 python -m benchmarks.study [--size quick] [--seeds 5] [--processes 2] [--document docs/study.md]

Kill it and run it again: finished runs are kept, the interrupted ones continue from their checkpoints.
"""

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from benchmarks.study.arms import SIZES, steps_of_seed
from benchmarks.study.document import fill
from benchmarks.study.findings import Study, conclude
from benchmarks.study.measurements import read_measurements
from benchmarks.study.pictures import FIGURES, write_png
from benchmarks.study.schedule import carry_out, end_with_parent, say
from benchmarks.study.tables import tables
from trainer.artifacts import code_version
from trainer.errors import AssayError, Stopped


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 a run failed, 130 interrupted."""
    options = _options(arguments)
    size = SIZES[options.size]
    size = replace(size, seeds=options.seeds or size.seeds)
    directory: Path = options.directory / options.size
    steps = [step for seed in range(size.seeds) for step in steps_of_seed(seed, size)]
    started = time.monotonic()
    say(f"{len(steps)} runs of {size.seeds} seeds in {directory}, {options.processes} at a time")
    try:
        # spawned, for a process forked from one with torch's threads may hang
        context = get_context("spawn")
        with ProcessPoolExecutor(options.processes, mp_context=context, initializer=end_with_parent) as pool:
            carry_out(steps, directory, pool, options.processes)
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
    _report(conclude(read_measurements(directory, range(size.seeds)), size), directory, options.document)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description="The toy-world study of GANPO")
    parser.add_argument("--size", choices=sorted(SIZES), default="full")
    parser.add_argument("--seeds", type=int, help="replications, at least 2; those that are done are kept")
    parser.add_argument("--processes", type=int, default=2, help="runs side by side, one thread each")
    parser.add_argument("--directory", type=Path, default=Path(".study"), help="runs, artifacts and results")
    parser.add_argument("--document", type=Path, help="a page whose generated part and figures are renewed")
    options = parser.parse_args(arguments)
    if options.seeds is not None and options.seeds < 2:
        parser.error("--seeds: an interval over seeds needs two")
    return options


def _report(study: Study, directory: Path, document: Path | None) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    for table in tables(study):
        table.show(console)
    facts = _facts()
    results = directory / "study.json"
    results.write_text(json.dumps(study.to_json(facts), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    say(f"results in {results}")
    images = directory if document is None else document.parent / "images"
    images.mkdir(exist_ok=True)
    drawn: dict[str, str] = {}
    for name, draw in FIGURES.items():
        figure = draw(study)
        if write_png(figure, images / name):
            drawn[f"images/{name}"] = figure.layout.title.text
    if not drawn:
        say("no figures were drawn: they need Chromium")
    if document is not None:
        fill(document, study, facts, drawn)
        say(f"renewed {document}")


def _facts() -> dict[str, str]:
    """Where and with what this was measured."""
    return {
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "reward-assay": code_version(),
    }


if __name__ == "__main__":
    sys.exit(main())
