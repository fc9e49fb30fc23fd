"""`assay gate` fails a pipeline where trust is lost, and says so differently from having been asked nonsense."""

import json
from pathlib import Path

import pytest

from service.cli import main

Said = pytest.CaptureFixture[str]


@pytest.fixture
def out(tmp_path: Path, installation: str) -> Path:
    """What `assay audit` wrote about ``fair``, which agrees with the judge only while responses are cold."""
    rows = [
        {
            "prompt_id": prompt,
            "temperature": temperature,
            "scores": {"fair": (reply if temperature < 1 else (reply * prompt) % 3) + 0.1 * prompt},
            "oracles": {"judge": reply + 0.01 * prompt * reply},
        }
        for prompt in range(20)
        for temperature in (0.5, 2.0)
        for reply in range(4)
    ]
    judged, out = tmp_path / "judged.jsonl", tmp_path / "out.json"
    judged.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (
        main(["audit", str(judged), "--scorer", "recorded:fair", "--oracle", "recorded:judge", "--output", str(out)])
        == 0
    )
    return out


def test_trust_that_holds_passes_and_trust_that_is_lost_fails(out: Path, capsys: Said) -> None:
    assert main(["gate", str(out), "--where", "temperature<1", "--min-lower", "0.9"]) == 0
    capsys.readouterr()
    assert main(["gate", str(out), "--where", "temperature>=1.5", "--min-lower", "0.9"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("FAILS   recorded:fair against recorded:judge at T = 2: r = ")
    assert said[-1] == "0 of 1 pearson_within have a lower end of 0.9 or more"


def test_a_program_reads_json(out: Path, capsys: Said) -> None:
    capsys.readouterr()
    assert main(["gate", str(out), "--where", "temperature != null", "--min-lower", "0.9", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["passes"], [row["passes"] for row in said["checked"]]) == (False, [True, False])


def test_a_run_is_gated_by_its_id(out: Path, capsys: Said) -> None:
    capsys.readouterr()
    assert main(["jobs", "list", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["data"][0]["id"]
    assert main(["gate", run, "--where", "temperature<1", "--min-lower", "0.9"]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--where", "temperature>>1"], "--where"),
        (["--where", "temperature>9"], "nothing to check"),
        (["--statistic", "person_within"], "no estimate of 'person_within'; there are: pearson_pooled"),
    ],
)
def test_nonsense_is_bad_input(out: Path, capsys: Said, options: list[str], words: str) -> None:
    capsys.readouterr()
    assert main(["gate", str(out), "--min-lower", "0.3", *options]) == 2
    said = capsys.readouterr()
    assert words.removeprefix("--where") in said.err
    assert said.out == ""
    assert said.err.count("\n") == 1
