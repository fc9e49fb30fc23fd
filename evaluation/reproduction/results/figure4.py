"""Figure 4: how far the discriminator and a learned reward model agree with the oracle on very hot responses."""

from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go

from evaluation.reproduction.answers import Answers, Drawn, Draws
from evaluation.reproduction.claims import Claim, Terms, compare
from evaluation.reproduction.findings import Study
from evaluation.reproduction.measurements import Quantity
from evaluation.reproduction.pictures import interval_bars
from evaluation.reproduction.result import Found, Readings, Result
from evaluation.reproduction.schedule import Step
from evaluation.reproduction.tables import Table, beside_paper
from evaluation.reproduction.toy_world import (
    DECODER,
    DISCRIMINATOR,
    ENCODER,
    IMPLICIT_REWARD,
    JUDGED,
    PROBE,
    REFERENCE_LOGPROB,
)
from evaluation.reproduction.world import VERY_HOT, World
from evaluation.scorers.controls import UNTRAINED as UNTRAINED_FAMILY
from evaluation.scorers.controls import family

POOLED, WITHIN = "pearson_pooled", "pearson_within"
UNTRAINED, LARGEST = "untrained discriminators", "largest size of r"
TRIVIAL = ("length", "zlib_ratio", "mean_logprob")
SCORERS = (DISCRIMINATOR, DECODER, ENCODER, PROBE, IMPLICIT_REWARD, REFERENCE_LOGPROB)

PAPER = {(DISCRIMINATOR, POOLED): "0.59 at 1.5, 0.52 at 2", (DECODER, POOLED): "0.14 at 1.5, −0.50 at 2"}

_AGREES, _WEAK = 0.5, 0.3


def _at(subject: str, temperature: float, measure: str = POOLED) -> Terms:
    return ((1.0, Quantity(subject, measure, (temperature,))),)


CLAIMS = (
    *(
        Claim(
            f"discriminator_beats_reward_model_{temperature:g}",
            f"the discriminator agrees with the oracle better than the reward model, T = {temperature:g}",
            f"Figure 4{panel}",
            compare(DISCRIMINATOR, DECODER, measure=POOLED, at=(temperature,)),
            paper=paper,
        )
        for temperature, panel, paper in ((1.5, "a", "r 0.59 over 0.14"), (2.0, "b", "r 0.52 over −0.50"))
    ),
    Claim(
        "discriminator_agrees",
        "the discriminator agrees with the oracle, r > 0.5 at T = 1.5 and at 2",
        "Figure 4; section 5.2, 'a strong positive correlation'",
        {f"T = {each:g}": _at(DISCRIMINATOR, each) for each in VERY_HOT},
        level=_AGREES,
        paper="r 0.59 and 0.52",
    ),
    Claim(
        "reward_model_weak",
        "the reward model's agreement is weak at T = 1.5, r < 0.3",
        "Figure 4a; section 5.2, 'weak (r = 0.14)'",
        {"": _at(DECODER, 1.5)},
        "below",
        _WEAK,
        paper="r 0.14",
    ),
    Claim(
        "reward_model_inverts",
        "the reward model's agreement is negative at T = 2",
        "Figure 4b; section 5.2, 'even negative correlations'",
        {"": _at(DECODER, 2.0)},
        "below",
        paper="r −0.50",
    ),
)

