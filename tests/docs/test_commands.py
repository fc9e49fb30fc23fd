"""Every command of the documentation is run, as somebody would who reads a page from its top.

A page is one shell in one fresh directory, where the demonstration has been made, and ``http://127.0.0.1:8000`` is its
server. Blocks of ``sh`` and ``python`` are run, and indented ones that begin with a program's name. A block of ``yaml``
whose first line is ``# NAME`` is written to that file; of a GitHub workflow the steps are run as well. A block of
``text`` after commands is what they print, ``...`` standing for anything.

Comments say what cannot be: ``<!-- not run: WHY -->`` before a block, ``<!-- not run on this page: WHY -->`` anywhere,
``<!-- ends with 1: WHY -->`` before commands that are to fail beside a small demonstration, and
``<!-- run by make slow -->`` on a page that takes long.
"""

import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVER = "http://127.0.0.1:8000"
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->")
_NOT_RUN_HERE = re.compile(r"^<!-- not run on this page: (.+?) -->$", re.MULTILINE)
_ENDS_WITH = re.compile(r"<!-- ends with (\d+): .+? -->")
_SLOW = "<!-- run by make slow -->"
_FENCE = re.compile(r"^```([\w-]*)$")
_INDENTED = re.compile(r"^ {4}(assay|curl|make|python|docker|\.venv/bin/\w+) ")
_FILE = re.compile(r"^# ([\w./-]+\.ya?ml)$")
_END = "```"
_MARK = "@@ line "


class Demonstration(Protocol):
    """Of the fixture, what is needed here."""

    @property
    def url(self) -> str: ...
    def environment(self) -> dict[str, str]: ...


@dataclass(frozen=True)
class Block:
    """A fenced or an indented block; ``said_before`` is the line before it that is not empty."""

    line: int
    language: str
    text: str
    said_before: str

    def skipped(self) -> str | None:
        """Why it is not run."""
        found = _NOT_RUN.search(self.said_before)
        return found[1] if found else None

    def script(self) -> str | None:
        """What a shell does with it; None for what is only there to be read."""
        commands = self._commands()
        failing = _ENDS_WITH.search(self.said_before)
        if commands is None or failing is None:
            return commands
        return f"set +e\n( set -e\n{commands}\n)\ntest $? -eq {failing[1]} || exit 97\nset -e"

    def _commands(self) -> str | None:
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
    """Of a workflow: the check of its form, and its own steps, but for installing what is here already."""
    if ".github/workflows/" not in name:
        return
    yield f"check-jsonschema --quiet --builtin-schema vendor.github-workflows {name}"
    for job in yaml.safe_load(text)["jobs"].values():
        for step in job["steps"]:
            if "run" in step and not step["run"].startswith("pip install"):
                yield step["run"]


def blocks(text: str) -> list[Block]:
    """Of a page, in their order."""
    found: list[Block] = []
    lines = text.splitlines()
    said = ""
    number = 0
    while number < len(lines):
        line = lines[number]
        fence = _FENCE.match(line)
        if fence:
            end = lines.index("```", number + 1)
            found.append(Block(number + 1, fence[1], "\n".join(lines[number + 1 : end]), said))
            said, number = _END, end + 1
        elif _INDENTED.match(line) and not (number and lines[number - 1]):
            end = number
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            inside = "\n".join(each.removeprefix("    ") for each in lines[number:end])
            found.append(Block(number + 1, "sh", inside, said))
            said, number = "", end
        else:
            said = line or said
            number += 1
    return found


@dataclass(frozen=True)
class Page:
    """A document and what of it is run."""

    name: str
    text: str

    def to_run(self) -> list[Block]:
        """Nothing, where the page says so."""
        if _NOT_RUN_HERE.search(self.text):
            return []
        return [each for each in blocks(self.text) if each.script() and not each.skipped()]

    def not_run(self) -> list[tuple[Block, str]]:
        """With the reason."""
        whole = _NOT_RUN_HERE.search(self.text)
        commands = [each for each in blocks(self.text) if each.language in {"sh", "python"}]
        return [(each, why) for each in commands if (why := whole[1] if whole else each.skipped())]

    def expected(self) -> dict[int, str]:
        """By the line of the commands, what the page says they print."""
        run = self.to_run()
        return {
            commands.line: shown.text
            for commands, shown in pairwise(blocks(self.text))
            if commands in run and shown.language == "text" and shown.said_before == _END
        }


