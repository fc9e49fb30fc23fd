"""What is measured on held-out preferences, for the artifact to carry."""

from collections.abc import Mapping, Sequence

from trainer.models.pair_model import PairModel, score_all
from trainer.models.validation import HeldOut, validate
from trainer.recipes.encoding import EncodedPreference
from trainer.validation_scores import ValidationScores


def scored_sides(model: PairModel, rows: Sequence[EncodedPreference]) -> list[float]:
    """The first output's score of every side there is, row by row, chosen first."""
    sides = [side for row in rows for side in row.sides]
    return [score for (score,) in score_all(model, sides, model.outputs[:1])]


def validation_of(
    model: PairModel, rows: Sequence[EncodedPreference], known: Mapping[str, Sequence[float]], seed: int
) -> ValidationScores | None:
    """As ``validate``, of rows made of texts. ``known`` are scores of every side, row by row, by output."""
    held_out: list[HeldOut] = []
    for row in rows:
        assert row.source is not None
        for pair, encoded in zip(row.source.sides, row.sides, strict=True):
            scores = {output: column[len(held_out)] for output, column in known.items()}
            held_out.append(HeldOut(pair, row.source.sides[0].prompt, encoded, scores))
    return validate(model, held_out, seed)
