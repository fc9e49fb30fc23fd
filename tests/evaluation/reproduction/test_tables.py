"""What the cells of a table say."""

from math import log

from evaluation.reproduction.claims import Claim, Finding, compare
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


def test_a_number_of_one_seed_without_draws_stands_alone_and_a_claim_says_why() -> None:
    overhead = Claim("key", "it costs less", "Table 4", compare("b", "a", measure="log"), "below", log(1.5), unit="log")
    margin = Claim("key", "it is far", "Table 4", compare("b", "a", measure="log"))
    values = {(0, "a", "log", None): log(2), (0, "b", "log", None): log(2.5)}
    study = conclude(Measurements(values), None, [overhead, margin], ())
    assert beside_paper(study, "Time", ["a"], {"log": ("log", None)}, {}).rows == [["a", "0.693", ""]]
    told = [row[3] for row in claims_beside_paper("Claims", study.paper).rows]
    reason = "one seed, and no interval over its prompts"
    assert told == [f"25.0 %, {reason}", f"0.223, {reason}"]  # 2.5 / 2, and its logarithm


def test_numbers_stand_beside_those_that_the_paper_has_of_them() -> None:
    study = conclude(Measurements({(seed, "dpo", "win_rate", None): 0.25 for seed in (0, 1)}), None, (), ())
    table = beside_paper(study, "Rates", ["dpo", "start"], {"win": ("win_rate", None)}, {("dpo", "win_rate"): "22.76"})
    assert table.rows == [["dpo", "0.250 [0.250, 0.250]", "22.76"], ["start", "", ""]]
