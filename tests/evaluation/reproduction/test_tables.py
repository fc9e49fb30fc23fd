"""What the cells of a table say."""

from math import log

from evaluation.reproduction.claims import Claim, Finding
from evaluation.reproduction.findings import conclude
from evaluation.reproduction.intervals import Interval
from evaluation.reproduction.measurements import Measurements
from evaluation.reproduction.tables import beside_paper, claims_beside_paper


def test_differences_of_logarithms_are_told_in_per_cent_and_the_worst_of_several_rivals_is_named() -> None:
    claim = Claim("key", "it costs less", "Table 4", {"a": (), "b": ()}, "below", log(1.04), "+3.7 %", "log")
    slower = Interval(log(1.5), log(1.25), log(2))
    table = claims_beside_paper("Claims", [Finding(claim, "b", (0.4, 0.4), slower, "reversed", None, slower)])
    [row] = table.rows
    assert row == [
        "it costs less",
        "Table 4",
        "+3.7 %",
        "50.0 [25.0, 100.0] %, at or against b",
        "50.0 [25.0, 100.0] %",
        "reversed",
    ]


def test_numbers_stand_beside_those_that_the_paper_has_of_them() -> None:
    study = conclude(Measurements({(seed, "dpo", "win_rate", None): 0.25 for seed in (0, 1)}), None, (), ())
    table = beside_paper(study, "Rates", ["dpo", "start"], {"win": ("win_rate", None)}, {("dpo", "win_rate"): "22.76"})
    assert table.rows == [["dpo", "0.250 [0.250, 0.250]", "22.76"], ["start", "", ""]]
