"""Whether a response is still text: what high temperatures do before anybody judges quality.

Words are what white space separates. repeat-4 is the share of a response's 4-grams that it has said before (Welleck et
al. 2020), distinct-2 the share of its 2-grams that are different (Li et al. 2016).
"""

import re
import zlib
from collections.abc import Callable

_BROKEN = re.compile("[\ufffd\ud800-\udfff]")
_REPETITIVE = 0.5
_COMPRESSIBLE = 0.1
"""English prose stays above 0.3; a phrase repeated to the limit falls below."""
_FOREIGN = 0.3
_BROKEN_SHARE = 0.01

Measure = Callable[[str], float | None]


def empty(text: str) -> float:
    """1 where nothing is visible."""
    return float(not text.strip())


def non_ascii(text: str) -> float | None:
    """Share of characters beyond ASCII."""
    return 1 - len(text.encode("ascii", "ignore")) / len(text) if text else None


def replacement(text: str) -> float | None:
    """Share of characters that stand for bytes that were no text: U+FFFD and halves of surrogate pairs."""
    return len(_BROKEN.findall(text)) / len(text) if text else None


def repeat_4(text: str) -> float | None:
    """Share of 4-grams said before; None below four words."""
    share = _distinct(text, 4)
    return None if share is None else 1 - share


def distinct_2(text: str) -> float | None:
    """Different 2-grams over all of them; None below two words."""
    return _distinct(text, 2)


MEASURES: dict[str, Measure] = {
    "text_empty": empty,
    "text_non_ascii": non_ascii,
    "text_replacement": replacement,
    "text_repeat_4": repeat_4,
    "text_distinct_2": distinct_2,
}
DEGENERATE = "text_degenerate"


def measure_text(prompt: str, text: str) -> dict[str, float | None]:
    """Every measure of one response, and whether it is degenerate, 1 or 0.

    Degenerate is what is empty, has 1 % of broken characters or more, repeats half of its 4-grams, compresses tenfold,
    or is to 30 % beyond ASCII although its prompt is not to 5 %. These bounds are conventions, for a stratum.
    """
    found = {name: measure(text) for name, measure in MEASURES.items()}
    foreign = (found["text_non_ascii"] or 0) > _FOREIGN and (non_ascii(prompt) or 0) < 0.05
    degenerate = (
        bool(found["text_empty"])
        or (found["text_replacement"] or 0) >= _BROKEN_SHARE
        or (found["text_repeat_4"] or 0) >= _REPETITIVE
        or foreign
        or _compresses(text)
    )
    return {**found, DEGENERATE: float(degenerate)}


def _compresses(text: str) -> bool:
    plain = text.encode("utf-8", errors="replace")
    return len(zlib.compress(plain, 1)) < _COMPRESSIBLE * len(plain)


def _distinct(text: str, n: int) -> float | None:
    words = text.split()
    count = len(words) - n + 1
    if count < 1:
        return None
    return len(set(zip(*(words[start:] for start in range(n)), strict=False))) / count
