"""What a reader of the documentation has: a clone, files of their own, and a shell.

The clone's demonstration is that of ``recipes/demo`` with models and numbers far smaller: enough for every command to
do what it does, too little for its numbers to mean anything.
"""

import json
import os
import random
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainer.data.product_world import gold, perturb_response, render_prompt, sample_examples
from trainer.recipe import apply_overrides, read_recipe

ROOT = Path(__file__).parents[2]
_STEPS = ["max_steps=2", "batch.size=4"]
_SMALL = ["scratch.hidden_size=16", "scratch.layers=1", "scratch.heads=2"]
_CHANGES = {
    "1-policy": [*_STEPS, "data.size=40", "data.validation_size=8", *(f"policy.{each}" for each in _SMALL)],
    "1-encoder-reward-model": [*_STEPS, "data.size=40", *(f"backbone.{each}" for each in _SMALL)],
    "2-decoder-reward-model": [*_STEPS, "data.size=40"],
    "2-ganpo": [*_STEPS, "data.size=40", "adversarial.discriminator.width=16", "adversarial.discriminator.layers=1"],
    "3-stress-test": [
        "prompts.limit=4",
        "temperatures=[0, 1.0, 1.5, 2.0]",
        "responses_per_prompt=4",
        "max_response_tokens=24",
        "bootstrap.draws=200",
    ],
}
_SHAPE = {"hidden_size": 16, "layers": 1, "heads": 2, "max_tokens": 96}
GAME = {
    "kind": "gapo",
    "name": "my-policy",
    "policy": {"path": "demo-policy"},
    "data": {"kind": "product_world", "size": 24, "validation_size": 24},
    "reward_model": {"warm_up": {"backbone": {"scratch": _SHAPE, "match_features": True}, "max_steps": 2}},
    "rounds": 1,
    "ppo": {"rollouts": 8, "minibatch": 8, "max_response_tokens": 12, "value": {"trunk": "detached"}},
    "evaluation": {"prompts": 2},
    "early_stop": None,
}
"""A game of a single round, for pages about what such a game publishes."""

_RECORDER = """\
#!/bin/sh
# Notes how it was called, each word ended by a zero byte, for checked.py; a program on standard input is a word too,
# and of what a short one would print there is a word.
for last; do :; done
call="{calls}/$(date +%s%N).$$"
printf '%s\\0' "$PWD" "${{0##*/}}" "$@" > "$call"
if [ "${{1-}}" = -c ]; then echo ./what-it-prints; fi
if [ "${{last-}}" = - ]; then cat >> "$call"; printf '\\0' >> "$call"; fi
"""
_CHECKED_PROGRAMS = ("accelerate", "assay", "curl", "docker", "make", "pip", "python")

_RSYNC = """\
import shutil, sys
words = [word for word in sys.argv[1:] if word != "-a"]
left_out = [words.pop(words.index("--exclude") + 1)] if "--exclude" in words else []
source, target = (word for word in words if word != "--exclude")
assert source.endswith("/") and target.endswith("/"), "of a folder its contents"
shutil.copytree(source, target, ignore=shutil.ignore_patterns(*left_out), dirs_exist_ok=True)
"""
"""``rsync -a [--exclude NAME] SOURCE/ TARGET/`` for machines without it."""


@dataclass(frozen=True)
class Demonstration:
    """A directory as a clone is after `make demo`, and the address of its server."""

    directory: Path
    run_id: str
    url: str


def clone(directory: Path) -> Path:
    """The repository as somebody has it who set it up: code and `.venv` by links, the demonstration's recipes small."""
    for name in (
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
        "service",
        "evaluation",
        "trainer",
        "benchmarks",
        "docker",
    ):
        (directory / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "recipes", directory / "recipes")
    for name, changes in _CHANGES.items():
        path = directory / "recipes" / "demo" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(apply_overrides(read_recipe(path), changes)))
    shutil.copytree(ROOT / "docs" / "examples", directory / "docs" / "examples")
    (directory / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (directory / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    (directory / ".venv" / "ready").touch()
    return directory


def shell(directory: Path) -> dict[str, str]:
    """A reader's environment: our commands first, nothing of ours that they have not set, and servers on free ports.

    Nothing is installed: ``pip`` notes what it was asked for, as every program does in ``$RECORDERS``.
    """
    calls, recorders, stand_ins = (directory / ".test" / name for name in ("calls", "recorders", "stand-ins"))
    for each in (calls, recorders, stand_ins):
        each.mkdir(parents=True)
    for name in _CHECKED_PROGRAMS:
        _program(recorders / name, _RECORDER.format(calls=calls))
    shutil.copy(recorders / "pip", stand_ins)
    if shutil.which("rsync") is None:
        _program(stand_ins / "rsync", f"#!{sys.executable}\n{_RSYNC}")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    return {
        **plain,
        "PATH": os.pathsep.join([str(stand_ins), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "RECORDERS": str(recorders),
        "PORT": "0",
        "ASSAY_PORT": "0",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def recorded(directory: Path) -> list[tuple[Path, list[str]]]:
    """Calls that were noted and not carried out, in their order: where, and the words."""
    found = []
    for call in sorted((directory / ".test" / "calls").iterdir()):
        place, *words = call.read_text().removesuffix("\0").split("\0")
        found.append((Path(place), words))
    return found


def write_own_files(directory: Path, policy: Path) -> None:
    """Rows, prompts with responses, judged responses and a model, under the names that the pages give a reader's."""
    rng = random.Random(0)
    shutil.copytree(policy, directory / "base")
    for name, size in (("rows", 8), ("held_out", 4)):
        examples = sample_examples("train" if name == "rows" else "validation", size, seed=0)
        rows = [
            {"prompt": render_prompt(each.task), "chosen": each.response, "rejected": perturb_response(rng, each)[1]}
            for each in examples
        ]
        _lines(directory / f"{name}.jsonl", rows)
    asked = sample_examples("test", 12, seed=0)
    _lines(
        directory / "pairs.jsonl",
        [{"prompt": render_prompt(each.task), "responses": [each.response, "the color is red ."]} for each in asked],
    )
    judged = []
    for number, each in enumerate(asked):
        for response in (each.response, *(perturb_response(rng, each)[1] for _ in range(3))):
            worth = gold(each.task, response)
            row = {"prompt_id": number, "prompt": render_prompt(each.task), "response": response, "temperature": 1.5}
            judged.append({**row, "oracles": {"judge": worth}, "scores": {"rm": worth + rng.gauss(0, 0.01)}})
    _lines(directory / "judged.jsonl", judged)
    (directory / "one.jsonl").write_text(
        json.dumps({"id": "begins with the color", "prompt": CONSTRAINED, "response": VIOLATING}) + "\n"
    )
    (directory / "game.yaml").write_text(yaml.safe_dump(GAME))


CONSTRAINED = "product mug | color red ; size tiny ; age new ; price cheap | len 18 to 22 | tone calm | start size"
VIOLATING = (
    "it comes with red color . size is tiny . simply feels quiet . here the age is always new . the price is cheap ."
)


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
