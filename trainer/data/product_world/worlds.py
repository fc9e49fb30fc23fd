"""Two sizes of the world: the one that runs on a CPU, and a larger one for policies of a hundred million parameters."""

from dataclasses import dataclass
from typing import Literal

from trainer.data.product_world.vocabulary import (
    FUNCTION_WORDS,
    MORE_NOUNS,
    MORE_PROPERTIES,
    NOUNS,
    PROMPT_WORDS,
    PROPERTIES,
    TONE_OF,
    TONES,
)

WorldName = Literal["small", "large"]


@dataclass(frozen=True)
class Level:
    """Which constraints tasks of one difficulty carry."""

    facts: int
    length: bool = False
    tone: bool = False
    start: bool = False
    order: bool = False
    """Also ``before`` and ``avoid``."""


def _all_constraints(facts: int) -> Level:
    return Level(facts, length=True, tone=True, start=True, order=True)


LEVELS: dict[int, Level] = {
    1: Level(facts=2),
    2: Level(facts=3, length=True),
    3: Level(facts=4, length=True, tone=True),
    4: Level(facts=4, length=True, tone=True, start=True),
    5: _all_constraints(5),
}


@dataclass(frozen=True, eq=False)
class World:
    """What tasks are made of."""

    nouns: tuple[str, ...]
    properties: dict[str, tuple[str, ...]]
    levels: dict[int, Level]
    largest_number: int
    """That a length can be given in."""
    max_tokens: int
    """Prompt and response together stay below."""

    def words(self) -> list[str]:
        """Every word of the world once, in a fixed order that token ids follow."""
        ordered = [
            ".",
            *PROMPT_WORDS,
            *FUNCTION_WORDS,
            *self.nouns,
            *self.properties,
            *(value for values in self.properties.values() for value in values),
            *TONES,
            *TONE_OF,
            *(str(number) for number in range(1, self.largest_number + 1)),
        ]
        return list(dict.fromkeys(ordered))


WORLDS: dict[WorldName, World] = {
    "small": World(NOUNS, PROPERTIES, LEVELS, largest_number=60, max_tokens=128),
    "large": World(
        (*NOUNS, *MORE_NOUNS),
        MORE_PROPERTIES,
        LEVELS | {6: _all_constraints(8), 7: _all_constraints(10), 8: _all_constraints(12)},
        largest_number=128,
        max_tokens=256,
    ),
}
SMALL = WORLDS["small"]
