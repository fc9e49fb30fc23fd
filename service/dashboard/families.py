"""Which figures a run has, known before any is drawn, and what each is drawn from."""

from collections.abc import Callable
from dataclasses import dataclass

from evaluation.statistics.above_floor import MEAN_ABOVE_FLOOR
from evaluation.statistics.averages import MEAN
from evaluation.statistics.best_of_n import CEILING, ORACLE, PROXY
from evaluation.statistics.calibration import RELIABILITY
from evaluation.statistics.policy_wins import WIN_RATE
from evaluation.wording import CORRELATIONS
from service.db.contents import Contents
from service.db.trust import WITHIN

_PARTIAL = "pearson_within_partial_length"
_IFEVAL = "ifeval:"

Present = Callable[[Contents, str], bool]


@dataclass(frozen=True)
class Family:
    """Figures that one builder of ``evaluation.figures`` draws, and what of a run it reads."""

    name: str
    """Of the builder."""

    title: str
    """What stands above until they are drawn; ``{oracle}`` is filled in."""

    present: Present
    """Whether a run has what it reads, by one oracle."""

    statistics: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    """Beginnings of further statistics."""

    curves: tuple[str, ...] = ()
    comparisons: bool = False
    responses: bool = False
    by_oracle: bool = True
    """Whether it is about one oracle."""

    def heading(self, oracle: str) -> str:
        """The title for one oracle."""
        return self.title.format(oracle=oracle)


AGREEMENT = Family(
    "agreement",
    "Agreement with {oracle} as responses drift",
    lambda run, oracle: any(run.graded(statistic, oracle) for statistic in CORRELATIONS),
    (WITHIN,),
)
FLAT = Family(
    "correlations",
    "Agreement with {oracle}",
    lambda run, oracle: not run.is_graded and run.flat(WITHIN, oracle),
    (WITHIN, "pearson_pooled", "pearson_between"),
)

FAMILIES: tuple[Family, ...] = (
    FLAT,
    AGREEMENT,
    Family(
        "wins",
        "Win rates over temperature",
        lambda run, _: any(name.startswith(WIN_RATE) for name in run.statistics),
        prefixes=(WIN_RATE,),
        by_oracle=False,
    ),
    Family(
        "ways",
        "Three ways to ask for agreement with {oracle}",
        lambda run, oracle: run.graded("pearson_pooled", oracle) or run.graded(_PARTIAL, oracle),
        (WITHIN, "pearson_pooled", _PARTIAL),
    ),
    Family(
        "differences",
        "Which scorer agrees better with {oracle}",
        lambda run, _: run.comparisons,
        comparisons=True,
    ),
    Family("scatter", "Score against judgement, response by response", lambda run, _: run.responses, responses=True),
    Family(
        "best_of_n",
        "Best of N by each scorer",
        lambda run, _: ORACLE in run.curves,
        (WITHIN,),
        curves=(PROXY, ORACLE, CEILING),
    ),
    Family(
        "reliability",
        "Calibration against {oracle}",
        lambda run, _: RELIABILITY in run.curves,
        (WITHIN,),
        curves=(RELIABILITY,),
    ),
    Family(
        "judgement",
        "What {oracle} thinks of the responses",
        lambda run, oracle: run.described(oracle) or run.graded(MEAN, oracle),
        (MEAN, WITHIN),
    ),
    Family(
        "instructions",
        "Instructions followed (IFEval)",
        lambda run, _: any(name.startswith(_IFEVAL) for name in run.described_names),
        (MEAN, MEAN_ABOVE_FLOOR),
        by_oracle=False,
    ),
    Family(
        "distributions",
        "How judgements and scores are spread",
        lambda run, _: run.responses and run.is_graded,
        responses=True,
        by_oracle=False,
    ),
    Family("texts", "Length and degeneration", lambda run, _: run.described("length"), (MEAN,), by_oracle=False),
    Family(
        "missing",
        "What is missing",
        lambda run, oracle: run.counted(oracle),
        (MEAN, WITHIN),
        by_oracle=False,
    ),
)
"""In the order of reading."""


def families_of(run: Contents, oracle: str) -> list[Family]:
    """What there is to be drawn of a run by one oracle."""
    return [each for each in FAMILIES if each.present(run, oracle)]
