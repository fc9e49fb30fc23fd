"""Keys from a shell: shown once, listed by what is visible, revoked; and who may be served without any."""

import json
import re
from pathlib import Path

import pytest

from service import server
from service.cli import main
from service.settings import Settings


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSAY_DATABASE_URL", f"sqlite:///{tmp_path / 'assay.db'}")


def test_a_key_is_shown_once_and_listed_without_its_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["keys", "create", "--name", "ci", "--scope", "score", "--scope", "read", "--pairs-per-minute", "600"])
        == 0
    )
    shown = capsys.readouterr()
    key = shown.out.strip()
    assert key.startswith("assay_")
    assert "shown once" in shown.err

    assert main(["keys", "list"]) == 0
    table = capsys.readouterr().out
    assert key[:18] in table
    assert key[19:] not in table
    assert "read score" in table

    assert main(["keys", "revoke", "ci", "--json"]) == 0
    revoked = json.loads(capsys.readouterr().out)
    assert main(["keys", "list", "--json"]) == 0
    [facts] = json.loads(capsys.readouterr().out)["data"]
    assert facts == revoked
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", facts["created_at"])  # as the API writes times
    assert facts["revoked_at"] is not None
    assert (facts["scopes"], facts["pairs_per_minute"], facts["tokens_per_minute"]) == (["read", "score"], 600, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "--name", "x", "--scope", "root"], "no scope root; use read, score, train, admin"),
        (["create", "--name", "x", "--requests-per-minute", "0"], "requests-per-minute"),
        (["create", "--name", "x", "--requests-per-minute", str(2**63)], "requests-per-minute"),
        (["create", "--name", "x", "--expires-days", "1e6"], "expires-days"),
        (["create", "--name", "x", "--expires-days", "inf"], "expires-days"),
        (["revoke", "nobody"], "no key nobody"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert words in complaint
    assert complaint.count("\n") == 1


def test_beyond_this_machine_a_server_needs_a_key_or_to_be_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[str] = []

    def serve(settings: Settings, listener: object) -> None:
        served.append(settings.host)

    monkeypatch.setattr(server, "_serve", serve)
    outside = ["serve", "--host", "0.0.0.0", "--port", "0"]

    assert main(outside) == 2
    complaint = capsys.readouterr().err
    assert "no key exists; make one with `assay keys create`, serve on 127.0.0.1, or say --insecure" in complaint
    assert complaint.count("\n") == 1
    assert main([*outside, "--insecure"]) == 0
    assert main(["serve", "--port", "0"]) == 0
    assert main(["keys", "create", "--name", "x"]) == 0
    assert main(outside) == 0
    assert served == ["0.0.0.0", "127.0.0.1", "0.0.0.0"]
