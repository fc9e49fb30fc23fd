"""What a policy knows: tasks of lm-evaluation-harness (GSM8K, MMLU, ANLI, TruthfulQA, or one's own) on its weights.

Files of the run directory:

- ``pins.json``           which version of the policy this run means
- ``samples.jsonl``       ``task, metric, document, value``: every document's own result, where a metric has one
- ``correlations.jsonl``  an Estimate a line: the policy as ``scorer``, the task as ``oracle``, the metric as statistic
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from pydantic import Field

from evaluation.recipes.correlations import write_rows
from evaluation.recipes.findings import as_row
from evaluation.recipes.sampled_policy import SampledPolicy
from evaluation.run_files import CORRELATIONS_FILE
from evaluation.statistics.bootstrap import BootstrapSettings
from evaluation.statistics.composites import estimate_composites, mean_of
from evaluation.statistics.estimate import Estimate
from trainer.errors import InvalidInput, RunFailed
from trainer.files import write_atomically
from trainer.models.policy import Policy
from trainer.outside import TaskName
from trainer.recipe import ArtifactName, Recipe, Run

SAMPLES_FILE = "samples.jsonl"

_NORMAL_95 = 1.959964
_ALL = "all"


class DownstreamRecipe(Recipe):
    """Evaluate a policy on downstream tasks through lm-evaluation-harness, which the extra ``downstream`` installs."""

    kind: Literal["downstream"] = "downstream"
    name: ArtifactName = "downstream"
    policy: SampledPolicy
    """Any artifact, directory or hub model."""

    tasks: tuple[TaskName, ...] = Field(min_length=1)
    """Tasks or groups as the harness calls them, such as ``gsm8k`` or ``anli_r3``, or a task's own YAML file."""

    few_shot: int | None = Field(None, ge=0)
    """Solved examples before each question; what the task says unless given."""

    limit: int | None = Field(None, ge=1)
    """Documents of each task; all unless said."""

    batch_size: int = Field(8, ge=1)
    chat_template: bool = False
    """Whether questions are asked as a chat's user turn."""

    bootstrap: BootstrapSettings = BootstrapSettings()

    def run(self, run: Run) -> dict[str, Any]:
        """Write the files above and return the summary that docs/benchmarking.md describes."""
        require_harness()
        names, folders = _named(self.tasks)
        policy, settled = self._open(run)
        run.reporter.message(f"{settled} on {', '.join(names)}")
        try:
            answer = _evaluate(self, policy, names, folders)
        except OSError as error:  # of which datasets' failures to find or fetch something are kinds
            raise RunFailed(
                f"the harness could not read a task's data ({' '.join(str(error).split())}); run it where there is a "
                "network, or point a YAML task's dataset_path at local files"
            ) from error
        samples = list(_samples(answer))
        lines = (json.dumps(dict(zip(("task", "metric", "document", "value"), each, strict=True))) for each in samples)
        write_atomically(run.directory / SAMPLES_FILE, "".join(f"{line}\n" for line in lines))
        estimates = [
            self._estimate(settled, task, metric, value, content, samples)
            for task, content in answer["results"].items()
            for metric, value in content.items()
            if "_stderr" not in metric and isinstance(value, int | float) and "," in metric
        ]
        if not estimates:
            raise RunFailed(f"{', '.join(names)}: the harness measured nothing; see whether the tasks have metrics")
        rows = [as_row(each, None, settled) for each in estimates]
        write_rows(rows, run.directory / CORRELATIONS_FILE)
        return {
            "kind": self.kind,
            "policy": settled,
            "tasks": list(answer["results"]),
            "versions": dict(answer.get("versions", {})),
            "n_documents": {task: count["effective"] for task, count in answer.get("n-samples", {}).items()},
            "estimates": rows,
        }

    def _open(self, run: Run) -> tuple[Policy, str]:
        origin = self.policy.settled(run)
        policy, _ = origin.open(run.artifacts, self.seed, getattr(torch, origin.dtype))
        policy.model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        assert origin.path is not None  # SampledPolicy saw to it
        return policy, origin.path

    def _estimate(
        self,
        policy: str,
        task: str,
        metric: str,
        value: float,
        content: Mapping[str, Any],
        samples: "list[tuple[str, str, int, float]]",
    ) -> Estimate:
        """One number of the harness: with our interval where it is a mean over documents, else with its error's."""
        statistic = metric.removesuffix(",none")
        own = [(document, number) for name, kind, document, number in samples if (name, kind) == (task, metric)]
        if own and np.isclose(np.mean([number for _, number in own]), value):
            values = np.array([number for _, number in own])
            mean = mean_of(statistic, _ALL, values, np.isfinite(values))
            [estimate] = estimate_composites(
                np.array([document for document, _ in own]),
                [mean],
                scorer=policy,
                oracle=task,
                seed=self.seed,
                **self.bootstrap.model_dump(),
            )
            return estimate
        name, _, variant = metric.partition(",")
        known, error = _finite(value), _finite(content.get(f"{name}_stderr,{variant}"))  # "N/A" where there is none
        lower = upper = None
        reason: str | None = "the harness gives this number no standard error"
        if known is None:
            error, reason = None, f"the harness gives {value}"
        elif error is not None:
            lower, upper, reason = known - _NORMAL_95 * error, known + _NORMAL_95 * error, None
        return Estimate(
            scorer=policy,
            oracle=task,
            statistic=statistic,
            estimate=known,
            lower=lower,
            upper=upper,
            standard_error=error,
            n_prompts=len(own),
            n_responses=len(own),
            n_dropped=0,
            method="lm-eval's standard error, 95 % normal interval",
            undefined_reason=reason,
        )


