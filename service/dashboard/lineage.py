"""What an artifact was made from and what was made from it, laid out as a drawing from left to right."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trainer.artifacts import Artifact

_WIDTH, _HEIGHT = 232, 46
"""Of a box, in the drawing's units, which are pixels."""
_ACROSS, _DOWN = 92, 18
"""Between boxes."""
_LETTERS = 28
"""Of a name that fit into a box."""


@dataclass(frozen=True)
class Box:
    """An artifact in the drawing."""

    reference: str
    kind: str
    """Empty for one that is not here any more."""
    x: int
    y: int
    here: bool
    """Whether the page is about it."""

    @property
    def short(self) -> str:
        """The reference, its beginning left out where it is long: names differ in their ends."""
        return self.reference if len(self.reference) <= _LETTERS else f"…{self.reference[-_LETTERS + 1 :]}"


@dataclass(frozen=True)
class Line:
    """From a parent to what was made of it."""

    path: str
    role: str
    x: int
    y: int
    """Where the role is written."""


@dataclass(frozen=True)
class Lineage:
    """The whole drawing."""

    boxes: list[Box]
    lines: list[Line]
    width: int
    height: int
    box_width: int = _WIDTH
    box_height: int = _HEIGHT


def lineage(artifact: Artifact, everything: Iterable[Artifact]) -> Lineage | None:
    """All ancestors and descendants of ``artifact``; None where it has neither.

    A column holds what is the same number of steps from the oldest ancestor; parents stand left of what was made of
    them.
    """
    known = {each.reference: each for each in everything} | {artifact.reference: artifact}
    parents = {reference: _parents(each) for reference, each in known.items()}
    family = _reached(artifact.reference, parents) | _reached(artifact.reference, _inverted(parents))
    if len(family) == 1:
        return None
    columns: dict[int, list[str]] = {}
    depths: dict[str, int] = {}
    for reference in sorted(family):
        columns.setdefault(_depth(reference, parents, family, depths), []).append(reference)
    places = _places(columns, parents)
    boxes = [
        Box(
            reference,
            known[reference].manifest.kind if reference in known else "",
            x,
            y,
            reference == artifact.reference,
        )
        for reference, (x, y) in places.items()
    ]
    lines = [
        _line(places[parent], places[child], role)
        for child in places
        for parent, role in parents.get(child, {}).items()
        if parent in places
    ]
    return Lineage(boxes, lines, max(box.x for box in boxes) + _WIDTH, max(box.y for box in boxes) + _HEIGHT)


def _parents(artifact: Artifact) -> dict[str, str]:
    """Roles by reference; an artifact that is a parent in two ways has both."""
    roles: dict[str, list[str]] = {}
    for parent in artifact.manifest.parents:
        roles.setdefault(f"{parent.name}@{parent.version}", []).append(parent.role.replace("_", " "))
    return {reference: ", ".join(named) for reference, named in roles.items()}


def _inverted(parents: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    children: dict[str, dict[str, str]] = {}
    for child, its in parents.items():
        for parent, role in its.items():
            children.setdefault(parent, {})[child] = role
    return children


def _reached(start: str, edges: Mapping[str, Mapping[str, str]]) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        new = edges.get(waiting.pop(), {}).keys() - found
        found |= new
        waiting.extend(new)
    return found


def _depth(reference: str, parents: Mapping[str, Mapping[str, str]], family: set[str], depths: dict[str, int]) -> int:
    """Steps from the oldest ancestor; no artifact descends from itself, for digests of parents are in manifests."""
    if reference not in depths:
        above = [_depth(parent, parents, family, depths) for parent in parents.get(reference, {}) if parent in family]
        depths[reference] = max(above, default=-1) + 1
    return depths[reference]


def _places(columns: Mapping[int, list[str]], parents: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[int, int]]:
    """Corner of each box; a column is ordered by where its parents stand, so that few lines cross."""
    places: dict[str, tuple[int, int]] = {}
    tallest = max(map(len, columns.values()))
    for depth in sorted(columns):

        def middle_of_parents(reference: str) -> float:
            above = [places[parent][1] for parent in parents.get(reference, {}) if parent in places]
            return sum(above) / len(above) if above else 0.0

        ordered = sorted(columns[depth], key=middle_of_parents)
        top = (tallest - len(ordered)) * (_HEIGHT + _DOWN) // 2
        for row, reference in enumerate(ordered):
            places[reference] = depth * (_WIDTH + _ACROSS), top + row * (_HEIGHT + _DOWN)
    return places


def _line(parent: tuple[int, int], child: tuple[int, int], role: str) -> Line:
    x0, y0 = parent[0] + _WIDTH, parent[1] + _HEIGHT // 2
    x1, y1 = child[0], child[1] + _HEIGHT // 2
    bend = (x1 - x0) // 2
    return Line(f"M{x0} {y0}C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}", role, x1 - 8, y1 - 6)
