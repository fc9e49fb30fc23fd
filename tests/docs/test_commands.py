"""Every command of the documentation is run, as by somebody who reads a page from its top; what cannot be is checked.

``pages.py`` says how a page is read, ``checked.py`` how a command is checked that needs a GPU, Docker or hours.
"""

import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.checked import Refused, check
from tests.docs.clone import Demonstration, recorded, shell
from tests.docs.pages import MARK, ROOT, Page, all_pages, matches

_PLACES = {"http://127.0.0.1:8000": "{url}", "localhost:8000": "{url}", "user@host": ""}
"""What pages say, and what it is here; libpq finds a database without user and host by its environment."""
PAGES = all_pages()
_SHOWN = re.compile(r"(?:<pre>|<code>|^)(assay (?!{{)[^<\n]+)", re.MULTILINE)
_WITH_COMMANDS = [
    pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.is_slow() else [])
    for page in PAGES
    if page.with_commands()
]


@pytest.mark.parametrize("page", _WITH_COMMANDS)
def test_every_command_of_the_page_works(
    page: Page,
    demonstration: Demonstration,
    reader: Callable[[Page], tuple[Path, dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory, environment = reader(page)
    script = page.script()
    for said, here in _PLACES.items():
        script = script.replace(said, here.format(url=demonstration.url))
    (directory / "page.sh").write_text(script)

    done = subprocess.run(
        ["bash", "page.sh"], cwd=directory, env=environment, capture_output=True, text=True, timeout=500, check=False
    )

    last = done.stdout.rpartition(MARK)[2].partition("\n")[0]
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, f"{page.name}, commands at line {last}: exit status {done.returncode}\n{said}"
    printed = {int(part.partition("\n")[0]): part.partition("\n")[2] for part in done.stdout.split(MARK)[1:]}
    for block, text in page.expected():
        same = matches(text, printed[block.line], numbers=not block.prints_other_numbers())
        assert same, f"{page.name}, line {block.line} prints\n{printed[block.line]}\nand not\n{text}"
    calls = recorded(directory)
    assert len(calls) >= len([block for block, _ in page.checked() if block.language == "sh"])
    for place, words in calls:
        monkeypatch.chdir(place)
        check(words)


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES if page.inline()])
def test_commands_within_sentences_are_as_their_programs_read_them(page: Page, clone: Path) -> None:
    for command in page.inline():
        check([each for each in shlex.split(command) if not each.startswith("[")], whole=False)


def test_commands_that_recipes_and_settings_name_are_as_their_programs_read_them(clone: Path) -> None:
    files = [path for place in ("recipes", "docs/examples") for path in (ROOT / place).rglob("*.yaml")]
    named = [(file, said) for file in files for said in re.findall(r"(?m)^# (accelerate .+)", file.read_text())]
    assert len(named) >= 6
    for file, said in named:
        check(shlex.split(said.replace("THIS.yaml", str(file))))


def test_commands_that_the_dashboard_shows_are_as_their_program_reads_them(clone: Path) -> None:
    templates = (ROOT / "service" / "dashboard" / "templates").glob("*.html")
    shown = [command for path in templates for command in _SHOWN.findall(path.read_text())]
    assert len(shown) > 10
    for command in shown:
        check(shlex.split(re.sub(r"{{.*?}}", "ID", command)), whole=False)


@pytest.mark.slow
def test_the_demonstration_is_made_from_nothing(clone: Path) -> None:
    done = subprocess.run(
        ["make", "demo", "SERVE=0"],
        cwd=clone,
        env=shell(clone),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "step 3 of 3" in done.stderr
    assert "demo-encoder" in done.stdout
    assert (clone / ".demo" / "report.html").exists()


def test_what_is_not_run_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = Counter(why for page in PAGES for _, why in page.checked())
    run = sum(len(page.with_commands()) for page in PAGES) - reasons.total()
    within = sum(len(page.inline()) for page in PAGES)
    with capsys.disabled():
        listed = ", ".join(f"{number} ({why})" for why, number in reasons.most_common())
        sys.stdout.write(
            f"\ndocs: {run} blocks are run; of commands in sentences {within} are checked, of blocks {listed}\n"
        )
    assert run > 45
    assert within > 60


def test_every_block_of_the_documentation_says_what_it_is() -> None:
    """A block without a language would be a command that nobody runs, and so would a comment that nobody knows."""
    silent = [f"{page.name}:{block.line}" for page in PAGES for block in page.unread()]
    assert silent == []


PAGE = """# A page

<!-- checked, not run: no hub here -->
```sh
fetch it
```

Then `assay gate`

    assay jobs list
    assay jobs show

```yaml
# folder/my.yaml
kind: sft
```

<!-- first: x=two -->
<!-- prints other numbers: they are drawn -->
```sh
echo one  $x 3
```

```text
one two 4
```
"""


def test_a_page_is_read_as_it_is_written() -> None:
    page = Page("page.md", PAGE)
    assert [(each.line, each.language) for each in page.with_commands()] == [
        (4, "sh"),
        (10, "sh"),
        (13, "yaml"),
        (20, "sh"),
    ]
    assert [(each.text, why) for each, why in page.checked()] == [("fetch it", "no hub here")]
    fetched, indented, written, printing = page.with_commands()
    assert '"$RECORDERS:$PATH"' in (fetched.script() or "")
    assert indented.script() == "assay jobs list\nassay jobs show"
    assert "cat > folder/my.yaml" in (written.script() or "")
    assert printing.script() == "{ x=two; } > /dev/null\necho one  $x 3"
    assert page.expected() == [(printing, "one two 4")]
    assert printing.prints_other_numbers()
    assert page.inline() == ["assay gate"]
    assert len(Page("page.md", f"<!-- checked on this page, not run: a cluster -->\n{PAGE}").checked()) == 4


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
    assert matches(shown, printed) is same


def test_where_numbers_may_be_others_words_may_not() -> None:
    assert matches("r +0.25 of 3", "r -1 of null", numbers=False)
    assert not matches("r +0.25 of 3", "s +0.25 of 3", numbers=False)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("assay gate OUT.json --where x --min-lower 0.3 --stratum all", "--stratum"),
        ("assay gate OUT.json --where x", "--min-lower"),
        ("assay train recipes/demo/1-policy.yaml max_step=3", "max_step"),
        ("assay train recipes/demo/none.yaml", "none.yaml"),
        ("python -m benchmarks.training --device tpu", "exit status 2"),
        ("python -m benchmarks.none", "no module"),
        ("accelerate launch --multi-gpus -m trainer recipes/demo/1-policy.yaml", "exit status 2"),
        ("accelerate launch --num_processes 2 -m trainer recipes/demo/1-policy.yaml max_step=3", "max_step"),
        ("accelerate launch --multi_gpu --num_processes 1 -m trainer recipes/demo/1-policy.yaml", "at least 2"),
        ("accelerate launch --use_fsdp --fsdp_auto_wrap_policy LAYERS -m trainer ...", "Invalid auto wrap policy"),
        ("docker build -f docker/Dockerfile -t assay --build-arg TORCH=x .", "TORCH"),
        ("docker run --rm assay keys make", "make"),
        ("make none", "none"),
        ("curl -s http://127.0.0.1:8000/v1/scoring", "no route"),
        ("pip install reward-assay[none]", "no such extra"),
    ],
)
def test_what_a_program_would_refuse_is_refused(command: str, complaint: str, clone: Path) -> None:
    with pytest.raises(Refused, match=complaint):
        check(shlex.split(command))
