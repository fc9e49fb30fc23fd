"""Score held-out responses as the scoring API would, for an artifact to carry: see ``trainer.validation_scores``."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainer.data.rows import Pair
from trainer.data.text import Encoded, Prompt
from trainer.errors import OverlongInput
from trainer.models.pair_model import PairModel, score_all
from trainer.validation_scores import ValidationScores

MOST_RESPONSES = 1000
"""A distribution function of so many responses is known within 0.04 or so; a few hundred prompts."""


@dataclass(frozen=True)
class HeldOut:
    """A held-out response, with the scores it has already where it was read."""

    pair: Pair
    row_prompt: Prompt
    """What it is held out with: its own prompt or, where a row of the data contrasts two prompts, the row's first."""
    encoded: Encoded | None = None
    """How it was read."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """By output, as read so."""


def validate(model: PairModel, held_out: Sequence[HeldOut], seed: int) -> ValidationScores | None:
    """Scores, by every output, of a random sample of prompts with all their responses.

    A score that is there is taken over where serving reads the same tokens; others cost a forward pass. A response
    that cannot be served for its length is left out. None where fewer than two prompts are left, and where a score
    is not finite: nothing could be compared with such a sample.
    """
    served: list[tuple[HeldOut, Encoded]] = []
    for each in _sample(held_out, seed):
        try:
            served.append((each, model.encode(each.pair.prompt, each.pair.response, "truncate_prompt")))
        except OverlongInput:
            continue
    numbers = {key: number for number, key in enumerate(dict.fromkeys(_key(each) for each, _ in served))}
    scores = _scores(model, served)
    if len(numbers) < 2 or not all(math.isfinite(score) for row in scores for score in row.values()):
        return None
    return ValidationScores(
        prompt=[numbers[_key(each)] for each, _ in served],
        characters=[len(each.pair.response) for each, _ in served],
        cut=[encoded.truncated_tokens > 0 for _, encoded in served],
        scores={output: [row[output] for row in scores] for output in model.outputs},
    )


def _sample(held_out: Sequence[HeldOut], seed: int) -> list[HeldOut]:
    """Whole prompts in random order, as far as there is room."""
    by_prompt: dict[str, list[HeldOut]] = {}
    for each in held_out:
        by_prompt.setdefault(_key(each), []).append(each)
    prompts = list(by_prompt.values())
    random.Random(f"validation/{seed}").shuffle(prompts)
    sample: list[HeldOut] = []
    for responses in prompts:
        if len(sample) + len(responses) <= MOST_RESPONSES:
            sample += responses
    return sample


def _scores(model: PairModel, served: Sequence[tuple[HeldOut, Encoded]]) -> list[dict[str, float]]:
    """By output, for each response; what lacks the same outputs is read together."""
    found = [dict(each.scores) if encoded == each.encoded else {} for each, encoded in served]
    lacking: dict[tuple[str, ...], list[int]] = {}
    for index, known in enumerate(found):
        lacking.setdefault(tuple(output for output in model.outputs if output not in known), []).append(index)
    for outputs, places in lacking.items():
        rows = score_all(model, [served[place][1] for place in places], outputs) if outputs else [[] for _ in places]
        for place, row in zip(places, rows, strict=True):
            found[place] |= dict(zip(outputs, row, strict=True))
    return found


def _key(each: HeldOut) -> str:
    return json.dumps(each.row_prompt)
