"""Put the commands together, and turn every failure into one line and an exit status."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from service.cli import (
    artifacts,
    attribute,
    benchmark,
    compare,
    database,
    gate,
    jobs,
    keys,
    monitoring,
    recipes,
    report,
    reproduce,
    score,
    serve,
    winrate,
)
from service.cli.printing import note, say
from service.errors import EXIT_BAD_INPUT, EXIT_FAILED, exit_status
from trainer.errors import AssayError, Overloaded

EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 failed, 2 bad input, 3 stopped and resumable."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # a bar for each loaded model is noise beside our own
    try:
        status = make_program()(args=words or ["--help"], prog_name="assay", standalone_mode=False)
        sys.stdout.flush()
        return status or 0
    except BrokenPipeError:  # whoever read our output has seen enough, as `head` does
        sys.stdout = None
        return EXIT_FAILED
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            raise
        return _explain(error)


def make_program() -> typer.Typer:
    """All commands, importing nothing that only some of them need."""
    program = typer.Typer(
        help="Train reward models, discriminators and policies, score with them, and measure how far to trust them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    program.callback()(_everywhere)
    for command in (
        serve.serve,
        recipes.train,
        recipes.stress,
        recipes.audit,
        winrate.winrate,
        benchmark.benchmark,
        score.score,
        attribute.attribute,
        report.report,
        gate.gate,
        compare.compare,
        reproduce.reproduce,
    ):
        program.command()(command)
    for family in (jobs, artifacts, keys, monitoring, database):
        program.add_typer(family.make_family())
    return program


def _version(asked: bool) -> None:
    if asked:
        from trainer.manifest import code_version

        say(f"assay {code_version()}")
        raise typer.Exit


def _everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure; may stand anywhere.")
    ] = False,
) -> None:
    pass


def _driver_said(error: AssayError) -> str:
    """Why no connection came about: an operator may know, a client over HTTP need not."""
    said = getattr(error.__cause__, "orig", None)
    return f" ({' '.join(str(said).split())})" if isinstance(error, Overloaded) and said is not None else ""


def _explain(error: Exception) -> int:
    if isinstance(error, AssayError):
        note(f"assay: {error.detail}{_driver_said(error)}")
        return exit_status(error)
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "assay"
        message = " ".join(error.format_message().split())
        note(f"{path}: {message} See `{path} --help`.")
        return EXIT_BAD_INPUT
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    note(f"assay: unexpected {reason}; run it again with --debug to see where")
    return EXIT_FAILED
