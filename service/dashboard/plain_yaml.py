"""YAML as recipes are written in it: a tree. Aliases can make a few lines mean more than memory holds, or never end."""

from typing import Any

import yaml

from service.bodies import MAX_DEPTH
from trainer.errors import InvalidInput

MOST_BYTES = 256 * 2**10


class _Tree(yaml.SafeLoader):
    _depth = 0

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
    """What ``text`` says. Raises InvalidInput for what is no YAML, too large or too deep, and for aliases."""
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise InvalidInput(f"not read: YAML here has at most {MOST_BYTES:,} bytes")
    try:
        return yaml.load(text, _Tree)  # noqa: S506 - a safe loader
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InvalidInput(f"not YAML: {' '.join(str(error).split())}") from error


def write_yaml(value: Any, width: int | None = None) -> str:  # noqa: ANN401 - any JSON
    """``value`` for ``read_yaml``."""
    text: str = yaml.dump(value, Dumper=_Spelled, sort_keys=False, allow_unicode=True, width=width)
    return text
