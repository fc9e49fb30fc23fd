"""Serving against training: the probe pairs of an artifact scored now, beside the scores its producer saw."""

from dataclasses import dataclass
from itertools import groupby

from pydantic import ValidationError

from service.metered import MeteredScoring
from service.score_schema import MAX_SCORERS, Message, Score, ScoreItem, ScoreRequest
from trainer.errors import BrokenArtifact
from trainer.manifest import Artifact, Probe


@dataclass(frozen=True)
class Probed:
    """One score of one probe pair."""

    probe: Probe
    output: str
    published: float
    now: float | None
    """None where it could not be scored; ``error`` says why."""
    error: str

    @property
    def difference(self) -> float | None:
        """Now less published."""
        return None if self.now is None else self.now - self.published


@dataclass(frozen=True)
class Parity:
    """Every score of every probe pair."""

    rows: list[Probed]

    def by_probe(self) -> list[tuple[Probe, list[Probed]]]:
        """The same, pair by pair."""
        return [(probe, list(its)) for probe, its in groupby(self.rows, key=lambda row: row.probe)]

    @property
    def largest(self) -> float | None:
        """The largest difference, without its sign; None where nothing was scored."""
        found = [abs(row.difference) for row in self.rows if row.difference is not None]
        return max(found, default=None)


async def compared(artifact: Artifact, scoring: MeteredScoring) -> Parity:
    """Score the probes as any client would.

    Raises as ``MeteredScoring.score``, and BrokenArtifact for probes that no client could send.
    """
    probes = artifact.manifest.probes
    outputs = list(dict.fromkeys(output for probe in probes for output in probe.scores))[:MAX_SCORERS]
    if not outputs:
        return Parity([])
    names = {output: f"{artifact.reference}:{output}" for output in outputs}
    try:
        items = [ScoreItem(prompt=_prompt(probe), response=probe.response) for probe in probes]
        request = ScoreRequest(scorers=list(names.values()), items=items)
    except (KeyError, ValidationError) as unsent:
        raise BrokenArtifact(
            f"{artifact.reference}: its probe pairs are none that a request to score may hold; see its manifest"
        ) from unsent
    answer = await scoring.score(request, sampled=False)
    rows = []
    for probe, item in zip(probes, answer.items, strict=True):
        for output in outputs:
            if output not in probe.scores:
                continue
            cell = item.scores[0][names[output]]
            now, error = (cell.score, "") if isinstance(cell, Score) else (None, cell.error.detail)
            rows.append(Probed(probe, output, probe.scores[output], now, error))
    return Parity(rows)


def _prompt(probe: Probe) -> str | list[Message]:
    prompt = probe.prompt
    return (
        prompt if isinstance(prompt, str) else [Message(role=turn["role"], content=turn["content"]) for turn in prompt]
    )
