"""From a prompt of the product world back to the task it states, so that wherever it stands it can be judged."""

from collections.abc import Callable
from typing import Literal

from trainer.data.product_world.checker import check, gold, satisfied
from trainer.data.product_world.task import Task
from trainer.errors import InvalidInput

Measure = Literal["gold", "satisfied", "share"]


def read_prompt(text: str) -> Task:
    """Inverse of ``render_prompt``, but for the level, which a prompt does not say. Raises InvalidInput."""
    try:
        return _read(text)
    except (ValueError, IndexError) as error:
        raise InvalidInput(
            f"{text[:60]!r} is not a prompt of the product-description world; its checker can judge no other"
        ) from error


def _read(text: str) -> Task:
    head, facts, *others = text.split(" | ")
    product, noun = head.split()
    if product != "product":
        raise ValueError(head)
    length: tuple[int, int] | None = None
    tone: str | None = None
    start: str | None = None
    before: tuple[str, str] | None = None
    avoid: tuple[str, ...] = ()
    for section in others:
        match section.split():
            case ["len", low, "to", high]:
                length = int(low), int(high)
            case ["tone", tone]:
                pass
            case ["start", start]:
                pass
            case [first, "before", second]:
                before = first, second
            case ["avoid", *words]:
                avoid = tuple(words[::2])
            case _:
                raise ValueError(section)
    pairs = tuple(_fact(fact) for fact in facts.split(" ; "))
    return Task(noun, pairs, length=length, tone=tone, start=start, before=before, avoid=avoid)


def _fact(text: str) -> tuple[str, str]:
    name, value = text.split()
    return name, value


def _share(task: Task, response: str) -> float:
    verdicts = check(task, response)
    return sum(verdicts.values()) / len(verdicts)


def _satisfied(task: Task, response: str) -> float:
    return float(satisfied(task, response))


MEASURES: dict[Measure, Callable[[Task, str], float]] = {"gold": gold, "satisfied": _satisfied, "share": _share}
"""Judgements in [0, 1]: constraints met and fluency in one number; 1 if all are met, else 0; the share that is met."""
