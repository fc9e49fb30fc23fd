"""Trivial scorers. A learned scorer earns its keep only by beating them on the same responses.

Each reads one response and knows nothing of quality. None means that the row does not record what the control needs.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from trainer.models import outputs


@dataclass(frozen=True)
class Response:
    """One response and what was recorded while it was sampled."""

    prompt: str
    response: str
    tokens: int | None = None
    mean_logprob: float | None = None
    """Mean log-probability of the response's tokens under the policy that wrote it, in nats."""

    finish_reason: Literal["stop", "length"] | None = None


Control = Callable[[Response], float | None]


def length(row: Response) -> float:
    """log(1 + characters).

    The logarithm because a judge rewards a doubling, not a further hundred characters; characters because they mean
    the same for every policy, while tokens depend on its tokenizer and pile up at the truncation limit.
    """
    return math.log1p(len(row.response))


def zlib_ratio(row: Response) -> float | None:
    """Compressed over plain size in bytes: low for text that repeats itself, above 1 for a few characters."""
    # a lone surrogate, which JSON can carry, has no UTF-8; it must not cost the row its control
    plain = row.response.encode("utf-8", errors="replace")
    return len(zlib.compress(plain, 6)) / len(plain) if plain else None


def mean_logprob(row: Response) -> float | None:
    """How likely the policy itself found its response."""
    return row.mean_logprob


def truncated(row: Response) -> float | None:
    """1 where the response was cut at the token limit, 0 where it ended by itself."""
    return None if row.finish_reason is None else float(row.finish_reason == "length")


CONTROLS: dict[str, Control] = {
    "length": length,
    "zlib_ratio": zlib_ratio,
    "mean_logprob": mean_logprob,
    "truncated": truncated,
}

VALUES: dict[str, str] = {
    "length": "log(1 + characters)",
    "zlib_ratio": "compressed over plain bytes",
    "mean_logprob": "mean log-probability of its tokens",
    "truncated": "1 if cut off, else 0",
}
"""What each says of a response, for people."""

UNTRAINED = "untrained"
"""Last part of the name under which a discriminator's untrained controls are told together."""


def family(scorer: str) -> str:
    """What an untrained control is told as: ``NAME:untrained`` for ``NAME:untrained_3``; others as themselves."""
    output = scorer.rpartition(":")[2].partition("@")[0]
    return untrained_like(scorer) if output in outputs.UNTRAINED else scorer


def untrained_like(scorer: str) -> str:
    """What the untrained networks beside the scorer ``NAME:OUTPUT``, if there are any, are told as."""
    name, colon, output = scorer.rpartition(":")
    if not colon:  # its first output was meant
        return f"{scorer}:{UNTRAINED}"
    _, at, version = output.partition("@")  # told where two versions are compared
    return f"{name}:{UNTRAINED}{at}{version}"


def is_control(scorer: str) -> bool:
    """Whether it is there to be beaten: a trivial control, or discriminators that nobody trained."""
    return scorer in CONTROLS or scorer.partition(":")[2].partition("@")[0] == UNTRAINED
