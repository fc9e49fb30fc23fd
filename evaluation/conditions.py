"""A condition that people can type: ``temperature >= 1.5 and scorer == 'rm'``. Parsed into a tree, never evaluated.

    condition  = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | "(" condition ")" | field comparison value
    comparison = "==" | "=" | "!=" | "<" | "<=" | ">" | ">="
    value      = number | 'text' | "text" | word | null

A field that is missing, such as the temperature of all responses together, equals null and nothing else; it is
neither smaller nor greater than anything. ``parse_condition`` reads a tree over estimates; the history reads the same
trees over its table.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from evaluation.statistics.estimate import Estimate
from trainer.errors import InvalidInput

Condition = Callable[[Estimate], bool]
Value = float | str | datetime | None


@dataclass(frozen=True)
class Comparison:
    """``field sign value``; ``==`` and ``!=`` alone compare texts and null."""

    field: str
    sign: str
    value: Value


@dataclass(frozen=True)
class Not:
    """What does not hold."""

    tree: "Tree"


@dataclass(frozen=True)
class Every:
    """Joined by ``and``."""

    trees: tuple["Tree", ...]


@dataclass(frozen=True)
class Some:
    """Joined by ``or``."""

    trees: tuple["Tree", ...]


Tree = Comparison | Not | Every | Some


@dataclass(frozen=True)
class Fields:
    """What may be compared, by what it is compared with."""

    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    times: tuple[str, ...] = ()
    """Compared with an ISO 8601 time or date; UTC where it names no zone."""

    labels: str | None = None
    """Prefix of fields of any further name, which are texts: ``label.`` for ``label.team``."""

    def kind(self, field: str) -> str | None:
        """``text``, ``number`` or ``time``; None for what is no field."""
        for kind, names in (("text", self.texts), ("number", self.numbers), ("time", self.times)):
            if field in names:
                return kind
        labelled = self.labels is not None and field.startswith(self.labels) and field != self.labels
        return "text" if labelled else None

    def __str__(self) -> str:
        labelled = () if self.labels is None else (f"{self.labels}NAME",)
        return ", ".join((*self.texts, *self.numbers, *self.times, *labelled))


_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w/:@-]))"
    r"|(?P<text>'[^']*'|\"[^\"]*\")|(?P<sign>[<>!=]=|[<>=()])|(?P<word>[\w./:@-]+))"
)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OF_ESTIMATES = Fields(
    texts=("scorer", "oracle", "statistic", "stratum", "method"),
    numbers=(
        *("temperature", "estimate", "lower", "upper", "standard_error"),
        *("n_prompts", "n_responses", "n_dropped", "n_total", "n_truncated", "n_constant_prompts"),
    ),
)
_MOST_CHARACTERS = 2000
_DEEPEST = 50


def parse_condition(text: str) -> Condition:
    """The condition on estimates that ``text`` describes. Raises InvalidInput saying where it stops making sense."""
    return _over_estimates(parse_tree(text, OF_ESTIMATES))


def parse_tree(text: str, fields: Fields) -> Tree:
    """What ``text`` says of ``fields``. Raises InvalidInput saying where it stops making sense."""
    parser = _Parser(text, fields)
    tree = parser.any()
    parser.end()
    return tree


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int
    """Character of the text, from 1."""


class _Parser:
    def __init__(self, text: str, fields: Fields) -> None:
        self._text = text
        self._fields = fields
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def any(self) -> Tree:
        found = [self._all()]
        while self._takes("or"):
            found.append(self._all())
        return Some(tuple(found)) if len(found) > 1 else found[0]

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._wrong("expected 'and', 'or' or the end")

    def _all(self) -> Tree:
        found = [self._one()]
        while self._takes("and"):
            found.append(self._one())
        return Every(tuple(found)) if len(found) > 1 else found[0]

    def _one(self) -> Tree:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"nested more than {_DEEPEST} deep")
        found = self._nested()
        self._depth -= 1
        return found

    def _nested(self) -> Tree:
        if self._takes("not"):
            return Not(self._one())
        if self._takes("("):
            found = self.any()
            if not self._takes(")"):
                raise self._wrong("expected ')'")
            return found
        return self._comparison()

    def _comparison(self) -> Tree:
        field = self._take("word", f"expected one of {self._fields}").text
        kind = self._fields.kind(field)
        if kind is None:
            raise self._wrong(f"no field {field!r}; use one of {self._fields}", back=1)
        sign = self._take("sign", f"expected a comparison such as {field} >= ...").text
        if sign in "()":
            raise self._wrong(f"expected a comparison such as {field} == ...", back=1)
        value = self._value(field, kind)
        if sign in _ORDER and (value is None or kind == "text"):
            raise self._wrong(f"{field} {sign} needs a {'time' if kind == 'time' else 'number'}", back=1)
        return Comparison(field, "==" if sign == "=" else sign, value)

    def _value(self, field: str, kind: str) -> Value:
        if self._next == len(self._tokens):
            raise self._wrong(f"expected a value for {field}")
        token = self._tokens[self._next]
        self._next += 1
        if token.kind == "word" and token.text == "null":
            return None
        if kind == "number":
            if token.kind != "number":
                raise self._wrong(f"{field} is a number", back=1)
            return float(token.text)
        if token.kind == "sign":
            raise self._wrong(f"expected a value for {field}", back=1)
        text = token.text[1:-1] if token.kind == "text" else token.text
        return text if kind == "text" else self._time(field, text)

    def _time(self, field: str, text: str) -> datetime:
        try:
            time = datetime.fromisoformat(text)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise self._wrong(f"{field} is a time such as 2026-11-26 or '2026-11-26T09:30:00+01:00'", back=1) from None

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


def _over_estimates(tree: Tree) -> Condition:
    match tree:
        case Not(inner):
            negated = _over_estimates(inner)
            return lambda estimate: not negated(estimate)
        case Every(trees):
            all_of = [_over_estimates(each) for each in trees]
            return lambda estimate: all(holds(estimate) for holds in all_of)
        case Some(trees):
            any_of = [_over_estimates(each) for each in trees]
            return lambda estimate: any(holds(estimate) for holds in any_of)
        case Comparison(field, sign, value) if sign in _ORDER:
            return _ordered(field, _ORDER[sign], value)
        case Comparison(field, sign, value):
            return lambda estimate: (getattr(estimate, field) == value) is (sign == "==")


def _ordered(field: str, compare: Callable[[Any, Any], bool], value: Value) -> Condition:
    def holds(estimate: Estimate) -> bool:
        found = getattr(estimate, field)
        return found is not None and compare(found, value)

    return holds
