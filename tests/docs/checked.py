"""Reads a documented command as its own program would, and does nothing of it.

What a program refuses is an error here: an option it does not know, a value of the wrong type, a recipe with a
field that does not exist, a target of no Makefile. ``RECIPE.yaml`` and other names in
capitals stand for files of the reader's.
"""

import argparse
import importlib.util
import re
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import metadata
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).parents[2]
_ADDRESS = re.compile(r"(?:http://)?[\w.]+:\d+(/[^?]*)")


class Refused(Exception):
    """A program would not accept its words."""


class _Parsed(BaseException):
    """Ends a program where it has read its words."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options


def check(words: Sequence[str], *, whole: bool = True) -> None:
    """Raises Refused; unless ``whole`` words may be missing or stand for others, as in a sentence on a command."""
    program, *arguments = words
    try:
        CHECKS[program](arguments, whole)
    except SystemExit as end:
        raise Refused(f"{' '.join(words)}: exit status {end.code}") from None


def _assay(arguments: list[str], whole: bool) -> None:
    import typer

    from service.cli.program import make_program

    program = typer.main.get_command(make_program())
    for path, command in _leaves(program):
        command.callback = partial(_recipes, path, whole)
    try:
        program(args=arguments, prog_name="assay", standalone_mode=False)
    except typer.TyperException as error:
        if whole or re.search("No such|unexpected", error.format_message()):
            raise Refused(f"assay {' '.join(arguments)}: {error.format_message()}") from None


def _leaves(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    members = getattr(command, "commands", None)
    if members is None:
        return [(path, command)]
    return [leaf for name, each in members.items() for leaf in _leaves(each, (*path, name))]


def _recipes(path: tuple[str, ...], whole: bool, /, **given: Any) -> None:
    """The recipe that a command is given, by the schema of those that run it."""
    from service.jobs.kinds import parse_any_recipe

    if path[-1] in {"train", "stress", "benchmark", "submit"}:
        _recipe(parse_any_recipe, Path(given["recipe"]), given.get("overrides"), whole)


def _recipe(parse: Callable[[Any], object], path: Path, overrides: Sequence[str] | None, whole: bool) -> None:
    from trainer.errors import AssayError
    from trainer.recipe import apply_overrides, read_recipe

    if path.stem.isupper() or not (whole or path.exists()):
        return
    try:
        parse(apply_overrides(read_recipe(path), [each.replace("=N", "=2") for each in overrides or []]))
    except AssayError as error:
        raise Refused(f"{path}: {error.detail}") from None


def _python(arguments: list[str], whole: bool) -> None:
    if arguments[0] in {"-", "-c"}:
        compile(arguments[1], "a page", "exec")
        return
    module = arguments[1] if arguments[0] == "-m" else arguments[0]
    if arguments[0] == "-m" and importlib.util.find_spec(module) is None:
        raise Refused(f"there is no module {module}")
    if not whole:
        return
    options = _program(module, arguments[2:] if arguments[0] == "-m" else arguments[1:])
    if module == "trainer":
        from trainer.recipes import parse_recipe

        _recipe(parse_recipe, options.recipe, options.overrides, whole)


def _program(module: str, arguments: list[str]) -> argparse.Namespace:
    """What a module or a file makes of its words, by the parser inside."""
    names = ("parse_args", "parse_intermixed_args")

    def ending(parse: Callable[..., argparse.Namespace]) -> Callable[..., NoReturn]:
        def parse_and_end(*given: Any, **named: Any) -> NoReturn:
            raise _Parsed(parse(*given, **named))

        return parse_and_end

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a module that was imported already is run once more
        patch.setattr(sys, "argv", [module, *arguments])
        for name in names:
            patch.setattr(argparse.ArgumentParser, name, ending(getattr(argparse.ArgumentParser, name)))
        try:
            if module.endswith(".py"):
                runpy.run_path(module, run_name="__main__")
            else:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
        except _Parsed as parsed:
            return parsed.options
    raise Refused(f"{module} reads no words")


def _accelerate(arguments: list[str], whole: bool) -> None:
    """As far as accelerate goes before it starts a process: its parser, its settings, what it tells the processes."""
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.launch import prepare_multi_gpu_env

    if arguments[0] != "launch":
        raise Refused(f"accelerate {arguments[0]}")
    options = launch_command_parser().parse_args(arguments[1:])
    if options.config_file:
        settings = load_config_from_file(options.config_file).fsdp_config
        if unknown := settings.keys() - vars(options).keys():  # accelerate itself would not say
            raise Refused(f"{options.config_file}: accelerate does not know {sorted(unknown)}")
    options.main_process_port = 0  # one that is free here
    try:
        told = prepare_multi_gpu_env(_validate_launch_command(options)[0])
        with pytest.MonkeyPatch.context() as patch:
            for name, value in told.items():
                patch.setenv(name, value)
            if options.use_fsdp:
                FullyShardedDataParallelPlugin()
    except ValueError as error:
        raise Refused(f"accelerate {' '.join(arguments)}: {error}") from None
    if not options.module:
        raise Refused("a program of ours is started by its module")
    if options.training_script_args != ["..."]:
        _python(["-m", options.training_script, *options.training_script_args], whole)


def _docker(arguments: list[str], whole: bool) -> None:
    """The part of Docker's command line that pages use; files, build arguments and the image's words are looked up."""
    parser = argparse.ArgumentParser("docker", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build")
    build.add_argument("-f", type=Path, required=True)
    build.add_argument("-t", required=True)
    build.add_argument("--build-arg", action="append", default=[])
    build.add_argument("context", type=Path)
    run = commands.add_parser("run")
    run.add_argument("--rm", action="store_true")
    run.add_argument("-d", action="store_true")
    run.add_argument("-v", action="append")
    run.add_argument("-p", action="append")
    run.add_argument("image")
    run.add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    if options.command == "build":
        declared = re.findall(r"^ARG (\w+)", (ROOT / options.f).read_text(), re.MULTILINE)
        unknown = {each.partition("=")[0] for each in options.build_arg} - set(declared)
        if unknown or not (ROOT / options.context).is_dir():
            raise Refused(f"docker {' '.join(arguments)}: {unknown or options.context}")
    elif options.words not in ([], ["api"], ["worker"], ["all"], ["migrate"]):
        _assay(options.words, whole)


def _make(arguments: list[str], whole: bool) -> None:
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr)


def _pip(arguments: list[str], whole: bool) -> None:
    from pip._internal.commands import create_command

    _, requirements = create_command(arguments[0]).parse_args(arguments[1:])
    ours = set(metadata("reward-assay").get_all("Provides-Extra") or [])
    for requirement in requirements:
        for extra in re.findall(r"^reward-assay\[(.+)\]$", requirement):
            if extra not in ours:
                raise Refused(f"pip {' '.join(arguments)}: there is no such extra")


def _curl(arguments: list[str], whole: bool) -> None:
    from service.app import create_app
    from service.settings import Settings

    known = [re.sub(r"{[^}]+}", "[^/]+", path) for path in create_app(Settings()).openapi()["paths"]]
    asked = [found[1] for found in map(_ADDRESS.match, arguments) if found]
    for one in asked:
        if not any(re.fullmatch(path, one) for path in known):
            raise Refused(f"{one} is no route of ours")
    if not asked:
        raise Refused("curl asks nobody")


CHECKS: dict[str, Callable[[list[str], bool], None]] = {
    "assay": _assay,
    "curl": _curl,
    "accelerate": _accelerate,
    "docker": _docker,
    "make": _make,
    "pip": _pip,
    "python": _python,
}
