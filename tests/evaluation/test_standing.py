"""How far a scorer can be trusted, in a few words read off its intervals."""

import pytest

from evaluation.standing import standing
from tests.correlation_lines import as_estimate

LEAD = "pearson_within_lead_over_"


@pytest.mark.parametrize(
    ("path", "words", "tone"),
    [
        ({0.0: 0.3, 0.5: 0.6, 2.0: 0.2}, "at every T", "good"),
        ({0.0: None, 0.5: 0.6, 2.0: 0.2}, "wherever defined", "good"),
        ({1.0: 0.6}, "at T = 1", "good"),
        ({0.5: 0.6, 1.0: 0.4, 1.5: 0.05, 2.0: 0.3}, "up to T = 1", "part"),  # what comes after a gap is not relied on
        ({0.5: 0.05, 1.0: 0.6}, "not shown", "unknown"),
        ({0.5: 0.05, 1.0: -0.6}, "the other way round", "bad"),
        ({0.5: None}, "undefined", "unknown"),
        ({None: 0.3}, "agrees", "good"),
    ],
)
def test_an_agreement_reaches_as_far_as_every_interval_below_is_above_chance(
    path: dict[float | None, float | None], words: str, tone: str
) -> None:
    found = standing([as_estimate("reward", t, r) for t, r in path.items()], [])

    assert (found.words, found.tone, found.controls) == (words, tone, "")


def test_temperatures_are_told_in_words_whatever_their_order() -> None:
    rows = [as_estimate("reward", t, r) for t, r in ((2.0, -0.3), (0.5, 0.6), (1.0, 0.4), (1.5, 0.02), (0.0, None))]

    assert standing(rows, []).told == "agrees at T = 0.5 to 1, not resolved at T = 1.5, the other way round at T = 2"


@pytest.mark.parametrize(
    ("leads", "words"),
    [
        ({"length": (0.3, 0.2), "zlib_ratio": (0.5, 0.4)}, "ahead of all"),
        ({"length": (0.3, 0.05), "zlib_ratio": (0.5, 0.4)}, "not ahead of length"),
        ({"length": (0.05, -0.3), "zlib_ratio": (0.05, -0.2)}, "behind length and zlib_ratio"),
        ({"length": (0.3, None)}, "ahead of all"),
        (dict.fromkeys(("length", "zlib_ratio", "truncated"), (-0.3, -0.2)), "behind length and 2 more"),
    ],
)
def test_the_hardest_control_decides(leads: dict[str, tuple[float | None, float | None]], words: str) -> None:
    rows = [
        as_estimate("reward", t, r, statistic=f"{LEAD}{control}")
        for control, path in leads.items()
        for t, r in zip((0.5, 1.5), path, strict=True)
    ]

    assert standing([as_estimate("reward", 0.5, 0.6)], rows).controls == words