CONTROLS = (
    Claim(
        "beyond_untrained",
        "the discriminator's r is larger than that of every untrained one, whichever way round",
        "control, T = 1.5 and 2",
        {"": ((1.0, Quantity(DISCRIMINATOR, POOLED, VERY_HOT)), (-1.0, Quantity(UNTRAINED, LARGEST, VERY_HOT)))},
    ),
    Claim(
        "beyond_trivial",
        "the discriminator agrees better than length, compressibility and log-probabilities",
        "control, T = 1.5 and 2",
        compare(DISCRIMINATOR, *TRIVIAL, REFERENCE_LOGPROB, measure=POOLED, at=VERY_HOT),
    ),
    Claim(
        "beyond_encoder",
        "the discriminator agrees better than an encoder reward model",
        "control, T = 1.5 and 2",
        compare(DISCRIMINATOR, ENCODER, measure=POOLED, at=VERY_HOT),
    ),
    Claim(
        "beyond_probe",
        "the discriminator agrees better than a Bradley-Terry probe of the same features, without an adversary",
        "control, T = 1.5 and 2",
        compare(DISCRIMINATOR, PROBE, measure=POOLED, at=VERY_HOT),
    ),
    Claim(
        "within_prompts",
        "within prompts too the discriminator agrees better than the reward model",
        "control, T = 1.5 and 2",
        compare(DISCRIMINATOR, DECODER, measure=WITHIN, at=VERY_HOT),
    ),
)


def _chain(world: World) -> Iterator[Step]:
    yield from world.start()
    yield world.arm(JUDGED)
    yield from world.scorers()
    yield world.very_hot(SCORERS)


def _read(readings: Readings) -> Iterator[Found]:
    world = readings.world
    answers = readings.answers(world.very_hot(SCORERS))
    draws = readings.draws(answers.n_prompts)
    untrained = [name for name in answers.scores if family(name).rpartition(":")[2] == UNTRAINED_FAMILY]
    own = [name for name in untrained if name.startswith(world.named(DISCRIMINATOR).partition(":")[0])]
    for temperature in VERY_HOT:
        rows = answers.at(temperature)
        for statistic in (POOLED, WITHIN):
            for scorer in SCORERS:
                yield (
                    scorer,
                    statistic,
                    temperature,
                    _agreement(draws, rows, world.named(scorer), world.gold, statistic),
                )
            for control in TRIVIAL:
                yield control, statistic, temperature, _agreement(draws, rows, control, world.gold, statistic)
        found = [_agreement(draws, rows, name, world.gold, POOLED) for name in own]
        yield UNTRAINED, LARGEST, temperature, largest([each for each in found if each is not None])


def largest(found: Sequence[Drawn]) -> Drawn | None:
    """The largest size of several correlations, in every draw anew."""
    if not found:
        return None
    drawn = [np.abs(each.replicates) for each in found if each.replicates is not None]
    return Drawn(max(abs(each.value) for each in found), np.max(drawn, axis=0) if len(drawn) == len(found) else None)


def _agreement(draws: Draws, rows: Answers, scorer: str, oracle: str, statistic: str) -> Drawn | None:
    return draws.correlation(statistic, rows.prompt, rows.scores[scorer], rows.scores[oracle])


def _table(study: Study) -> Table:
    columns = {f"r pooled, T = {each:g}": (POOLED, each) for each in VERY_HOT}
    columns |= {f"r within, T = {each:g}": (WITHIN, each) for each in VERY_HOT}
    columns |= {f"largest, T = {each:g}": (LARGEST, each) for each in VERY_HOT}
    return beside_paper(study, "Agreement with the oracle", (*SCORERS, *TRIVIAL, UNTRAINED), columns, PAPER)


def _figure(study: Study) -> go.Figure:
    names = {
        f"{scorer}, T = {temperature:g}": study.interval(scorer, POOLED, temperature)
        for scorer in (*SCORERS, *TRIVIAL)
        for temperature in VERY_HOT
    }
    names |= {f"{UNTRAINED}, {LARGEST}, T = {each:g}": study.interval(UNTRAINED, LARGEST, each) for each in VERY_HOT}
    return interval_bars(names, "Figure 4: r with the oracle, pooled over responses")


RESULT = Result(
    key="figure4",
    title="Figure 4: discriminator and reward model on very hot responses",
    claims=CLAIMS,
    controls=CONTROLS,
    chain=_chain,
    read=_read,
    table=_table,
    figure=_figure,
)
