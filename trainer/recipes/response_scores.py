"""What judges a policy's responses while it is trained: a published scorer, a live reward model, an exact checker."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import torch
from pydantic import Tag

from trainer.data.product_world.reading import MEASURES, Measure, read_prompt
from trainer.data.text import Prompt, as_text
from trainer.errors import InvalidInput, OverlongInput, RunFailed
from trainer.manifest import Artifact
from trainer.models.loading import load_pair_model
from trainer.models.pair_model import PairModel, score_all
from trainer.outside import RegisteredScorer
from trainer.pins import settle_versions
from trainer.recipe import Model, Run, by_kind
from trainer.rollouts import Rollout

Score = float | None
"""None where a response cannot be scored."""


class ResponseScores(Protocol):
    """Judges texts. None stands for a response that cannot be scored, such as an empty one."""

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Score]: ...


class ScorerReward(Model):
    """A published reward model or discriminator, frozen."""

    kind: Literal["artifact"] = "artifact"
    path: RegisteredScorer
    """NAME[@VERSION][:OUTPUT]; without an output the scorer's first one counts."""


class ProductWorldReward(Model):
    """The exact checker of the product-description world, for prompts of that world."""

    kind: Literal["product_world"]
    measure: Measure = "gold"
    """``gold``: constraints met and fluency in one number; ``satisfied``: 1 if all are met, else 0; ``share``: how
    many of the constraints are met. All within [0, 1]."""


AnyReward = Annotated[
    Annotated[ScorerReward, Tag("artifact")] | Annotated[ProductWorldReward, Tag("product_world")],
    by_kind("artifact"),
]


class ModelScores:
    """Scores of a model that reads the text with its own tokenizer, whatever the policy's is."""

    def __init__(self, model: PairModel, output: str | None = None) -> None:
        self.model = model
        self._output = output or model.outputs[0]

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Score]:
        encoded = {}
        for index, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
            if not response.strip():
                continue
            try:
                # nothing is cut: a constraint dropped without a word would make a wrong response right
                encoded[index] = self.model.encode(prompt, response, "error")
            except OverlongInput:
                continue
        scores: list[Score] = [None] * len(prompts)
        found = score_all(self.model, list(encoded.values()), [self._output])
        for index, (score,) in zip(encoded, found, strict=True):
            if not math.isfinite(score):
                raise RunFailed(f"a response was scored {score}; the reward model is broken, train it again")
            scores[index] = score
        return scores


class CheckerScores:
    """Judgements of the product-description world's checker."""

    def __init__(self, measure: Measure) -> None:
        self._judge = MEASURES[measure]

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Score]:
        return [
            self._judge(read_prompt(as_text(prompt)), response)
            for prompt, response in zip(prompts, responses, strict=True)
        ]


def open_reward(
    reward: ScorerReward | ProductWorldReward, run: Run, device: torch.device
) -> tuple[ResponseScores, Artifact | None]:
    """The scorer at the version this run began with, and its artifact if it is one.

    Raises NotFound, BrokenArtifact, or InvalidInput for an output that it does not have.
    """
    if isinstance(reward, ProductWorldReward):
        return CheckerScores(reward.measure), None
    pinned = settle_versions([reward.path], run.artifacts, run.directory)[reward.path]
    name, _, output = pinned.partition(":")
    artifact = run.artifacts.open(name)
    model = load_pair_model(artifact, run.artifacts, device)
    if output and output not in model.outputs:
        raise InvalidInput(
            f"{artifact.reference} has no output {output!r}; it has {', '.join(model.outputs)}",
            pointer="/reward_model/path",
        )
    return ModelScores(model, output or None), artifact


def score_rollouts(scores: ResponseScores, rollouts: Sequence[Rollout]) -> list[Score]:
    """Judge rollouts. Raises RunFailed if not one of them can be scored."""
    found = scores([rollout.prompt.prompt for rollout in rollouts], [rollout.response for rollout in rollouts])
    if all(score is None for score in found):
        raise RunFailed(
            f"none of {len(found)} responses could be scored: all are empty or, with their prompts, longer than the"
            " reward model's window; train the policy further, or lower ppo.max_response_tokens"
        )
    return found


def mean_of(scores: Sequence[Score]) -> float:
    """Over what could be scored; NaN for nothing."""
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else math.nan
