"""A condition on estimates that people can type: ``temperature >= 1.5 and scorer == 'rm'``. Parsed, never evaluated.

    condition  = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | "(" condition ")" | field comparison value
    comparison = "==" | "=" | "!=" | "<" | "<=" | ">" | ">="
    value      = number | 'text' | "text" | word | null

A field that is missing, such as the temperature of all responses together, equals null and nothing else; it is
neither smaller nor greater than anything.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from evaluation.statistics.estimate import Estimate
from trainer.errors import InvalidInput

Condition = Callable[[Estimate], bool]
Value = float | str | None

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w/:@-]))"
    r"|(?P<text>'[^']*'|\"[^\"]*\")|(?P<sign>[<>!=]=|[<>=()])|(?P<word>[\w./:@-]+))"
)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TEXTS = ("scorer", "oracle", "statistic", "stratum", "method")
_NUMBERS = (
    *("temperature", "estimate", "lower", "upper", "standard_error"),
    *("n_prompts", "n_responses", "n_dropped", "n_total", "n_truncated", "n_constant_prompts"),
)
_MOST_CHARACTERS = 2000
_DEEPEST = 50


def parse_condition(text: str) -> Condition:
    """The condition that ``text`` describes. Raises InvalidInput saying where it stops making sense."""
    parser = _Parser(text)
    condition = parser.any()
    parser.end()
    return condition


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int
    """Character of the text, from 1."""


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def any(self) -> Condition:
        found = self._all()
        while self._takes("or"):
            found = _either(found, self._all())
        return found

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._wrong("expected 'and', 'or' or the end")

    def _all(self) -> Condition:
        found = self._one()
        while self._takes("and"):
            found = _both(found, self._one())
        return found

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"nested more than {_DEEPEST} deep")
        found = self._nested()
        self._depth -= 1
        return found

    def _nested(self) -> Condition:
        if self._takes("not"):
            inner = self._one()
            return lambda estimate: not inner(estimate)
        if self._takes("("):
            found = self.any()
            if not self._takes(")"):
                raise self._wrong("expected ')'")
            return found
        return self._comparison()

    def _comparison(self) -> Condition:
        field = self._take("word", f"expected one of {', '.join((*_TEXTS, *_NUMBERS))}").text
        if field not in (*_TEXTS, *_NUMBERS):
            raise self._wrong(f"no field {field!r}; use one of {', '.join((*_TEXTS, *_NUMBERS))}", back=1)
        sign = self._take("sign", f"expected a comparison such as {field} >= ...").text
        if sign in "()":
            raise self._wrong(f"expected a comparison such as {field} == ...", back=1)
        value = self._value(field)
        if sign in _ORDER:
            if not isinstance(value, float):
                raise self._wrong(f"{field} {sign} needs a number", back=1)
            return _ordered(field, _ORDER[sign], value)
        equal = sign != "!="
        return lambda estimate: (getattr(estimate, field) == value) is equal

    def _value(self, field: str) -> Value:
        if self._next == len(self._tokens):
            raise self._wrong(f"expected a value for {field}")
        token = self._tokens[self._next]
        self._next += 1
        if token.kind == "word" and token.text == "null":
            return None
        if field in _NUMBERS:
            if token.kind != "number":
                raise self._wrong(f"{field} is a number", back=1)
            return float(token.text)
        if token.kind == "sign":
            raise self._wrong(f"expected a value for {field}", back=1)
        return token.text[1:-1] if token.kind == "text" else token.text

    def _takes(self, text: str) -> bool:
        found = self._next < len(self._tokens) and self._tokens[self._next].text == text
        self._next += found
        return found

    def _take(self, kind: str, complaint: str) -> _Token:
        if self._next == len(self._tokens) or self._tokens[self._next].kind != kind:
            raise self._wrong(complaint)
        self._next += 1
        return self._tokens[self._next - 1]

    def _wrong(self, complaint: str, back: int = 0) -> InvalidInput:
        at = self._next - back
        where = f"at character {self._tokens[at].place}" if at < len(self._tokens) else "at its end"
        return InvalidInput(f"condition {self._text!r}, {where}: {complaint}")


def _tokens(text: str) -> list[_Token]:
    if len(text) > _MOST_CHARACTERS:
        raise InvalidInput(f"a condition has at most {_MOST_CHARACTERS} characters")
    tokens, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            start = place + len(text[place:]) - len(text[place:].lstrip())
            raise InvalidInput(f"condition {text!r}, at character {start + 1}: {text[start]!r} means nothing here")
        kind = str(match.lastgroup)
        tokens.append(_Token(kind, match[kind], match.start(kind) + 1))
        place = match.end()
    return tokens


def _both(first: Condition, second: Condition) -> Condition:
    return lambda estimate: first(estimate) and second(estimate)


def _either(first: Condition, second: Condition) -> Condition:
    return lambda estimate: first(estimate) or second(estimate)


def _ordered(field: str, compare: Callable[[float, float], bool], value: float) -> Condition:
    def holds(estimate: Estimate) -> bool:
        found = getattr(estimate, field)
        return found is not None and compare(found, value)

    return holds
