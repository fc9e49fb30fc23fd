"""Tasks with a compliant response each, "response first": the constraints are read off a response just written."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainer.data.product_world.checker import satisfied
from trainer.data.product_world.grammar import Sentence, render
from trainer.data.product_world.task import Task
from trainer.data.product_world.vocabulary import AVOIDABLE, FACT_TEMPLATES, TONE_TEMPLATES, TONES
from trainer.data.product_world.worlds import LEVELS, SMALL, World

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Example:
    """A task and a response that satisfies all of it, as text and as the sentences it was made of."""

    task: Task
    sentences: tuple[Sentence, ...]
    world: World = SMALL

    @property
    def response(self) -> str:
        return render(list(self.sentences))


def sample_examples(
    split: Split,
    size: int,
    seed: int,
    levels: Sequence[int] = tuple(LEVELS),
    world: World = SMALL,
) -> list[Example]:
    """The first ``size`` examples of a split; each is a function of (split, seed, index, levels, world) alone.

    Splits are disjoint in their combinations of product and facts, whatever the seed.
    """
    return [_sample(split, seed, index, levels, world) for index in range(size)]


def sample_tasks(
    split: Split, size: int, seed: int, levels: Sequence[int] = tuple(LEVELS), world: World = SMALL
) -> list[Task]:
    """The tasks of ``sample_examples``."""
    return [example.task for example in sample_examples(split, size, seed, levels, world=world)]


def split_of(noun: str, facts: Sequence[tuple[str, str]]) -> Split:
    """The split to which a product with these facts belongs: 80 % train, 10 % validation, 10 % test."""
    key = "|".join([noun, *sorted(value for _, value in facts)])
    bucket = hashlib.sha256(key.encode()).digest()[0] % 10
    return "validation" if bucket == 8 else "test" if bucket == 9 else "train"


def _sample(split: Split, seed: int, index: int, levels: Sequence[int], world: World) -> Example:
    rng = random.Random(f"product-world/{seed}/{split}/{index}")
    while True:
        level = rng.choice(list(levels))
        noun = rng.choice(world.nouns)
        names = rng.sample(list(world.properties), world.levels[level].facts)
        facts = [(name, rng.choice(world.properties[name])) for name in names]
        if split_of(noun, facts) == split:
            return _write(rng, level, noun, facts, world)


def _write(rng: random.Random, level: int, noun: str, facts: list[tuple[str, str]], world: World) -> Example:
    rules = world.levels[level]
    avoid = rng.choice(AVOIDABLE) if rules.order else None
    sentences = [
        Sentence(rng.choice(_allowed(FACT_TEMPLATES, avoid)), noun, name, value)
        for name, value in rng.sample(facts, len(facts))
    ]
    tone = rng.choice(list(TONES)) if rules.tone else None
    if tone:
        template = rng.choice(_allowed(TONE_TEMPLATES, avoid))
        position = rng.randrange(1, len(sentences) + 1)  # never first: `start` is about a fact
        sentences.insert(position, Sentence(template, noun, tone_word=rng.choice(TONES[tone])))
    length = None
    if rules.length:
        words = sum(len(sentence.words()) for sentence in sentences)
        width = rng.randint(2, 4)
        low = words - rng.randint(0, width)
        length = (low, low + width)
    stated = [sentence.property for sentence in sentences if sentence.property]
    earlier, later = sorted(rng.sample(range(len(stated)), 2))
    task = Task(
        noun=noun,
        facts=tuple(facts),
        length=length,
        tone=tone,
        start=stated[0] if rules.start else None,
        before=(stated[earlier], stated[later]) if rules.order else None,
        avoid=(avoid,) if avoid else (),
        level=level,
    )
    example = Example(task, tuple(sentences), world)
    assert satisfied(task, example.response), (task, example.response)
    return example


def _allowed(templates: Sequence[str], avoid: str | None) -> list[str]:
    return [template for template in templates if avoid not in template.split()]
