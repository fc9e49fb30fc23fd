"""The batches on which a live reward model is trained: accepted, rejected and generated in stated shares."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Tag

from trainer.batches import BatchPlan
from trainer.data.text import Encoded
from trainer.errors import InvalidInput
from trainer.recipe import Model, by_kind
from trainer.recipes.encoding import EncodedPreference

Origin = Literal["accepted", "rejected", "generated"]
ORIGINS: tuple[Origin, ...] = ("accepted", "rejected", "generated")


class ZeroLabel(Model):
    """Every generation counts as wrong (the paper): a right one too, which is then a mislabelled negative."""

    kind: Literal["zero"] = "zero"


class OracleLabel(Model):
    """1 for a generation that meets all constraints, 0 for another; the product world's checker decides."""

    kind: Literal["oracle"]


class SoftLabel(Model):
    """Every generation counts as right to the degree ``alpha``."""

    kind: Literal["soft"]
    alpha: float = Field(0.1, ge=0, le=1)


def _named(content: Any) -> Any:  # noqa: ANN401 - pydantic passes whatever was sent
    return {"kind": content} if isinstance(content, str) else content


GeneratedLabel = Annotated[
    Annotated[ZeroLabel, Tag("zero")] | Annotated[OracleLabel, Tag("oracle")] | Annotated[SoftLabel, Tag("soft")],
    by_kind("zero"),
    BeforeValidator(_named),
]
"""``zero``, ``oracle`` and ``soft`` may stand for themselves where nothing else is to be said of them."""


@dataclass(frozen=True)
class Labelled:
    """A pair as the reward model reads it, the probability that it should give it, and where it is from."""

    encoded: Encoded
    label: float
    origin: Origin


def counts(size: int, accepted_share: float, generated_share: float) -> dict[Origin, int]:
    """How many of ``size`` rows are accepted, generated and, the rest, rejected.

    Shares are met as closely as whole rows allow, and one above zero is never rounded away. Raises InvalidInput where
    ``size`` has no room for that or the shares exceed 1.
    """
    shares: dict[Origin, float] = {
        "accepted": accepted_share,
        "rejected": 1 - accepted_share - generated_share,
        "generated": generated_share,
    }
    if shares["rejected"] < -1e-9:
        raise InvalidInput(f"accepted_share {accepted_share} and generated_share {generated_share} exceed 1 together")
    wanted = {origin: max(share, 0.0) * size for origin, share in shares.items()}
    found = {origin: int(amount + 1e-9) for origin, amount in wanted.items()}
    for origin in sorted(ORIGINS, key=lambda each: round(found[each] - wanted[each], 9))[: size - sum(found.values())]:
        found[origin] += 1
    if missing := [origin for origin in ORIGINS if wanted[origin] > 1e-9 and not found[origin]]:
        raise InvalidInput(
            f"a batch of {size} has no room for a {missing[0]} row at a share of {shares[missing[0]]:.3g}; raise the"
            " batch size"
        )
    return found


class AdversarialBatches:
    """``batch(step, generations)``: rows of the data as they come, epoch after epoch, and generations at random.

    A rejected row is that of an accepted one in its batch, so that the two differ in nothing but a constraint.
    """

    def __init__(self, rows: Sequence[EncodedPreference], mix: dict[Origin, int], seed: int) -> None:
        self._rows = rows
        self._mix = mix
        self._seed = seed
        self._plan = BatchPlan([1] * len(rows), max(mix["accepted"], mix["rejected"], 1), seed)

    def batch(self, step: int, generations: Sequence[Labelled]) -> list[Labelled]:
        """The rows of one step, a function of seed, step and generations; fewer at the end of an epoch, for which
        others fill in."""
        rng = random.Random(f"adversarial/{self._seed}/{step}")
        picked = [self._rows[index].pair for index in self._plan[step]]
        while len(picked) < max(self._mix["accepted"], self._mix["rejected"]):
            picked.append(rng.choice(self._rows).pair)
        generated = self._draw(rng, generations)
        return [
            *(Labelled(accepted, 1.0, "accepted") for accepted, _ in picked[: self._mix["accepted"]]),
            *(Labelled(rejected, 0.0, "rejected") for _, rejected in picked[: self._mix["rejected"]]),
            *generated,
        ]

    def _draw(self, rng: random.Random, generations: Sequence[Labelled]) -> list[Labelled]:
        amount = self._mix["generated"]
        if amount and not generations:
            raise InvalidInput("there are no generations to train the reward model on")
        if amount <= len(generations):
            return rng.sample(list(generations), amount)
        return rng.choices(generations, k=amount)
