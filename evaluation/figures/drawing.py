"""A figure with what a reader needs beside it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evaluation.figures.evidence import Evidence
from evaluation.figures.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """What a page, a report or an image file shows."""

    name: str
    """Distinct among the drawings of a run, and fit to be a file's name."""

    title: str
    caption: str
    """What to read off it."""

    figure: Figure
    oracle: str | None = None
    """By whose judgement, where it is about one oracle."""


Builder = Callable[[Evidence], Iterator[Drawing]]
"""Draws what the evidence allows: nothing where its part is missing."""


def file_stem(*parts: str) -> str:
    """Words of a title as a file's name: ``scatter-product_world-demo-encoder``."""
    text = "-".join(parts)
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in text).strip("-.")
