"""What a model wrote, made fit to be looked at: nothing in it is markup, and nothing in it hides."""

import re
import unicodedata
from itertools import islice

from markupsafe import Markup, escape

from evaluation.statistics.degeneration import DEGENERATE, measure_text

_SIGNS = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Control characters, and what turns the direction of text or has no width; joiners, which scripts need, stay."""

_SAME, _ANY = re.compile(f"({_SIGNS})\\1*"), re.compile(f"{_SIGNS}+")

_MOST_MARKS = 2_000
"""In one text; beyond them they are left out, so that a page is not made of marks alone."""


def visible(text: str) -> Markup:
    """The text escaped, with every character that cannot be seen told by its code."""
    parts: list[Markup] = []
    end = 0
    for match in islice(_SAME.finditer(text), _MOST_MARKS):
        parts += [escape(text[end : match.start()]), _mark(match[1], len(match[0]))]
        end = match.end()
    parts.append(escape(_ANY.sub("", text[end:])))
    return Markup("").join(parts)


def prompt_text(content: str | list[dict[str, str]]) -> str:
    """A stored prompt as one text, as ``trainer.data.text.as_text`` has it, which brings transformers."""
    if isinstance(content, str):
        return content
    if len(content) == 1:
        return content[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in content)


def is_degenerate(prompt: str, text: str) -> bool:
    """Whether a response is no text any more, as ``evaluation.statistics.degeneration`` has it."""
    return measure_text(prompt, text)[DEGENERATE] == 1


def _mark(character: str, times: int) -> Markup:
    code = f"U+{ord(character):04X}" + (f" \N{MULTIPLICATION SIGN} {times:,}" if times > 1 else "")
    name = unicodedata.name(character, "control character").lower()
    return Markup('<span class="unseen" title="{}">{}</span>').format(name, code)
