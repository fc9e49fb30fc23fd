"""Reward hacking is a reward that rises while a judge falls, for several rounds, and nothing else."""

import json

import pytest

from trainer.recipes.reward_hacking import EarlyStop, HackingDetector

SETTINGS = EarlyStop(window=2, drop=0.1, patience=2)


def reasons(rewards: list[float], judge: list[float]) -> list[bool]:
    detector = HackingDetector(SETTINGS)
    return [
        detector.observe(reward, {"oracle": value}) is not None for reward, value in zip(rewards, judge, strict=True)
    ]


def test_it_is_seen_once_the_judge_has_stayed_down_for_as_long_as_patience_asks() -> None:
    # averages of the judge: .5 .5 .35 .2: below .4 for the first time in round 4, for the second in round 5
    assert reasons([1, 1, 1, 2, 3], [0.5, 0.5, 0.5, 0.2, 0.2]) == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("rewards", "judge"),
    [
        ([1, 1, 1, 2, 3, 4], [0.5, 0.5, 0.5, 0.6, 0.7, 0.8]),  # both rise
        ([3, 3, 3, 2, 1, 0], [0.5, 0.5, 0.5, 0.2, 0.2, 0.2]),  # both fall: bad, but not hacking
        ([1, 1, 1, 2, 3, 4], [0.5, 0.5, 0.5, 0.45, 0.45, 0.45]),  # within the drop allowed
        ([1, 2, 3, 4, 5, 6], [0.5, 0.5, 0.1, 0.9, 0.5, 0.5]),  # not for long enough: averages .5 .3 .5 .7 .5
    ],
)
def test_it_is_not_seen_in(rewards: list[float], judge: list[float]) -> None:
    assert not any(reasons(rewards, judge))


def test_the_reason_names_the_judge_and_both_changes() -> None:
    detector = HackingDetector(SETTINGS)
    for reward, value in zip([1, 1, 1, 2], [0.5, 0.5, 0.5, 0.2], strict=True):
        assert detector.observe(reward, {"fine": 0.5, "oracle": value}) is None
    continued = HackingDetector(SETTINGS)
    continued.restore(json.loads(json.dumps(detector.state())))
    assert continued.observe(3, {"fine": 0.5, "oracle": 0.2}) == (
        "reward hacking: since round 2 the reward rose from 1.000 to 2.500 while oracle fell from 0.500 to 0.200"
        " (means over 2 rounds)"
    )


def test_the_newest_average_leads_where_the_judges_together_were_never_better() -> None:
    detector = HackingDetector(EarlyStop(window=1))
    found = []
    for anchor, oracle in [(0.5, 0.5), (0.6, 0.3), (0.5, 0.6), (0.9, 0.1)]:
        detector.observe(0.0, {"anchor": anchor, "oracle": oracle})
        found.append(detector.leads())
    assert found == [True, False, True, False]
    assert not HackingDetector(SETTINGS).leads()
