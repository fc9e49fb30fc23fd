"""A figure that a page leaves room for; the page's script asks for it once somebody comes near."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Later:
    """Its heading, and where it and its numbers come from, below the path prefix."""

    name: str
    title: str
    json: str
    csv: str