def _pages() -> list[Page]:
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [Page(str(path.relative_to(ROOT)), path.read_text()) for path in paths]


PAGES = _pages()
_RUN = [
    pytest.param(page, id=page.name, marks=[pytest.mark.slow] if _SLOW in page.text else [])
    for page in PAGES
    if page.to_run()
]


@pytest.mark.parametrize("page", _RUN)
def test_every_command_of_the_page_works(page: Page, demonstration: Demonstration, reader: Callable[[], Path]) -> None:
    directory = reader()
    lines = ["set -e -o pipefail"]
    for block in page.to_run():
        lines += [f"echo '{_MARK}{block.line}' | tee /dev/stderr", block.script() or ""]
    (directory / "page.sh").write_text("\n".join(lines).replace(SERVER, demonstration.url))

    done = subprocess.run(
        ["bash", "page.sh"],
        cwd=directory,
        env=demonstration.environment(),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    last = done.stdout.rpartition(_MARK)[2].partition("\n")[0]
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, f"{page.name}, commands at line {last}: exit status {done.returncode}\n{said}"
    printed = {int(part.partition("\n")[0]): part.partition("\n")[2] for part in done.stdout.split(_MARK)[1:]}
    for line, text in page.expected().items():
        assert _matches(text, printed[line]), f"{page.name}, line {line} prints\n{printed[line]}\nand not\n{text}"


def _matches(shown: str, printed: str) -> bool:
    """Whether ``printed`` is what is shown, spaces apart, where ``...`` stands for anything."""
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in shown.split("..."))
    return re.fullmatch(pattern.replace(r"\ ", r"\s*"), " ".join(printed.split()), re.DOTALL) is not None


def test_what_is_not_run_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    run = sum(len(page.to_run()) for page in PAGES)
    reasons = Counter(why for page in PAGES for _, why in page.not_run())
    with capsys.disabled():
        listed = ", ".join(f"{number} ({why})" for why, number in reasons.most_common())
        sys.stdout.write(f"\ndocs: {run} blocks are run, {reasons.total()} are not: {listed}\n")
    assert run > 20


def test_every_block_of_the_documentation_says_what_it_is() -> None:
    """A block without a language would be a command that nobody runs."""
    silent = [
        f"{page.name}:{block.line}"
        for page in PAGES
        if page.name != "README.md"
        for block in blocks(page.text)
        if not block.language
    ]
    assert silent == []


PAGE = """# A page

<!-- not run: no hub here -->
```sh
fetch it
```

Then

    assay jobs list
    assay jobs show

```yaml
# folder/my.yaml
kind: sft
```

```sh
echo one  two
```

```text
one two
```
"""


def test_a_page_is_read_as_it_is_written() -> None:
    page = Page("page.md", PAGE)
    assert [(each.line, each.language) for each in page.to_run()] == [(10, "sh"), (13, "yaml"), (18, "sh")]
    assert [(each.text, why) for each, why in page.not_run()] == [("fetch it", "no hub here")]
    indented, written, _ = page.to_run()
    assert indented.text == "assay jobs list\nassay jobs show"
    assert "cat > folder/my.yaml" in (written.script() or "")
    assert page.expected() == {18: "one two"}
    assert Page("page.md", f"<!-- not run on this page: a cluster -->\n{PAGE}").to_run() == []


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("r = 0.5", "r = 0.5\n", True),
        ("a  b", "a\nb", True),
        ("r = ... [0, 1]", "r = 0.3 [0, 1]", True),
        ("r = 0.5", "r = 0.6", False),
        ("r = ... end", "r = 1", False),
    ],
)
def test_what_is_printed_is_compared(shown: str, printed: str, *, same: bool) -> None:
    assert _matches(shown, printed) is same
