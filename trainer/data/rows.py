"""What a training row says, wherever it came from: a pair to imitate, or a preference."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from trainer.data.text import Prompt
from trainer.manifest import Contrast


@dataclass(frozen=True)
class Pair:
    """A prompt and a response to it."""

    prompt: Prompt
    response: str


@dataclass(frozen=True)
class Preference:
    """A chosen and a rejected pair. In preferential prompts (GAPO) the prompts differ and the response is shared.

    Where single responses were judged good or bad (KTO) one of the two is None: the row is unpaired.
    """

    chosen: Pair | None
    rejected: Pair | None
    kind: str = "preference"
    """What distinguishes the two, where the source knows; accuracies are reported per kind."""
    margin: float | None = None
    """By how much chosen is better, where the source says so."""

    def __post_init__(self) -> None:
        assert self.chosen is not None or self.rejected is not None

    @property
    def sides(self) -> list[Pair]:
        """The pairs there are, chosen first."""
        return [side for side in (self.chosen, self.rejected) if side is not None]

    @property
    def paired(self) -> bool:
        """Whether there are both."""
        return self.chosen is not None and self.rejected is not None


def contrasts(rows: Iterable[Preference]) -> list[Contrast]:
    """What the rows contrast: two prompts for one response, two responses to one prompt, or both, row by row."""
    pairs = [(row.chosen, row.rejected) for row in rows if row.chosen is not None and row.rejected is not None]
    found: dict[Contrast, bool] = {
        "prompts": any(chosen.response == rejected.response for chosen, rejected in pairs),
        "responses": any(chosen.prompt == rejected.prompt for chosen, rejected in pairs),
    }
    return [contrast for contrast, there in found.items() if there]


def digest_rows(rows: Iterable[Pair | Preference]) -> str:
    """sha256 over the rows in order: what a manifest records as the data it was trained on."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(asdict(row), sort_keys=True).encode())
    return digest.hexdigest()