def require_harness() -> None:
    """Raises InvalidInput where lm-evaluation-harness is not installed."""
    try:
        import lm_eval  # noqa: F401
    except ImportError as error:
        raise InvalidInput(
            f"downstream tasks need lm-evaluation-harness ({error}); pip install 'reward-assay[downstream]'"
        ) from error


def _named(tasks: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """What the harness calls the tasks, and in which folders it has to look for those of one's own."""
    names, folders = [], []
    for each in tasks:
        path = Path(each)
        if path.suffix not in {".yaml", ".yml"}:
            names.append(each)
            continue
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=_AnyTag)  # noqa: S506 - builds plain data only
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise InvalidInput(f"{each}: not a readable YAML task ({' '.join(str(error).split())})") from error
        if not isinstance(content, dict) or not isinstance(content.get("task"), str):
            raise InvalidInput(f"{each}: a task's file names it under `task`")
        names.append(content["task"])
        folders.append(str(path.absolute().parent))
    return names, folders


class _AnyTag(yaml.SafeLoader):
    """Reads a task's file without calling the functions that its ``!function`` tags name."""


_AnyTag.add_multi_constructor("!", lambda loader, suffix, node: None)


def _evaluate(recipe: DownstreamRecipe, policy: Policy, names: list[str], folders: list[str]) -> dict[str, Any]:
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=folders or None)
    unknown = [each for each in names if each not in manager.all_tasks]
    if unknown:
        raise InvalidInput(f"tasks: the harness knows no {', '.join(unknown)}; `lm-eval ls tasks` lists what it knows")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of being given a model instead of a name
    model = HFLM(pretrained=policy.model, tokenizer=policy.tokenizer, batch_size=recipe.batch_size)
    answer: dict[str, Any] | None = lm_eval.simple_evaluate(
        model=model,
        tasks=names,
        task_manager=manager,
        num_fewshot=recipe.few_shot,
        limit=recipe.limit,
        apply_chat_template=recipe.chat_template,
        bootstrap_iters=min(recipe.bootstrap.draws, 1000),  # for metrics that are no means
        random_seed=recipe.seed,
        numpy_random_seed=recipe.seed,
        torch_random_seed=recipe.seed,
        fewshot_random_seed=recipe.seed,
    )
    if answer is None:
        raise RunFailed("the harness returned nothing; only its first process does")
    return answer


def _samples(answer: Mapping[str, Any]) -> "Iterator[tuple[str, str, int, float]]":
    """``(task, metric, document, value)`` for every finite number that the harness logged of a document."""
    for task, rows in answer.get("samples", {}).items():
        for row in rows:
            for metric in row.get("metrics", []):
                if (value := _finite(row.get(metric))) is not None:
                    yield task, f"{metric},{row.get('filter', 'none')}", int(row["doc_id"]), value


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None
