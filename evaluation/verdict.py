"""What a set of estimates says, in sentences that claim no more than the intervals do.

Three readings are possible of every interval: it lies above chance, below it, or holds it, which is *not resolved*.
A learned scorer is besides compared with the trivial controls on the same responses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evaluation.scorers.controls import is_control, untrained_like
from evaluation.statistics.asked_columns import LEAD_WITHIN
from evaluation.statistics.estimate import Estimate
from evaluation.winners import contests_told
from evaluation.wording import Reading, listed, reading, temperatures_told, told

_WITHIN, _POOLED, _BETWEEN = "pearson_within", "pearson_pooled", "pearson_between"


@dataclass(frozen=True)
class Verdict:
    """The headline is about the scorer whose agreement is surest where it is weakest."""

    headline: str
    findings: list[str]
    """A sentence or two for each further scorer, and what is odd about the whole."""


def verdict(estimates: Sequence[Estimate], oracle: str | None = None) -> Verdict:
    """Judge every scorer by ``oracle``, the first in the estimates unless said."""
    everything = [
        each
        for each in estimates
        if each.stratum == "all" and each.scorer != each.oracle and not _of_single_responses(each)
    ]
    oracle = oracle or next((each.oracle for each in everything), None)
    statistic, path = _paths(each for each in everything if each.oracle == oracle)
    if oracle is None or not path:
        if contests := contests_told(everything):
            return Verdict(contests[0], contests[1:])
        nothing = "Nothing was estimated." if not estimates else "No agreement was estimated; the numbers stand below."
        return Verdict(nothing, [])
    learned = [scorer for scorer in path if not is_control(scorer)]
    leads = leads_of(each for each in everything if each.oracle == oracle)
    ranked = sorted(learned or path, key=lambda scorer: _surest_where_weakest(path[scorer]), reverse=True)
    first, *others = ranked
    headline = _agreement(path[first])
    findings = [] if learned else ["Only trivial controls were scored."]
    findings += [_standing(first, leads.get(first, []))] if first in leads else []
    for scorer in others:
        findings.append(f"{_agreement(path[scorer])} {_standing('It', leads.get(scorer, []))}".strip())
    if statistic != _WITHIN:
        findings.append(
            "Within prompts nothing is defined, so this is agreement over prompts, not between responses to one."
        )
    findings += _beside_untrained(path)
    findings += _paradoxes(each for each in everything if each.oracle == oracle)
    findings += _dissent(everything, statistic)
    return Verdict(headline, findings)


def _of_single_responses(estimate: Estimate) -> bool:
    """At T = 0 a prompt has one response: that nothing is ordered there is no finding."""
    within = estimate.statistic == _WITHIN or estimate.statistic.startswith(LEAD_WITHIN)
    return within and estimate.temperature == 0 and estimate.estimate is None


def _paths(estimates: Iterable[Estimate]) -> tuple[str, dict[str, list[Estimate]]]:
    """By scorer, its estimates over temperature; within prompts where that is defined anywhere, else pooled.

    Where no temperature was recorded the path is the one estimate of all responses.
    """
    by_statistic: dict[str, dict[str, list[Estimate]]] = {_WITHIN: {}, _POOLED: {}}
    rows = list(estimates)
    graded = any(each.temperature is not None for each in rows)
    for each in rows:
        if each.statistic in by_statistic and (each.temperature is not None) == graded:
            by_statistic[each.statistic].setdefault(each.scorer, []).append(each)
    defined = {
        name: any(each.estimate is not None for path in paths.values() for each in path)
        for name, paths in by_statistic.items()
    }
    statistic = _POOLED if defined[_POOLED] and not defined[_WITHIN] else _WITHIN
    return statistic, {
        scorer: sorted(path, key=lambda each: each.temperature or 0.0)
        for scorer, path in by_statistic[statistic].items()
    }


def _surest_where_weakest(path: Sequence[Estimate]) -> float:
    return min((each.lower for each in path if each.lower is not None), default=-2.0)


def _agreement(path: Sequence[Estimate]) -> str:
    """How far a scorer agrees with the oracle along its path."""
    scorer, oracle = path[0].scorer, path[0].oracle
    known = [each for each in path if reading(each) is not Reading.UNDEFINED]
    if not known:
        return f"{scorer} against {oracle}: {told(path[-1])}."
    among = "responses to the same prompt" if path[0].statistic == _WITHIN else "responses"
    does = f"{scorer} orders {among} as {oracle} does"
    if known[0].temperature is None:
        return {
            Reading.ABOVE: f"{does}: {told(known[0])}.",
            Reading.BELOW: f"{scorer} orders {among} the other way round from {oracle}: {told(known[0])}.",
        }.get(reading(known[0]), f"Whether {does} is not resolved: {told(known[0])}.")
    grid = [each.temperature for each in path]
    gaps = [each.temperature for each in path if reading(each) is Reading.UNDEFINED]
    undefined = f"; undefined{temperatures_told(gaps, grid)}" if gaps else ""
    breaks = next((index for index, each in enumerate(known) if reading(each) is not Reading.ABOVE), None)
    if breaks is None:
        weakest = min(known, key=lambda each: each.lower or 0.0)
        everywhere = (
            f" at every T from {grid[0]:g} to {grid[-1]:g}" if not gaps else temperatures_told(_grid(known), grid)
        )
        least = f"{everywhere}; weakest" if len(known) > 1 else ""
        return f"{does}{least} at T = {weakest.temperature:g}, {told(weakest)}{undefined}."
    backwards = reading(known[breaks]) is Reading.BELOW
    fails = "it orders them the other way round" if backwards else "that is not resolved"
    at = f"at T = {known[breaks].temperature:g} {fails}, {told(known[breaks])}"
    if breaks:
        return f"{does} up to T = {known[breaks - 1].temperature:g}; {at}{undefined}."
    lowest = "the lowest tested" if known[0] is path[0] else "the lowest at which it is defined"
    if backwards:
        return f"{scorer} cannot be trusted to order {among} as {oracle} does: {at}, {lowest}{undefined}."
    at = f"at T = {known[breaks].temperature:g}, {told(known[breaks])}"
    return f"Whether {does} is not resolved {at}, {lowest}{undefined}."


def leads_of(estimates: Iterable[Estimate]) -> dict[str, list[Estimate]]:
    """By scorer, its leads over the controls, at each temperature or over all where none was recorded.

    A control that gives the responses to every prompt one value, as ``truncated`` where nothing is cut, orders nothing
    and is none to beat there; one over which the lead is defined nowhere is left out.
    """
    estimates = list(estimates)
    silent = {
        (each.scorer, each.temperature) for each in estimates if each.statistic == _WITHIN and each.estimate is None
    }
    rows = [
        each
        for each in estimates
        if each.statistic.startswith(LEAD_WITHIN) and (rival_of(each), each.temperature) not in silent
    ]
    graded = any(each.temperature is not None for each in rows)
    rows = [each for each in rows if (each.temperature is not None) == graded]
    defined = {(each.scorer, each.statistic) for each in rows if reading(each) is not Reading.UNDEFINED}
    leads: dict[str, list[Estimate]] = {}
    for each in rows:
        if (each.scorer, each.statistic) in defined:
            leads.setdefault(each.scorer, []).append(each)
    return leads


def _standing(subject: str, leads: Sequence[Estimate]) -> str:
    """Where a scorer beats all trivial controls, where the hardest of them is not resolved or undefined, and where one
    wins.
    """
    if not leads:
        return ""
    # the least of a temperature's leads decides there; over all is ahead only who is ahead of each
    order = (Reading.BELOW, Reading.UNRESOLVED, Reading.UNDEFINED, Reading.ABOVE)
    hardest = {
        t: min((reading(each) for each in leads if each.temperature == t), key=order.index) for t in _grid(leads)
    }
    parts: dict[Reading, str] = {}
    words = ("ahead of all", "undefined against", "not resolved against", "behind")
    for kind, how in zip(reversed(order), words, strict=True):
        temperatures = [t for t, found in hardest.items() if found is kind]
        if temperatures:
            rivals = dict.fromkeys(
                rival_of(each) for each in leads if each.temperature in temperatures and reading(each) is kind
            )
            whom = "" if kind is Reading.ABOVE else f" {listed(list(rivals))}"
            parts[kind] = how + whom + temperatures_told(temperatures, list(hardest))
    if Reading.ABOVE not in parts or parts.keys() & {Reading.BELOW, Reading.UNRESOLVED}:
        return f"{subject} does not beat every trivial control: {', '.join(parts.values())}."
    controls = list(dict.fromkeys(rival_of(each) for each in leads))
    beats = f"{subject} beats every trivial control ({listed(controls)})"
    if Reading.UNDEFINED in parts:
        ahead = [t for t, found in hardest.items() if found is Reading.ABOVE]
        return f"{beats}{temperatures_told(ahead, list(hardest))}; {parts[Reading.UNDEFINED]}."
    return f"{beats}{_rows_in_common(leads) if None in hardest else ' at every temperature'}."


def _rows_in_common(leads: Sequence[Estimate]) -> str:
    """The table beside shows each scorer on all the responses it could score; a lead is of those both could."""
    fewest = min(each.n_responses for each in leads)
    return f" on the {fewest:,} responses that both could score" if any(each.n_dropped for each in leads) else ""


def rival_of(lead: Estimate) -> str:
    """The control that a lead is over."""
    return lead.statistic.removeprefix(LEAD_WITHIN)


def _grid(rows: Iterable[Estimate]) -> list[float | None]:
    return sorted({each.temperature for each in rows}, key=lambda temperature: temperature or 0.0)


def _beside_untrained(path: Mapping[str, Sequence[Estimate]]) -> list[str]:
    """Where discriminators agree better than every untrained one does, and where training cannot be told from chance.

    The interval, which is about prompts, must lie beyond the greatest of the networks, which are about weights.
    """
    sentences = []
    for scorer, estimates in path.items():
        twins = {each.temperature: each for each in path.get(untrained_like(scorer), [])}
        if is_control(scorer) or not twins:
            continue
        greatest = {each.temperature: twins[each.temperature].upper for each in estimates if each.temperature in twins}
        known = [each for each in estimates if each.lower is not None and greatest.get(each.temperature) is not None]
        beyond = [each.temperature for each in known if (each.lower or 0.0) > (greatest[each.temperature] or 0.0)]
        better = f"{scorer} agrees better than every untrained discriminator beside it"
        if known and len(beyond) == len(known):
            sentences.append(f"{better}.")
        elif beyond:
            sentences.append(
                f"{better}{temperatures_told(beyond, [each.temperature for each in known])}; elsewhere not resolved."
            )
        elif known:
            sentences.append(f"Whether {better} is not resolved.")
    return sentences


def _paradoxes(estimates: Iterable[Estimate]) -> list[str]:
    """Scorers that agree within prompts and disagree between them, or the reverse, so that pooling misleads."""
    whole = {(each.scorer, each.statistic): each for each in estimates if each.temperature is None}
    sentences = []
    for (scorer, statistic), within in whole.items():
        between, pooled = whole.get((scorer, _BETWEEN)), whole.get((scorer, _POOLED))
        if statistic != _WITHIN or between is None or pooled is None:
            continue
        if {reading(within), reading(between)} == {Reading.ABOVE, Reading.BELOW}:
            sentences.append(
                f"Pooling hides two opposite facts about {scorer}: within prompts {told(within)}, "
                f"between prompts {told(between)}, pooled {told(pooled)}."
            )
    return sentences


def _dissent(estimates: Iterable[Estimate], statistic: str) -> list[str]:
    """Whether several oracles lead to the same readings."""
    readings: dict[tuple[str, float | None], dict[str, Reading]] = {}
    for each in estimates:
        if each.statistic == statistic and reading(each) is not Reading.UNDEFINED:
            readings.setdefault((each.scorer, each.temperature), {})[each.oracle] = reading(each)
    shared = [by_oracle for by_oracle in readings.values() if len(by_oracle) > 1]
    if not shared:
        return []
    same = sum(len(set(by_oracle.values())) == 1 for by_oracle in shared)
    oracles = list(dict.fromkeys(oracle for by_oracle in shared for oracle in by_oracle))
    return [f"The oracles {listed(oracles)} lead to the same reading in {same} of {len(shared)} comparisons."]
