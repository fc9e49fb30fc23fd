"""What GAPO makes of its reward model, as artifacts: the anchor, which is to be served, and the live one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.calibration import sigmoid
from trainer.data.rows import Preference, contrasts
from trainer.manifest import Artifact
from trainer.models.loading import make_probes
from trainer.models.reward_model import RewardModel
from trainer.recipe import Run
from trainer.recipes.classification import area_under_curve, calibration_error
from trainer.recipes.encoding import EncodedPreference
from trainer.recipes.playing import Played
from trainer.recipes.response_scores import ModelScores, mean_of
from trainer.recipes.reward_model import Loss, measure
from trainer.recipes.rounds import Judges, RoundsRecipe
from trainer.recipes.validation import scored_sides, validation_of
from trainer.rollouts import Rollout

_WHY_ANCHOR = (
    "serve this one: it was trained on accepted and rejected rows alone; generations that all count as wrong,"
    " right ones too, teach the live one that what looks like its data is right"
)
_WHY_NOT_LIVE = "trained against one policy, for its training; to score responses in general serve the anchor"


@dataclass(frozen=True)
class _Measured:
    metrics: dict[str, float]
    details: dict[str, Any]
    scores: list[float]
    """Of both sides of every held-out row."""


class PlayedRewardModels:
    """Publishes and measures both."""

    def __init__(
        self,
        recipe: RoundsRecipe,
        warm: Artifact,
        anchor: RewardModel,
        live: RewardModel,
        rows: Sequence[Preference],
        held_out: Sequence[EncodedPreference],
        run: Run,
    ) -> None:
        self._recipe, self._warm, self._anchor, self._live = recipe, warm, anchor, live
        self._rows, self._held_out, self._run = rows, held_out, run

    def on_the_way(self, rounds: int, every: int | None) -> None:
        """Publish the live model after every so many rounds; after the last it is published by ``at_the_end``."""
        if every is not None and rounds % every == 0 and rounds < self._recipe.rounds:
            self._publish_live(rounds, self._measure(self._live, "bce"), [], f"{self._run.id}/round-{rounds}")

    def at_the_end(self, played: Played, generations: Sequence[Rollout], judges: Judges) -> dict[str, Artifact]:
        """Publish both, measured on held-out rows and on what the final policy generates."""
        own = self._warm.manifest.details  # its weights are the warm-up's, and so is what their scores mean
        measured = self._measure(self._anchor, "bce" if own.get("loss") == "bce" else "bradley_terry")
        details = measured.details | {key: own.get(key) for key in ("loss", "contrasts")}
        anchor = self._recipe.publish(
            self._run,
            f"{self._recipe.name}/reward_model",
            "reward_model",
            self._warm.copy_files,  # what its own training measured too
            rows=self._rows,
            metrics=measured.metrics | _on_generations(self._anchor, generations, judges),
            details={**details, "role": "anchor", "serve_by_default": True, "why": _WHY_ANCHOR, "round": 0},
            probes=self._warm.manifest.probes,
            parents=[self._warm.as_parent("warm_up")],
        )
        measured = self._measure(self._live, "bce")
        measured.metrics.update(_on_generations(self._live, generations, judges))
        live = self._publish_live(played.rounds, measured, [anchor], None)
        return {"reward_model": anchor, "live_reward_model": live}

    def _publish_live(
        self,
        rounds: int,
        measured: _Measured,
        anchors: Sequence[Artifact],
        job: str | None,
    ) -> Artifact:
        served = {"anchor": anchors[0].reference} if anchors else {}
        pairs = [row.sides[0] for row in self._rows[:16]]
        return self._recipe.publish(
            self._run,
            f"{self._recipe.name}/live_reward_model",
            "reward_model",
            self._live.save,
            rows=self._rows,
            metrics=measured.metrics,
            details={
                **measured.details,
                "role": "live",
                "serve_by_default": False,
                "why": _WHY_NOT_LIVE,
                "round": rounds,
                **served,
            },
            probes=make_probes(self._live, pairs),
            parents=[self._warm.as_parent("warm_up"), *(anchor.as_parent("anchor") for anchor in anchors)],
            validation=validation_of(self._live, self._held_out, {"score": measured.scores}, self._recipe.seed),
            job=job,
        )

    def _measure(self, model: RewardModel, loss: Loss) -> _Measured:
        """Held-out accuracy, overall and per kind of contrast, calibration error, and the calibration fitted there.

        The error is of sigmoid(score), which the rounds train and pay, before the temperature.
        """
        scores = scored_sides(model, self._held_out)
        metrics, calibration = measure(self._held_out, scores, loss)
        if scores:
            right = [side == 0 for _ in self._held_out for side in (0, 1)]
            metrics["held_out/calibration_error"] = calibration_error([sigmoid(score) for score in scores], right)
        details = {**model.details(), "loss": loss, "contrasts": contrasts(self._rows), "calibration": calibration}
        return _Measured(metrics, details, scores)


def _on_generations(model: RewardModel, generations: Sequence[Rollout], judges: Judges) -> dict[str, float]:
    """How a model's scores of the policy's own responses agree with the checker, where there is one."""
    checker = judges.of.get("oracle/satisfied")
    if checker is None or not generations:
        return {}
    prompts, responses = [each.prompt.prompt for each in generations], [each.response for each in generations]
    right: list[float] = []
    wrong: list[float] = []
    for score, verdict in zip(ModelScores(model)(prompts, responses), checker(prompts, responses), strict=True):
        if score is not None:
            (right if verdict else wrong).append(score)
    probabilities = [sigmoid(score) for score in [*right, *wrong]]
    found = {
        "generations/responses": float(len(probabilities)),
        "generations/auc": area_under_curve(right, wrong),
        "generations/calibration_error": calibration_error(probabilities, [True] * len(right) + [False] * len(wrong)),
        "generations/probability_of_right": mean_of([sigmoid(score) for score in right]),
        "generations/probability_of_wrong": mean_of([sigmoid(score) for score in wrong]),
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}
