"""The paper's scale: the same chains on Gemma-2-2B-it and Llama-3-8B-Instruct, made of the ready recipes.

Nothing of it was run: it wants GPUs, weights whose licences are to be accepted, a judge that costs money, and data.
``needs`` says what, and whether it is here.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluation.recipes.downstream import SAMPLES_FILE
from evaluation.reproduction.answers import Answers, Battles, judged
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.toy_world import (
    DECODER,
    DISCRIMINATORS,
    ENCODER,
    GANPO,
    GANPO_SIMPO,
    JUDGED,
    START,
)
from evaluation.reproduction.world import GRID, VERY_HOT, Runs, World
from trainer.artifacts import ArtifactStore
from trainer.errors import AssayError
from trainer.files import read_jsonl
from trainer.recipe import Recipe, read_recipe

RECIPES = Path(__file__).parent.parent.parent / "recipes"

SKYWORK = "skywork-reward-v2"
JUDGE, JUDGE_MODEL = "alpaca-eval-judge", "gpt-4-1106-preview"
ALPACA, ALPACA_BASELINE, IFEVAL = "alpaca_eval.jsonl", "alpaca_eval_baseline.jsonl", "ifeval.jsonl"

_READY = {"dpo": "dpo", "simpo": "simpo", GANPO["transformer"]: "ganpo-dpo", GANPO_SIMPO: "ganpo-simpo"}
_DECODING = {"gemma-2-2b-it": 0.7, "llama-3-8b-instruct": 0.9}
_TASKS = {"gsm8k": "exact_match,strict-match", "mmlu": "acc,none", "anli_r3": "acc,none", "truthfulqa_mc2": "acc,none"}
_ENCODER = "answerdotai/ModernBERT-large"

SOURCES = {
    ALPACA: "AlpacaEval 2's 805 instructions as {prompt_id, prompt}, from tatsu-lab/alpaca_eval on the hub",
    ALPACA_BASELINE: "GPT-4-turbo's outputs to them as {prompt_id, response}, from the same data set",
    IFEVAL: "input_data.jsonl of google/IFEval as it is",
    SKYWORK: "Skywork/Skywork-Reward-V2-Llama-3.1-8B, by `assay artifacts import DIRECTORY skywork-reward-v2"
    " --kind reward_model --architecture decoder`",
}


class PaperWorld(World):
    """One replication on one of the paper's models."""

    gold = SKYWORK
    satisfied = "ifeval:prompt_strict"
    tasks = tuple(_TASKS)

    def __init__(self, seed: int, family: str, data: Path) -> None:
        """``data`` is where the files of ``SOURCES`` are."""
        self.seed, self._family, self._data = seed, family, data
        self.title = family
        self.decoding = _DECODING[family]
        self._hub: str = self._ready("dpo")["policy"]["path"]

    def named(self, name: str) -> str:
        policy, colon, output = name.partition(":")
        return f"{self._family}{colon}{output}" if policy == START else f"{self._family}-s{self.seed}-{name}"

    def start(self) -> Sequence[Step]:
        return []

    def arm(self, name: str) -> Step:
        if name in _READY:
            return self._step(name, self._ready(_READY[name]))
        content = self._ready("ganpo-dpo")
        ready = content["adversarial"]["discriminator"]
        kind = DISCRIMINATORS[name.removeprefix("ganpo-")]["kind"]
        widths = {"mlp": {"kind": "mlp", "width": ready["width"]}, "random": {"kind": "random", "of": ready}}
        adversarial = {**content["adversarial"], "discriminator": widths.get(kind, {"kind": kind})}
        return self._step(name, {**content, "adversarial": adversarial})

    def timed(self, name: str) -> Step:
        return self.arm(name)

    def scorers(self) -> Sequence[Step]:
        proxy = self._ready("proxy-reward-model")
        launch = {"processes": 1, "gpus_per_process": 1}
        encoder = {
            **proxy,
            "backbone": {"path": _ENCODER, "architecture": "encoder", "dtype": "bfloat16"},
            "launch": launch,
        }
        shared = {name: proxy[name] for name in ("data", "optimizer", "batch", "epochs")}
        probe = {
            **shared,
            "kind": "discriminator",
            "loss": "bradley_terry",
            "reference": {"path": self._hub},
            "discriminator": self._ready("ganpo-dpo")["adversarial"]["discriminator"],
            "optimizer": {**proxy["optimizer"], "learning_rate": 1e-4},
            "launch": launch,
        }
        return [self._step(DECODER, proxy), self._step(ENCODER, encoder), self._step("probe", probe)]

    def answers(self, policy: str) -> Step:
        return self._stress_test(f"{policy}-answers", policy, ALPACA, GRID, [{"kind": "reward_model", "path": SKYWORK}])

    def constrained(self, policy: str) -> Step:
        return self._stress_test(f"{policy}-ifeval", policy, IFEVAL, GRID, [{"kind": "ifeval"}])

    def decoded(self, policy: str) -> Step:
        judge = {"kind": "llm_judge", "model": JUDGE_MODEL, "name": JUDGE, "baseline": self._file(ALPACA_BASELINE)}
        return self._stress_test(f"{policy}-alpaca-eval", policy, ALPACA, (self.decoding,), [judge])

    def battles(self, policy: str, read: Callable[[Step], Answers]) -> Battles:
        baseline = {str(row["prompt_id"]): len(row["response"]) for _, row in read_jsonl(self._data / ALPACA_BASELINE)}
        prompts = [str(row.get("prompt_id", place)) for place, (_, row) in enumerate(read_jsonl(self._data / ALPACA))]
        return judged(read(self.decoded(policy)), JUDGE, [baseline[each] for each in prompts])

    def very_hot(self, scorers: Sequence[str]) -> Step:
        oracle = {"kind": "reward_model", "path": SKYWORK}
        trained = sorted({each.partition(":")[0].partition("/")[0] for each in scorers} - {START})
        step = self._stress_test("very-hot", JUDGED, ALPACA, VERY_HOT, [oracle], [self.named(each) for each in scorers])
        return replace(step, needs=tuple(map(self.named, trained)))

    def knowledge(self, policies: Sequence[str]) -> Sequence[Step]:
        return [self._knowledge(policy) for policy in policies]

    def knows(self, policy: str, task: str, runs: Runs) -> tuple[list[int], list[float]]:
        # a group's tasks, as MMLU's subjects, count their documents apart
        documents: dict[tuple[str, int], int] = {}
        found, right = [], []
        for _, row in read_jsonl(runs(self._knowledge(policy).name) / SAMPLES_FILE):
            if (row["task"] == task or row["task"].startswith(f"{task}_")) and row["metric"] == _TASKS[task]:
                found.append(documents.setdefault((row["task"], row["document"]), len(documents)))
                right.append(float(row["value"]))
        return found, right

    def _knowledge(self, policy: str) -> Step:
        content = {
            "kind": "downstream",
            "policy": {"path": self._path(policy), "dtype": "bfloat16"},
            "tasks": list(_TASKS),
        }
        return self._step(f"{policy}-downstream", content, policy)

    def _stress_test(
        self,
        name: str,
        policy: str,
        prompts: str,
        temperatures: Sequence[float],
        oracles: Sequence[Mapping[str, Any]],
        scorers: Sequence[str] = (),
    ) -> Step:
        content = {
            "kind": "stress_test",
            "policy": {"path": self._path(policy), "dtype": "bfloat16"},
            "prompts": {"path": self._file(prompts)},
            "temperatures": list(temperatures),
            "responses_per_prompt": 1,
            "max_response_tokens": 2048,
            "scorers": list(scorers),
            "oracles": list(oracles),
        }
        return self._step(name, content, policy)

    def _step(self, name: str, content: Mapping[str, Any], policy: str = START) -> Step:
        needs = () if policy == START else (self.named(policy),)
        return Step(self.named(name), {**content, "name": self.named(name), "seed": self.seed}, needs)

    def _path(self, policy: str) -> str:
        return self._hub if policy == START else self.named(policy)

    def _file(self, name: str) -> str:
        return str((self._data / name).absolute())

    def _ready(self, name: str) -> dict[str, Any]:
        return dict(_recipe(self._family, name))


