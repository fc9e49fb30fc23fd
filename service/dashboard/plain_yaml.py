"""YAML as recipes are written in it: a tree of what JSON has, too. Aliases can make a few lines mean more than memory
holds, or never end; dates, bytes and sets are nothing that a recipe holds or its row in the database could."""

from typing import Any

import yaml

from service.bodies import MAX_DEPTH
from trainer.errors import InvalidInput

MOST_BYTES = 256 * 2**10


_MOST_BITS = 64
_TAG = "tag:yaml.org,2002:"
_NO_JSON = {
    f"{_TAG}timestamp": "a date",
    f"{_TAG}binary": "bytes",
    f"{_TAG}set": "a set",
    f"{_TAG}omap": "an ordered map",
    f"{_TAG}pairs": "a list of pairs",
}


class _Tree(yaml.SafeLoader):
    _depth = 0

    def _refuse(self, node: yaml.Node) -> None:
        problem = f"{_NO_JSON[node.tag]}; a recipe has texts, numbers, lists and mappings: write one, texts in quotes"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)

    def _integer(self, node: yaml.ScalarNode) -> int:
        number = self.construct_yaml_int(node)
        if number.bit_length() > _MOST_BITS:  # in base 16 it may be one that Python does not even write down
            problem = f"an integer of more than {_MOST_BITS} bits"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return int(number)

    yaml_constructors = {  # noqa: RUF012 - as the loader's own
        **yaml.SafeLoader.yaml_constructors,
        **dict.fromkeys(_NO_JSON, _refuse),
        f"{_TAG}int": _integer,
    }

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - as the loader's own
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()  # type: ignore[no-untyped-call]
            problem = f"*{alias.anchor}: aliases are not read here; write out what it stands for"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=alias.start_mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.YAMLError(f"nested more than {MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode):
            node.value.encode()  # half a surrogate is none that a page could show
        self._depth -= 1
        return node


class _Spelled(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401 - as the dumper's own
        """Write a value as often as it is there."""
        return True


def read_yaml(text: str) -> Any:  # noqa: ANN401 - any JSON
    """What ``text`` says. Raises InvalidInput for no YAML, what JSON has not, too much or too deep, and aliases."""
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise InvalidInput(f"not read: YAML here has at most {MOST_BYTES:,} bytes")
    try:
        return yaml.load(text, _Tree)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        told, mark = ", ".join(filter(None, (error.context, error.problem))), error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise InvalidInput(f"not YAML: {told}{where}") from error
    except (ValueError, OverflowError, RecursionError, yaml.YAMLError) as error:
        raise InvalidInput(f"not YAML: {' '.join(str(error).split())}") from error


def tree_or_text(text: str) -> Any:  # noqa: ANN401 - any JSON
    """What ``text`` says, or itself where it is no YAML."""
    try:
        return read_yaml(text)
    except InvalidInput:
        return text


def write_yaml(value: Any, width: int | None = None) -> str:  # noqa: ANN401 - any JSON
    """``value`` for ``read_yaml``."""
    text: str = yaml.dump(value, Dumper=_Spelled, sort_keys=False, allow_unicode=True, width=width)
    return text
