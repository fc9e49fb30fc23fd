"""Table 3: the discriminator's architecture."""

from evaluation.reproduction.claims import Claim, compare
from evaluation.reproduction.findings import Study
from evaluation.reproduction.result import Result
from evaluation.reproduction.results.table1 import (
    FULL,
    LC,
    LENGTH,
    RATES,
    UNTRAINED,
    WIN,
    decoded,
    rates_figure,
    read_decoded,
)
from evaluation.reproduction.tables import Table, beside_paper
from evaluation.reproduction.toy_world import GANPO, START

_MSE, _MLP = GANPO["mse"], GANPO["mlp"]
_ARMS = ("dpo", _MSE, _MLP, FULL, UNTRAINED)

PAPER = {
    ("dpo", WIN): "22.76",
    (_MSE, WIN): "22.96",
    (_MLP, WIN): "22.66",
    (FULL, WIN): "24.17",
    ("dpo", LC): "27.79",
    (_MSE, LC): "27.03",
    (_MLP, LC): "27.52",
    (FULL, LC): "29.69",
}

CLAIMS = (
    Claim(
        "transformer_wins",
        "with a Transformer discriminator GANPO wins more often than with none, MSE or MLP",
        "Table 3, Win Rate",
        compare(FULL, "dpo", _MSE, _MLP, measure=WIN),
        paper="24.17 over 22.76, 22.96, 22.66",
    ),
    Claim(
        "transformer_wins_length_controlled",
        "the same of length-controlled win rates",
        "Table 3, LC-Win Rate",
        compare(FULL, "dpo", _MSE, _MLP, measure=LC),
        paper="29.69 over 27.79, 27.03, 27.52",
    ),
    *(
        Claim(
            f"{name.lower()}_gains_nothing",
            f"with {name} GANPO's length-controlled win rate is below DPO's",
            "Table 3, LC-Win Rate",
            compare(arm, "dpo", measure=LC),
            "below",
            paper=paper,
        )
        for name, arm, paper in (("MSE", _MSE, "−0.76 points"), ("MLP", _MLP, "−0.27 points"))
    ),
)

CONTROLS = (
    Claim(
        "trained_discriminator",
        "a trained Transformer regularises better than the same one untrained",
        "control",
        compare(FULL, UNTRAINED, measure=WIN),
    ),
    Claim(
        "same_length",
        "the Transformer's responses are as long as those of every rival, to 2 %",
        "control",
        compare(FULL, "dpo", _MSE, _MLP, measure=LENGTH),
        "within",
        0.02,
        unit="log",
    ),
)


def _table(study: Study) -> Table:
    columns = {**{name: (measure, None) for name, measure in RATES.items()}, "ln characters": (LENGTH, None)}
    return beside_paper(study, "Win rates by discriminator", (START, *_ARMS), columns, PAPER)


RESULT = Result(
    key="table3",
    title="Table 3: architecture of the discriminator",
    claims=CLAIMS,
    controls=CONTROLS,
    chain=lambda world: decoded(world, _ARMS),
    read=lambda readings: read_decoded(readings, _ARMS),
    table=_table,
    figure=lambda study: rates_figure(study, _ARMS, "Win rates by discriminator (Table 3)"),
)
