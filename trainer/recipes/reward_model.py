"""Reward models from preferences: encoder-only or decoder, Bradley-Terry or pointwise."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from trainer.calibration import fit_temperature
from trainer.data.rows import Preference, contrasts
from trainer.errors import InvalidInput
from trainer.loop import Learner
from trainer.models.loading import make_probes
from trainer.models.reward_model import RewardModel
from trainer.models.starting_point import BackboneOrigin
from trainer.objectives.bradley_terry import bradley_terry, pointwise_bce, preference_metrics
from trainer.recipe import DataPart, Run
from trainer.recipes.encoding import EncodedPreference, encode_preferences, training_device
from trainer.recipes.preferential_data import refuse_cut
from trainer.recipes.publishing import summary
from trainer.recipes.reading import count_disagreements, read_preferences
from trainer.recipes.training import TrainingRecipe
from trainer.recipes.validation import scored_sides, validation_of

Loss = Literal["bradley_terry", "bce"]


class RewardModelRecipe(TrainingRecipe):
    """Train one scalar score on preferences; publishes the reward model with its held-out accuracy per kind."""

    kind: Literal["reward_model"]
    backbone: BackboneOrigin
    loss: Loss = "bradley_terry"
    centring: float = Field(0.0, ge=0)
    """Weight of the term that pins the mean score to zero (Bradley-Terry only); TRL's center_rewards_coefficient."""
    margin: bool = False
    """Ask of each pair's scores to differ by more than the row's ``margin`` or, where it has none, its
    ``score_chosen - score_rejected`` (Bradley-Terry only). TRL does so wherever there is a column ``margin``."""

    @model_validator(mode="after")
    def _terms_of_bradley_terry(self) -> Self:
        if self.loss == "bce" and (self.margin or self.centring):
            raise ValueError("margin and centring belong to loss bradley_terry; leave them out")
        return self

    def run(self, run: Run) -> dict[str, Any]:
        rows, held_out = read_preferences(self.data, run)
        model, parent = self.backbone.settled(run).open(run.artifacts, self.seed)
        model.model.to(training_device())
        encoded = self._encode(model, rows, run)
        measured = self._encode(model, held_out, run, "held_out")
        if self.margin and any(row.margin is None for row in encoded):
            raise InvalidInput(
                "margin needs a number in field 'margin', or in 'score_chosen' and 'score_rejected', of every row",
                pointer="/margin",
            )
        learner = _Learner(model, self)
        steps = self.train(learner, encoded, [row.tokens for row in encoded], run)
        model.network.eval()
        scores = scored_sides(model, measured)
        metrics, calibration = measure(measured, scores, self.loss)
        metrics |= count_disagreements(self.data, rows)
        artifact = self.publish(
            run,
            self.name,
            "reward_model",
            model.save,
            rows=rows,
            metrics=metrics,
            details={
                **model.details(),
                "loss": self.loss,
                "contrasts": contrasts(rows),
                "calibration": calibration,
            },
            probes=make_probes(model, [row.sides[0] for row in held_out or rows]),
            parents=[parent.as_parent("backbone")] if parent else [],
            validation=validation_of(model, measured, {"score": scores}, self.seed),
        )
        return summary({"reward_model": artifact}, metrics, steps)

    def _encode(
        self, model: RewardModel, rows: Sequence[Preference], run: Run, part: DataPart = "training"
    ) -> list[EncodedPreference]:
        encoded = encode_preferences(model, rows, self.data, run, part)
        if "prompts" in contrasts(rows):
            refuse_cut(encoded, model.max_tokens)
        return encoded


class _Learner(Learner[EncodedPreference]):
    def __init__(self, model: RewardModel, recipe: RewardModelRecipe) -> None:
        self.model = model
        self.recipe = recipe
        self.trained = model.network.train()

    def backward(self, rows: Sequence[EncodedPreference], share: float, *, last: bool) -> dict[str, Tensor]:
        sides = [*(row.pair[0] for row in rows), *(row.pair[1] for row in rows)]
        scores: Tensor = self.trained(self.model.collate(sides))
        chosen, rejected = scores.chunk(2)
        if self.recipe.loss == "bce":
            loss = pointwise_bce(chosen, rejected).mean()
        else:
            margin = chosen.new_tensor([row.margin or 0.0 for row in rows]) if self.recipe.margin else 0.0
            loss = bradley_terry(chosen, rejected, margin, centring=self.recipe.centring).mean()
        (share * loss).backward()  # type: ignore[no-untyped-call]
        return preference_metrics(loss, chosen, rejected)


def measure(
    rows: Sequence[EncodedPreference], scores: Sequence[float], loss: Loss
) -> tuple[dict[str, float], dict[str, float] | None]:
    """Held-out accuracy, overall and per kind of contrast, and the calibration fitted there.

    ``scores`` are of both sides of every row, chosen first.

    A pointwise score is the logit of a probability of its own, so its temperature is fitted on every single side. A
    Bradley-Terry score is one only up to what the two sides share, so its temperature is fitted on differences and
    good for nothing else.
    """
    if not rows:
        return {}, None
    chosen, rejected = scores[::2], scores[1::2]
    right: dict[str, list[float]] = defaultdict(list)
    for row, winner, loser in zip(rows, chosen, rejected, strict=True):
        right[row.kind].append(float(winner > loser) + 0.5 * (winner == loser))
    correct = [value for values in right.values() for value in values]
    metrics = {"held_out/accuracy": sum(correct) / len(correct), "held_out/pairs": float(len(correct))}
    metrics |= {f"held_out/accuracy/{kind}": sum(values) / len(values) for kind, values in sorted(right.items())}
    if loss == "bce":  # its logit was trained to be a probability's, fitted temperature or not
        return metrics, {"temperature": fit_temperature([*chosen, *(-score for score in rejected)]) or 1.0}
    temperature = fit_temperature([winner - loser for winner, loser in zip(chosen, rejected, strict=True)])
    return metrics, None if temperature is None else {"temperature": temperature}
