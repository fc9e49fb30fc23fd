"""Everything that scores and judgements of many responses say: at each temperature, over all, and by stratum."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.scorers.controls import CONTROLS, family
from evaluation.statistics.above_floor import above_floor
from evaluation.statistics.asked import Agreement
from evaluation.statistics.asked_pairs import fit_temperatures
from evaluation.statistics.averages import averages
from evaluation.statistics.band import band
from evaluation.statistics.bootstrap import Bootstrap, BootstrapSettings, Floats, Ints
from evaluation.statistics.correlation import agree, agree_plainly
from evaluation.statistics.degeneration import DEGENERATE
from evaluation.statistics.estimate import Comparison, CurvePoint, Estimate
from evaluation.statistics.interval import describe_draws
from evaluation.statistics.measured import Frame
from evaluation.statistics.policy_wins import win_rates
from evaluation.statistics.sample import Sample, temperatures_of
from evaluation.statistics.spread import CORRECTED, TREND, range_corrected, trend

UNTRUNCATED, NON_DEGENERATE = "untruncated", "non_degenerate"
_FEW_DRAWS = 20
"""For untrained networks, of whose intervals nothing is used."""
_OF_STRATA = ("pearson_within", "pearson_between", "pearson_pooled", "pairwise_accuracy")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """Responses as columns of numbers; NaN is missing everywhere."""

    prompt: Ints
    """Which prompt each row answers, below ``n_prompts``."""

    n_prompts: int
    temperature: Floats
    scorers: Mapping[str, Floats]
    """Learned ones and trivial controls."""

    oracles: Mapping[str, Floats]
    untrained: Mapping[str, Floats] = field(default_factory=dict)
    """Networks that were drawn at random, told together by family."""

    floors: Mapping[str, float] = field(default_factory=dict)
    """Of some oracles the mean that responses worth nothing would have."""

    second: Ints | None = None
    """What else rows have in common."""

    second_names: Sequence[str] = ()
    """What the second clusters are called, by number."""

    length: Floats | None = None
    """log(1 + tokens), or log(1 + characters) where tokens are not recorded."""

    truncated: Floats | None = None
    """1 where the response was cut at the token limit, else 0."""

    texts: Mapping[str, Floats] = field(default_factory=dict)
    """Measures of the texts, see ``degeneration``."""


@dataclass
class Findings:
    """Rows of the tables ``correlations``, ``curves`` and ``comparisons``."""

    estimates: list[Estimate] = field(default_factory=list)
    points: list[CurvePoint] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)


def find(
    table: Table,
    settings: BootstrapSettings,
    seed: int,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Findings:
    """Every statistic of docs/statistics.md. ``watch`` is told how many of how many temperatures are done.

    Draws are of the same prompts everywhere, so temperatures can be compared draw by draw.
    """
    temperatures = temperatures_of(table.temperature)
    study = _Study(table, settings, seed)
    reference = min(temperatures, key=lambda each: (abs(each - 1), -each)) if temperatures else None
    calibrated = None if reference is None else study.fit(reference)
    found, agreements = Findings(), {}
    steps: list[float | None] = [None, *temperatures]
    for done, temperature in enumerate(steps, start=1):
        agreement = study.agree(temperature, calibrated)
        found.estimates += agreement.estimates
        found.estimates += study.untrained(temperature)
        found.estimates += study.strata(temperature)
        found.estimates += study.means(temperature)
        found.estimates += study.wins(temperature)
        found.points += agreement.points
        found.comparisons += agreement.comparisons
        if temperature is not None:
            agreements[temperature] = agreement
        watch(done, len(steps))
    if reference is not None:
        found.estimates += study.over_temperatures(agreements, reference)
    return found


class _Study:
    """One table and one set of draws."""

    def __init__(self, table: Table, settings: BootstrapSettings, seed: int) -> None:
        self._table, self._settings, self._seed = table, settings, seed
        crossed = table.second is not None
        self._method = describe_draws(settings.draws, crossed=crossed)

    def fit(self, temperature: float) -> dict[tuple[str, str], float]:
        """What calibrates each learned scorer at one temperature."""
        learned = [name for name in self._table.scorers if name not in CONTROLS]
        return fit_temperatures(self._sample(self._at(temperature)), learned, list(self._table.oracles))

    def agree(self, temperature: float | None, calibrated: Mapping[tuple[str, str], float] | None) -> Agreement:
        rows = self._at(temperature)
        sample, frame = self._sample(rows), self._frame(rows, temperature, "all")
        return agree(
            sample,
            frame,
            self._bootstrap(sample),
            list(self._table.scorers),
            list(self._table.oracles),
            calibrated,
        )

    def untrained(self, temperature: float | None) -> list[Estimate]:
        """How chance in the networks moves each correlation, a band for every family of them."""
        table, rows = self._table, self._at(temperature)
        if not table.untrained:
            return []
        sample, frame = self._sample(rows, table.untrained), self._frame(rows, temperature, "all")
        bootstrap = Bootstrap(sample.n_prompts, sample.n_second, _FEW_DRAWS, self._seed)
        members: dict[tuple[str, str, str], list[Estimate]] = {}
        for each in agree_plainly(sample, frame, bootstrap, list(table.untrained), list(table.oracles)):
            members.setdefault((family(each.scorer), each.oracle, each.statistic), []).append(each)
        return [band(found, name) for (name, _, _), found in members.items()]

    def strata(self, temperature: float | None) -> list[Estimate]:
        """Correlations among the responses that ended by themselves, and among those that are still text."""
        found = []
        for stratum, marks in (
            (UNTRUNCATED, self._table.truncated),
            (NON_DEGENERATE, self._table.texts.get(DEGENERATE)),
        ):
            if marks is None or not (marks == 1).any():
                continue  # the stratum would be all responses
            rows = self._at(temperature) & (marks == 0)
            sample, frame = self._sample(rows), self._frame(rows, temperature, stratum)
            estimates = agree_plainly(
                sample, frame, self._bootstrap(sample), list(self._table.scorers), list(self._table.oracles)
            )
            found += [each for each in estimates if each.statistic in _OF_STRATA]
        return found

    def means(self, temperature: float | None) -> list[Estimate]:
        """What became of scores, judgements and texts on average."""
        rows = self._at(temperature)
        series = {**self._table.scorers, **self._table.oracles, **self._table.texts}
        second = self._table.second
        found = averages(
            self._table.prompt[rows],
            {name: values[rows] for name, values in series.items()},
            **self._settings.model_dump(),
            seed=self._seed,
            second_cluster=None if second is None else second[rows],
            temperature=temperature,
        )
        floors = self._table.floors
        return found + [above_floor(each, floors[each.scorer]) for each in found if each.scorer in floors]

    def wins(self, temperature: float | None) -> list[Estimate]:
        """How often each of the second clusters, such as policies, is judged better than each other."""
        rows, second = self._at(temperature), self._table.second
        if second is None or not self._table.second_names:
            return []
        method = describe_draws(self._settings.draws, crossed=False)
        frame = replace(self._frame(rows, temperature, "all"), method=method)
        bootstrap = Bootstrap(self._table.n_prompts, None, self._settings.draws, self._seed)
        found = []
        for oracle, judgements in self._table.oracles.items():
            found += win_rates(
                self._table.prompt[rows],
                second[rows],
                self._table.second_names,
                oracle,
                judgements[rows],
                bootstrap,
                frame,
            )
        return found

    def over_temperatures(self, agreements: Mapping[float, Agreement], reference: float) -> list[Estimate]:
        """r at the reference temperature's spread of judgements, and how fast r falls as temperature rises."""
        found = []
        for scorer, oracle in agreements[reference].within:
            for temperature, agreement in agreements.items():
                corrected = range_corrected(
                    agreement.within[scorer, oracle], agreement.spread[oracle], agreements[reference].spread[oracle]
                )
                frame = self._frame(self._at(temperature), temperature, "all")
                n_dropped = self._dropped(scorer, oracle, temperature)
                found.append(frame.estimate(scorer, oracle, CORRECTED, corrected, n_dropped, "atanh"))
            frame = self._frame(self._at(None), None, "all")
            path = [each.within[scorer, oracle] for each in agreements.values()]
            slope = trend(np.array(list(agreements), dtype=np.float64), path)
            found.append(frame.estimate(scorer, oracle, TREND, slope, self._dropped(scorer, oracle, None)))
        return found

    def _dropped(self, scorer: str, oracle: str, temperature: float | None) -> int:
        known = np.isfinite(self._table.scorers[scorer]) & np.isfinite(self._table.oracles[oracle])
        return int((self._at(temperature) & ~known).sum())

    def _at(self, temperature: float | None) -> Mask:
        if temperature is None:
            return np.ones(len(self._table.prompt), dtype=bool)
        return np.asarray(self._table.temperature == temperature)

    def _sample(self, rows: Mask, scorers: Mapping[str, Floats] | None = None) -> Sample:
        """``scorers``: others than the table's."""
        table = self._table
        return Sample(
            table.prompt[rows],
            None if table.second is None else table.second[rows],
            {name: values[rows] for name, values in (table.scorers if scorers is None else scorers).items()},
            {name: values[rows] for name, values in table.oracles.items()},
            n_prompts=table.n_prompts,
            length=None if table.length is None else table.length[rows],
        )

    def _frame(self, rows: Mask, temperature: float | None, stratum: str) -> Frame:
        truncated = self._table.truncated
        known = truncated is not None and np.isfinite(truncated[rows]).any()
        n_truncated = int((truncated[rows] == 1).sum()) if truncated is not None and known else None
        return Frame(temperature, stratum, self._settings.confidence, self._method, int(rows.sum()), n_truncated)

    def _bootstrap(self, sample: Sample) -> Bootstrap:
        return Bootstrap(sample.n_prompts, sample.n_second, self._settings.draws, self._seed)


def as_rows(
    found: Findings, versions: Mapping[str, int | None], policy: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines of ``correlations.jsonl``, ``curves.jsonl`` and ``comparisons.jsonl``."""
    return (
        [as_row(each, versions.get(each.scorer), policy) for each in found.estimates],
        [as_row(each, versions.get(each.scorer), policy) for each in found.points],
        [{**each.model_dump(mode="json"), "policy": policy} for each in found.comparisons],
    )


def as_row(each: Estimate | CurvePoint, scorer_version: int | None, policy: str | None) -> dict[str, Any]:
    """A line of ``correlations.jsonl`` or ``curves.jsonl``."""
    return {**each.model_dump(mode="json"), "scorer_version": scorer_version, "policy": policy}
