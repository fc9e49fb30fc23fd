"""Squares stand side by side in the order of the temperatures, and say what they are without colour."""

import re

from evaluation.wording import Reading
from service.dashboard.squares import squares


def test_each_square_has_its_place_and_its_shape() -> None:
    drawn = squares([Reading.ABOVE, Reading.BELOW, Reading.UNRESOLVED, Reading.ABOVE])
    assert re.findall(r"translate\((\d+)\)\"><path class=\"(\w+)\"", drawn) == [
        ("0", "good"),
        ("15", "bad"),
        ("30", "open"),
        ("45", "good"),
    ]
    assert drawn.count("cross") == 1
