"""How well scores agree with judgements, in every way that docs/statistics.md defines, from one bootstrap."""

from collections.abc import Collection, Mapping, Sequence

from evaluation.scorers.controls import CONTROLS
from evaluation.statistics.asked import Agreement, Family, Record, Totals, drawn
from evaluation.statistics.asked_best import Choices
from evaluation.statistics.asked_columns import Columns, Lengths, pairs_of, rivals_of
from evaluation.statistics.asked_pairs import DecidedPairs, Temperatures
from evaluation.statistics.bootstrap import Bootstrap, Contributions, Floats, Ints
from evaluation.statistics.estimate import Estimate
from evaluation.statistics.interval import describe_draws
from evaluation.statistics.measured import Frame
from evaluation.statistics.sample import Sample
from evaluation.statistics.spread import SpreadSums, spread_measures


def correlate(
    clusters: Ints,
    scores: Mapping[str, Floats],
    oracles: Mapping[str, Floats],
    *,
    draws: int,
    confidence: float,
    seed: int,
    second_cluster: Ints | None = None,
    temperature: float | None = None,
    stratum: str = "all",
    controls: Collection[str] = tuple(CONTROLS),
) -> list[Estimate]:
    """Every correlation of every scorer with every oracle, from one joint bootstrap over prompts.

    ``clusters`` (rows,) says which prompt a row answers, ``second_cluster`` (rows,) what else rows have in common.
    Scores and judgements (rows,) are missing where they are not finite; a row counts where both are there.
    ``controls`` names the trivial scorers: every other scorer's lead over each of them within prompts is given too.
    Raises InvalidInput where the second cluster has too many values to be one.
    """
    sample = Sample(clusters, second_cluster, scores, oracles)
    method = describe_draws(draws, crossed=second_cluster is not None)
    frame = Frame(temperature, stratum, confidence, method, sample.n_rows, None)
    bootstrap = Bootstrap(sample.n_prompts, sample.n_second, draws, seed)
    trivial, learned = _divided(list(scores), controls)
    single = [sample.key(oracle, scorer) for oracle in oracles for scorer in scores]
    family = Columns(sample, single, pairs_of(sample, oracles, learned, trivial))
    return _told(sample, frame, bootstrap, [family]).estimates


def agree(
    sample: Sample,
    frame: Frame,
    bootstrap: Bootstrap,
    scorers: Sequence[str],
    oracles: Sequence[str],
    temperatures: Temperatures | None,
) -> Agreement:
    """Everything at one temperature. ``temperatures`` calibrate, by scorer and oracle; None fits them here."""
    trivial, learned = _divided(scorers, CONTROLS)
    single = [sample.key(oracle, scorer) for oracle in oracles for scorer in scorers]
    leads, rivals = pairs_of(sample, oracles, learned, trivial), rivals_of(sample, oracles, learned)
    families: list[Family] = [
        Columns(sample, single, leads, rivals),
        Lengths(sample, single),
        DecidedPairs(sample, single, learned, temperatures),
        Choices(sample, single),
        Spreads(sample),
    ]
    return _told(sample, frame, bootstrap, families)


def agree_plainly(
    sample: Sample, frame: Frame, bootstrap: Bootstrap, scorers: Sequence[str], oracles: Sequence[str]
) -> list[Estimate]:
    """The correlations alone, as of a stratum of the responses."""
    single = [sample.key(oracle, scorer) for oracle in oracles for scorer in scorers]
    return _told(sample, frame, bootstrap, [Columns(sample, single)]).estimates


class Spreads:
    """Standard deviations of every scorer and oracle; see ``asked.Family``."""

    def __init__(self, sample: Sample) -> None:
        self._columns = {}
        for name, values in sample.all_series().items():
            prompt, known, second = sample.series(values)
            self._columns[name] = SpreadSums(prompt, known, sample.n_prompts, second, sample.n_second or 1)
        self.asked: list[Contributions] = [*self._columns.values()]

    def tell(self, totals: Totals, record: Record) -> None:
        for name, column in self._columns.items():
            sums = column.contributions(None)[0]
            found = spread_measures(column, sums, totals[id(column)])
            n_dropped = record.sample.n_rows - int(sums[:, 0].sum())
            for statistic, each in found.items():
                record.found.estimates.append(record.frame.estimate(name, name, statistic, each, n_dropped))
            record.found.spread[name] = found["sd_within"]


def _told(sample: Sample, frame: Frame, bootstrap: Bootstrap, families: Sequence[Family]) -> Agreement:
    totals, record = drawn(families, bootstrap), Record(sample, frame)
    for family in families:
        family.tell(totals, record)
    return record.found


def _divided(scorers: Sequence[str], controls: Collection[str]) -> tuple[list[str], list[str]]:
    """The trivial ones and the learned ones."""
    return [each for each in scorers if each in controls], [each for each in scorers if each not in controls]
