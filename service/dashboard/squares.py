"""What intervals say at each temperature, drawn: a full, a hollow or a crossed square, so that colour is not all that
tells."""

from collections.abc import Iterable
from functools import lru_cache

from markupsafe import Markup

from evaluation.wording import Reading

_SQUARES = {
    Reading.ABOVE: Markup('<path class="good" d="M0 0h12v12H0z"/>'),
    Reading.BELOW: Markup('<path class="bad" d="M0 0h12v12H0z"/><path class="cross" d="M3 3l6 6m0-6l-6 6"/>'),
    Reading.UNRESOLVED: Markup('<path class="open" d="M.75.75h10.5v10.5H.75z"/>'),
}
_APART = 15
"""From one square's left edge to the next one's, each being 12 wide."""


def squares(readings: Iterable[Reading]) -> Markup:
    """One for each, side by side, for an SVG."""
    return _drawn(tuple(readings))


@lru_cache(1000)
def _drawn(readings: tuple[Reading, ...]) -> Markup:
    """A page has hundreds of rows, and few of them differ."""
    moved = Markup('<g transform="translate({})">{}</g>')
    return Markup("").join(moved.format(_APART * place, _SQUARES[each]) for place, each in enumerate(readings))
