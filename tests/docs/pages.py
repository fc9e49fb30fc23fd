"""How a page of the documentation is read: which commands it has, and what a shell is to do with each block.

A page is one shell in one fresh directory, where the demonstration has been made, and ``http://127.0.0.1:8000`` is its
server. Blocks of ``sh`` and ``python`` are run, and indented ones that begin with a program's name. A block of ``yaml``
whose first line is ``# NAME`` is written to that file; of a GitHub workflow the steps are run as well. A block of
``text`` after commands is what they print, ``...`` standing for anything.

A comment before a block says what a reader need not know:

``<!-- checked, not run: WHY -->``          its programs' own parsers read it (``checked.py``); nothing is done
``<!-- serves until stopped -->``           it is stopped once its server answers
``<!-- ends with 1: WHY -->``               it is to fail beside a small demonstration
``<!-- prints other numbers: WHY -->``      of what it prints any number stands for any other
``<!-- first: COMMANDS -->``                what a reader has done, or what has happened to them, before

Anywhere on a page: ``<!-- checked on this page, not run: WHY -->``; ``<!-- run by make slow -->`` where it takes long.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
MARK = "@@ line "
_CHECKED = re.compile(r"<!-- checked, not run: (.+?) -->")
_CHECKED_HERE = re.compile(r"^<!-- checked on this page, not run: (.+?) -->$", re.MULTILINE)
_ENDS_WITH = re.compile(r"<!-- ends with (\d+): .+? -->")
_FIRST = re.compile(r"<!-- first: (.+?) -->")
_SERVES = "<!-- serves until stopped -->"
_OTHER_NUMBERS = "<!-- prints other numbers: "
_SLOW = "<!-- run by make slow -->"
_KNOWN = ("<!-- checked", "<!-- ends with ", "<!-- first: ", _SERVES, _OTHER_NUMBERS, _SLOW)
_COMMENT = re.compile(r"^<!-- .+ -->$")
_FENCE = re.compile(r"^```([\w-]*)$")
_INDENTED = re.compile(r"^ {4}(assay|curl|make|python|docker|\.venv/bin/\w+) ")
_FILE = re.compile(r"^# ([\w./-]+\.ya?ml)$")
_PROGRAM = r"assay|make|accelerate launch|pip install|python -m (?:trainer|benchmarks|service)[\w.]*"
_INLINE = re.compile(rf"`((?:{_PROGRAM}) [^`]+)`")
_END = "```"

_SERVE = """\
cat > served.sh <<'@@END'
set -e
{commands}
@@END
: > served.txt  # of the server before
set -m
bash served.sh > served.txt 2>&1 &
served=$!
set +m
until grep -q 'Assay is at' served.txt; do kill -0 $served || {{ cat served.txt >&2; exit 1; }}; sleep 0.1; done
curl -s --fail --max-time 60 $(sed -n 's/.*Assay is at \\(http[^ ]*\\).*/\\1/p' served.txt)/livez
kill -TERM -- -$served
wait $served || true"""
"""Of a process group of its own, so that what it started ends with it."""


@dataclass(frozen=True)
class Block:
    """A fenced or an indented block; ``said`` are the comments before it."""

    line: int
    language: str
    text: str
    said: list[str] = field(default_factory=list)
    follows: bool = False
    """Whether nothing stands between it and the block before."""

    def checked(self) -> str | None:
        """Why it is not run."""
        found = self._found(_CHECKED)
        return found[1] if found else None

    def prints_other_numbers(self) -> bool:
        """Whether what it prints is of a model that a test has not."""
        return any(each.startswith(_OTHER_NUMBERS) for each in self.said)

    def script(self, *, checked: bool = False) -> str | None:
        """What a shell does with it; None for what is only there to be read."""
        commands = self.commands()
        if commands is None:
            return None
        if checked or self.checked():
            # the recorders of calls stand for every program, wherever the page says that it is
            commands = f'( PATH="$RECORDERS:$PATH"\nset -e\n{commands.replace(".venv/bin/", "")}\n)'
        elif _SERVES in self.said:
            commands = _SERVE.format(commands=commands)
        failing = self._found(_ENDS_WITH)
        if failing:
            commands = f"set +e\n( set -e\n{commands}\n)\ntest $? -eq {failing[1]} || exit 97\nset -e"
        before = [found[1] for found in map(_FIRST.search, self.said) if found]
        return "\n".join([*(f"{{ {each}; }} > /dev/null" for each in before), commands])

    def _found(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return next(filter(None, map(pattern.search, self.said)), None)

    def commands(self) -> str | None:
        """What a reader would type."""
        if self.language == "sh":
            return self.text
        if self.language == "python":
            return f"python - <<'@@END'\n{self.text}\n@@END"
        first, _, _ = self.text.partition("\n")
        named = _FILE.match(first)
        if self.language != "yaml" or named is None:
            return None
        name = shlex.quote(named[1])
        written = f"mkdir -p $(dirname {name})\ncat > {name} <<'@@END'\n{self.text}\n@@END"
        return "\n".join([written, *_steps(self.text, name)])


def _steps(text: str, name: str) -> Iterator[str]:
    """Of a workflow: the check of its form, and its own steps."""
    if ".github/workflows/" not in name:
        return
    yield f"check-jsonschema --quiet --builtin-schema vendor.github-workflows {name}"
    for job in yaml.safe_load(text)["jobs"].values():
        yield from (step["run"] for step in job["steps"] if "run" in step)


def blocks(text: str) -> list[Block]:
    """Of a page, in their order."""
    found: list[Block] = []
    lines = text.splitlines()
    said: list[str] = []
    last = ""
    number = 0
    while number < len(lines):
        line = lines[number]
        fence = _FENCE.match(line)
        if fence:
            end = lines.index("```", number + 1)
            found.append(Block(number + 1, fence[1], "\n".join(lines[number + 1 : end]), said, follows=last == _END))
            said, last, number = [], _END, end + 1
        elif _INDENTED.match(line) and not (number and lines[number - 1]):
            end = number
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            inside = "\n".join(each.removeprefix("    ") for each in lines[number:end])
            found.append(Block(number + 1, "sh", inside, said))
            said, last, number = [], "", end
        else:
            if line:
                said = [*said, line] if _COMMENT.match(line) else []
                last = line
            number += 1
    return found


@dataclass(frozen=True)
class Page:
    """A document and what of it is run."""

    name: str
    text: str

    def whole_is_checked(self) -> str | None:
        """Why nothing of it is run."""
        found = _CHECKED_HERE.search(self.text)
        return found[1] if found else None

    def is_slow(self) -> bool:
        """Whether `make slow` runs it and `make test` does not."""
        return _SLOW in self.text

    def with_commands(self) -> list[Block]:
        """The blocks for a shell."""
        return [each for each in blocks(self.text) if each.commands()]

    def script(self) -> str:
        """Everything, from its top to its end."""
        lines = ["set -e -o pipefail"]
        for block in self.with_commands():
            lines.append(f"echo '{MARK}{block.line}' | tee /dev/stderr")
            lines.append(block.script(checked=self.whole_is_checked() is not None) or "")
        return "\n".join(lines)

    def checked(self) -> list[tuple[Block, str]]:
        """What is not run, with the reason."""
        whole = self.whole_is_checked()
        return [(each, why) for each in self.with_commands() if (why := whole or each.checked())]

    def expected(self) -> list[tuple[Block, str]]:
        """Commands that are run, and what the page says they print."""
        checked = [block for block, _ in self.checked()]
        return [
            (commands, shown.text)
            for commands, shown in pairwise(blocks(self.text))
            if commands.commands() and commands not in checked and shown.language == "text" and shown.follows
        ]

    def unread(self) -> list[Block]:
        """Blocks without a language, or with a comment before them that is none of the above."""
        return [
            each
            for each in blocks(self.text)
            if not each.language or any(not said.startswith(_KNOWN) for said in each.said)
        ]

    def inline(self) -> list[str]:
        """Commands within sentences."""
        prose = re.sub(r"^```.*?^```$", "", self.text, flags=re.MULTILINE | re.DOTALL)
        return [" ".join(each.split()) for each in _INLINE.findall(prose)]


def all_pages() -> list[Page]:
    """README.md and everything in docs/."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [Page(str(path.relative_to(ROOT)), path.read_text()) for path in paths]


_NUMBER = re.compile(r"[-+−]?\d+(\.\d+)?(e[-+]?\d+)?|null")


def matches(shown: str, printed: str, *, numbers: bool = True) -> bool:
    """Whether ``printed`` is what is shown, spaces apart, where ``...`` stands for anything.

    Without ``numbers`` any number, and null, stands for any other.
    """
    if not numbers:
        shown, printed = _NUMBER.sub("#", shown), _NUMBER.sub("#", printed)
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in shown.split("..."))
    return re.fullmatch(pattern.replace(r"\ ", r"\s*"), " ".join(printed.split()), re.DOTALL) is not None
