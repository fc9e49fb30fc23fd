"""Which of two policies is judged better over temperature, in sentences that claim no more than the intervals do."""

from collections.abc import Iterable, Sequence

from evaluation.statistics.estimate import Estimate
from evaluation.statistics.policy_wins import WIN_RATE as POLICY_WINS
from evaluation.wording import Reading, number, reading, temperatures_told


def contests_told(estimates: Iterable[Estimate]) -> list[str]:
    """A sentence for each oracle and two policies; none where no policies were compared."""
    paths: dict[tuple[str, str, str], list[Estimate]] = {}
    for each in estimates:
        rival = each.statistic.removeprefix(POLICY_WINS)
        if rival != each.statistic and each.temperature is not None and (each.oracle, rival, each.scorer) not in paths:
            paths.setdefault((each.oracle, each.scorer, rival), []).append(each)
    return [_contest(oracle, one, other, path) for (oracle, one, other), path in paths.items()]


def _contest(oracle: str, one: str, other: str, path: Sequence[Estimate]) -> str:
    path = sorted(path, key=lambda each: each.temperature or 0.0)
    grid = [each.temperature for each in path]
    parts: list[str] = []
    for kind, words in (
        (Reading.ABOVE, f"{one} is judged better than {other}"),
        (Reading.BELOW, f"{one} is judged worse than {other}"),
        (Reading.UNRESOLVED, f"which of {one} and {other} is better is not resolved"),
    ):
        found = [each for each in path if reading(each) is kind]
        if found:
            furthest = max(found, key=lambda each: abs((each.estimate or 0.5) - 0.5))
            share, low, high = (100 * (value or 0.0) for value in (furthest.estimate, furthest.lower, furthest.upper))
            number_told = f"{number(share, 0)} % [{number(low, 0)}, {number(high, 0)}] of pairs"
            most = f" at T = {furthest.temperature:g}" if len(found) > 1 else ""
            parts.append(
                f"{words}{temperatures_told([each.temperature for each in found], grid)} ({number_told}{most})"
            )
    return f"By {oracle}, {'; '.join(parts)}." if parts else f"By {oracle}, {one} and {other} cannot be compared."
