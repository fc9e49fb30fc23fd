"""A short mark of each prompt, by which runs that were asked the same can be told without their texts."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.files import write_atomically

if TYPE_CHECKING:
    from trainer.data.text import Prompt  # comes with transformers, which commands that list jobs do without

MARKS_FILE = "prompt_marks.json"
"""Of a run that has prompts and no ``prompts.jsonl``: the marks of all its prompts, a list."""


def mark_of(prompt: "Prompt | None", prompt_id: str) -> str:
    """The first 64 bits, as 16 hex digits, of the SHA-256 of a prompt's text or messages, or else of its id.

    A text is the conversation that a user begins with it. Ids are not told apart by the file they are of: two files
    that number their prompts from 0 and tell no texts look as if they were the same.
    """
    known = {"prompt_id": prompt_id} if prompt is None else prompt
    if isinstance(known, list) and len(known) == 1 and known[0].get("role") == "user":
        known = known[0].get("content", known)
    text = json.dumps(known, sort_keys=True)  # ASCII, so that half a surrogate has a mark too
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def numbered(prompts: "Mapping[str, Prompt | None]") -> dict[str, int]:
    """By id the number of its prompt, from 0: equal prompts have one number, whatever they are called."""
    numbers: dict[str, int] = {}
    return {name: numbers.setdefault(mark_of(prompt, name), len(numbers)) for name, prompt in prompts.items()}


def repeated(n_ids: int, n_prompts: int) -> list[str]:
    """A notice where ids outnumber prompts."""
    if n_ids == n_prompts:
        return []
    return [f"{n_ids} prompt ids stand for {n_prompts} different prompts; what is asked twice counts as one prompt"]


def write_marks(marks: Iterable[str], directory: Path) -> None:
    """Leave ``prompt_marks.json`` in a run's directory."""
    write_atomically(directory / MARKS_FILE, json.dumps(sorted(set(marks))))
