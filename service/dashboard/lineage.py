"""What an artifact was made from and what was made from it, laid out as a drawing from left to right."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainer.manifest import Artifact

_WIDTH, _HEIGHT = 232, 46
"""Of a box, in the drawing's units, which are pixels."""
_BEND, _DOWN = 60, 18
"""Between boxes: across, where lines get from row to row before any role is written, and down."""
_APART = 18
"""Lines that end at one box, each with its role written above it."""
_LETTERS = 28
"""Of a name that fit into a box."""
_LETTER, _ASIDE = 7, 8
"""Of a role, as wide as it may be, and what is between it and its box."""

Edge = tuple[str, str]
"""Parent and child."""
Passage = tuple[str, str, int]
"""Where the line of an edge passes a column between the two."""


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
    box_height: int
    """Alike for all, and room for the lines that end at any."""
    box_width: int = _WIDTH


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
    depths: dict[str, int] = {}
    for reference in sorted(family):
        _depth(reference, parents, family, depths)
    edges = [(parent, child) for child in depths for parent in parents.get(child, {}) if parent in family]
    ends = Counter(child for _, child in edges)
    tall = max(_HEIGHT, _APART * (max(ends.values()) + 1))
    across = _WIDTH + _BEND + 2 * _ASIDE + _LETTER * max(len(parents[child][parent]) for parent, child in edges)
    places = _places(depths, edges, across, tall + _DOWN)
    boxes = [
        Box(name, known[name].manifest.kind if name in known else "", *places[name], here=name == artifact.reference)
        for name in depths
    ]
    lines = [_line(edge, edges, places, tall, parents[edge[1]][edge[0]]) for edge in edges]
    right, low = (max(place[axis] for place in places.values()) for axis in (0, 1))
    return Lineage(boxes, lines, right + _WIDTH, low + tall, tall)


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


def _places(
    depths: Mapping[str, int], edges: Sequence[Edge], across: int, pitch: int
) -> dict[str | Passage, tuple[int, int]]:
    """Corner of each box, and of the gap that a line passes through where it leaves out a column. A column is ordered
    by where its parents stand, so that few lines cross; ``across`` is from column to column, ``pitch`` from row to row.
    """
    columns: dict[int, list[str | Passage]] = {}
    above: dict[str | Passage, list[str | Passage]] = {}
    for name, depth in depths.items():
        columns.setdefault(depth, []).append(name)
    for parent, child in edges:
        way: list[str | Passage] = [parent, *_passages(depths, parent, child), child]
        for earlier, later in itertools.pairwise(way):
            above.setdefault(later, []).append(earlier)
        for step, passage in enumerate(way[1:-1], start=depths[parent] + 1):
            columns[step].append(passage)
    places: dict[str | Passage, tuple[int, int]] = {}
    tallest = max(map(len, columns.values()))
    for depth in sorted(columns):

        def height_of_parents(name: str | Passage) -> float:
            heights = [places[parent][1] for parent in above.get(name, [])]
            return sum(heights) / len(heights) if heights else 0.0

        ordered = sorted(columns[depth], key=height_of_parents)
        top = (tallest - len(ordered)) * pitch // 2
        for row, each in enumerate(ordered):
            places[each] = depth * across, top + row * pitch
    return places


def _passages(depths: Mapping[str, int], parent: str, child: str) -> list[Passage]:
    return [(parent, child, depth) for depth in range(depths[parent] + 1, depths[child])]


def _line(
    edge: Edge, edges: Sequence[Edge], places: Mapping[str | Passage, tuple[int, int]], tall: int, role: str
) -> Line:
    """From box to box, ``tall`` each, straight through the gaps between and along its role; lines to one box end below
    each other."""
    parent, child = edge
    incoming = sorted((each for each in edges if each[1] == child), key=lambda each: places[each[0]][1])
    x, y = places[parent][0] + _WIDTH, places[parent][1] + tall // 2
    path = f"M{x} {y}"
    gaps = sorted(name for name in places if isinstance(name, tuple) and name[:2] == edge)
    end = places[child][1] + tall * (incoming.index(edge) + 1) // (len(incoming) + 1)
    for x1, y1, across in [*((*places[gap], _WIDTH) for gap in gaps), (places[child][0], end, 0)]:
        to = y1 + tall // 2 if across else y1
        middle = x + _BEND // 2
        path += f"C{middle} {y} {middle} {to} {x + _BEND} {to}H{x1 + across}"
        x, y = x1 + across, to
    return Line(path, role, x - _ASIDE, y - 4)
