"""A task: a product, its facts and the constraints on how to describe it."""

from dataclasses import asdict, dataclass
from typing import Any, Self

Fact = tuple[str, str]


@dataclass(frozen=True)
class Task:
    """What a response must do. ``facts`` are (property, value); absent constraints are None or empty."""

    noun: str
    facts: tuple[Fact, ...]
    length: tuple[int, int] | None = None
    """Fewest and most words, full stops not counted."""
    tone: str | None = None
    start: str | None = None
    """Property of the first sentence."""
    before: tuple[str, str] | None = None
    """First property must be mentioned before the second."""
    avoid: tuple[str, ...] = ()
    level: int = 1

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which ``from_json`` makes an equal task."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Inverse of ``to_json``, also after a round trip through JSON, where tuples became lists."""
        pair = content.get("length")
        before = content.get("before")
        return cls(
            noun=content["noun"],
            facts=tuple((name, value) for name, value in content["facts"]),
            length=None if pair is None else (pair[0], pair[1]),
            tone=content.get("tone"),
            start=content.get("start"),
            before=None if before is None else (before[0], before[1]),
            avoid=tuple(content.get("avoid", ())),
            level=content.get("level", 1),
        )


def render_prompt(task: Task) -> str:
    """The prompt as models read it: words of the closed vocabulary, optional sections joined by ``|``."""
    sections = [f"product {task.noun}", " ; ".join(f"{name} {value}" for name, value in task.facts)]
    if task.length:
        sections.append(f"len {task.length[0]} to {task.length[1]}")
    if task.tone:
        sections.append(f"tone {task.tone}")
    if task.start:
        sections.append(f"start {task.start}")
    if task.before:
        sections.append(f"{task.before[0]} before {task.before[1]}")
    if task.avoid:
        sections.append("avoid " + " ; ".join(task.avoid))
    return " | ".join(sections)


def describe(task: Task) -> str:
    """The same task as a sentence for people."""
    article = "an" if task.noun[0] in "aeiou" else "a"
    facts = ", ".join(f"{name} {value}" for name, value in task.facts)
    parts = [f"Describe {article} {task.noun} using exactly these facts: {facts}."]
    if task.length:
        parts.append(f"Use {task.length[0]} to {task.length[1]} words.")
    if task.tone:
        parts.append(f"Keep a {task.tone} tone.")
    if task.start:
        parts.append(f"Begin with its {task.start}.")
    if task.before:
        parts.append(f"Mention its {task.before[0]} before its {task.before[1]}.")
    if task.avoid:
        parts.append("Do not use " + " or ".join(f"“{word}”" for word in task.avoid) + ".")
    return " ".join(parts)
