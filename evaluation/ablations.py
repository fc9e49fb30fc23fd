"""A prompt without each of its constraints in turn: what a scorer is asked to find out which of them it minds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.data.product_world.reading import read_prompt
from trainer.data.product_world.task import Fact, Task, render_prompt
from trainer.errors import InvalidInput


@dataclass(frozen=True)
class Ablation:
    """One constraint, and the prompt without it."""

    constraint: str
    """As the prompt writes it."""
    prompt: str | None
    """None where it cannot be left out; ``reason`` then says why."""
    reason: str | None = None


def ablate_listed(prompt: str, constraints: Sequence[str], separator: str) -> tuple[str, list[Ablation]]:
    """The whole prompt, which is ``prompt`` and the constraints joined by ``separator``, and it without each."""
    parts = [prompt, *constraints]
    return separator.join(parts), [
        Ablation(constraint, separator.join([*parts[:position], *parts[position + 1 :]]))
        for position, constraint in enumerate(constraints, start=1)
    ]


def ablate_product_world(prompt: str) -> list[Ablation]:
    """A prompt of the product-description world without each fact, section and word to avoid, all else unchanged.

    Raises InvalidInput for a prompt of elsewhere, or with sections in another order than the world writes them.
    """
    task = read_prompt(prompt)
    if (usual := render_prompt(task)) != prompt:
        raise InvalidInput(f"the prompt is not written as its world writes it, which is {usual!r}")
    return [*_facts(task), *_sections(task)]


def _facts(task: Task) -> Iterator[Ablation]:
    for position, (name, value) in enumerate(task.facts):
        others = (*task.facts[:position], *task.facts[position + 1 :])
        reason = _why_needed(task, name, others)
        yield Ablation(f"{name} {value}", None if reason else render_prompt(replace(task, facts=others)), reason)


def _why_needed(task: Task, name: str, others: Sequence[Fact]) -> str | None:
    if not others:
        return "it is the only fact, and a prompt of the product-description world states at least one"
    if name in dict(others):
        return None
    if name == task.start:
        asked = f"start {name}"
    elif task.before and name in task.before:
        asked = " before ".join(task.before)
    else:
        return None
    return f"{asked!r} speaks of it: without this fact no response could satisfy the prompt"


def _sections(task: Task) -> Iterator[Ablation]:
    bare = Task(task.noun, task.facts)
    for field in ("length", "tone", "start", "before"):
        alone: dict[str, Any] = {field: getattr(task, field)}
        without: dict[str, Any] = {field: None}
        if alone[field] is not None:
            yield _section(bare, replace(bare, **alone), replace(task, **without))
    for word in task.avoid:
        others = tuple(other for other in task.avoid if other != word)
        yield _section(bare, replace(bare, avoid=(word,)), replace(task, avoid=others))


def _section(bare: Task, alone: Task, without: Task) -> Ablation:
    """The section that ``alone`` has and ``bare`` has not, left out in ``without``."""
    return Ablation(render_prompt(alone).removeprefix(f"{render_prompt(bare)} | "), render_prompt(without))