@cache
def _recipe(family: str, name: str) -> dict[str, Any]:
    return read_recipe(RECIPES / family / f"{name}.yaml")


@dataclass(frozen=True)
class Need:
    """Something that must be had before a chain can run."""

    what: str
    here: bool | None
    """None where only trying would tell, as of what is on a hub."""


def needs(steps: Sequence[Step], recipes: Sequence[Recipe], data: Path, store: ArtifactStore) -> list[Need]:
    """Everything that the chain's steps want and no step of it makes."""
    contents = [step.recipe for step in steps]
    found = [*_files(contents, data), *_artifacts(contents, steps, store), *_hub(contents)]
    gpus = max((recipe.launch.processes * recipe.launch.gpus_per_process for recipe in recipes), default=0)
    if gpus:
        found.append(Need(f"{gpus} GPUs of 80 GB", _gpus() >= gpus))
    oracles = [oracle for content in contents for oracle in content.get("oracles", ())]
    if any(oracle["kind"] == "llm_judge" for oracle in oracles):
        found.append(Need(f"OPENAI_API_KEY, for {JUDGE_MODEL} as the judge", "OPENAI_API_KEY" in os.environ))
    if any(oracle["kind"] == "ifeval" for oracle in oracles):
        found.append(Need("pip install 'reward-assay[ifeval]'", find_spec("lm_eval") is not None))
    if any(content["kind"] == "downstream" for content in contents):
        found.append(Need("pip install 'reward-assay[downstream]'", find_spec("lm_eval") is not None))
    return found


def _files(contents: Sequence[Mapping[str, Any]], data: Path) -> Iterator[Need]:
    text = repr(contents)
    for name in (ALPACA, ALPACA_BASELINE, IFEVAL):
        if repr(str((data / name).absolute())) in text:
            yield Need(f"{data / name}: {SOURCES[name]}", (data / name).is_file())


def _artifacts(contents: Sequence[Mapping[str, Any]], steps: Sequence[Step], store: ArtifactStore) -> Iterator[Need]:
    made = {step.name for step in steps}
    asked = {oracle["path"] for content in contents for oracle in content.get("oracles", ()) if "path" in oracle}
    asked |= {
        scorer.partition(":")[0].partition("/")[0] for content in contents for scorer in content.get("scorers", ())
    }
    for name in sorted(asked - made):
        source = SOURCES.get(name, "the starting policy, by `assay artifacts import DIRECTORY NAME --kind policy`")
        yield Need(f"the artifact {name}: {source}", _published(name, store))


def _hub(contents: Sequence[Mapping[str, Any]]) -> Iterator[Need]:
    paths = {
        content[field]["path"]
        for content in contents
        for field in ("policy", "reference", "backbone", "data")
        if "/" in content.get(field, {}).get("path", "")
    }
    for path in sorted(paths):
        yield Need(f"{path} on the Hugging Face hub, its licence accepted", None)


def _published(name: str, store: ArtifactStore) -> bool:
    try:
        store.open(name)
    except AssayError:
        return False
    return True


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
