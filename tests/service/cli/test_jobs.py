"""`assay jobs` says and does the same on the local database and against a server, and `assay serve` is that server."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.cli import main
from service.client import AssayClient
from service.score_schema import ScoreAnswer, ScoreRequest
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput, NotFound

Said = pytest.CaptureFixture[str]
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, published: ArtifactStore) -> Iterator[str]:
    """`assay serve` as a process, running no jobs; its address."""
    directory = tmp_path_factory.mktemp("server")
    environment = {
        **os.environ,
        "ASSAY_DATABASE_URL": f"sqlite:///{directory / 'assay.db'}",
        "ASSAY_RUNS_DIR": str(directory / "runs"),
        "ASSAY_ARTIFACT_DIR": str(published.root),
        "ASSAY_JOB_SLOTS": "0",
    }
    command = [sys.executable, "-W", "error", "-m", "service.cli", "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert address is not None
        yield address[0]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")


@pytest.fixture(params=["local", "server"])
def where(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same commands on the local database and against a server."""
    if request.param == "server":
        monkeypatch.setenv("ASSAY_URL", str(request.getfixturevalue("server")))
    monkeypatch.setenv("ASSAY_DATABASE_URL", f"sqlite:///{tmp_path / 'assay.db'}")
    monkeypatch.setenv("ASSAY_RUNS_DIR", str(tmp_path / "runs"))
    return str(request.param)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text("kind: sft\nname: patient\npolicy: {scratch: {}}\ndata: {kind: product_world, size: 8}\n")
    return path


@pytest.mark.usefixtures("where")
def test_a_job_is_submitted_seen_cancelled_and_resumed(recipe: Path, capsys: Said) -> None:
    assert main(["jobs", "submit", str(recipe), "epochs=2", "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert (job["status"], job["recipe"]["epochs"]) == ("queued", 2)

    once = ["jobs", "submit", str(recipe), "epochs=3", "--idempotency-key", "nightly", "--json"]
    made = []
    for _ in range(2):
        assert main(once) == 0
        made.append(json.loads(capsys.readouterr().out)["id"])
    assert made[0] == made[1] != job["id"]

    assert main(["jobs", "list"]) == 0
    assert re.search(
        rf"{job['id']} +sft +patient +queued, \d+ in line: no server carries out jobs at present +just now",
        capsys.readouterr().out,
    )
    assert main(["jobs", "list", "--status", "failed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"data": []}

    assert main(["jobs", "cancel", job["id"]]) == 0
    assert capsys.readouterr().out == f"{job['id']} cancelled\n"
    assert main(["jobs", "resume", job["id"]]) == 0
    assert capsys.readouterr().out.startswith(f"{job['id']} queued")

    assert main(["jobs", "show", job["id"]]) == 0
    assert "recipe    sft patient" in capsys.readouterr().out
    assert main(["jobs", "logs", job["id"]]) == 0
    assert capsys.readouterr().out == "\n"
    main(["jobs", "cancel", job["id"]])


@pytest.mark.usefixtures("where")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "job_unknown"], "no job job_unknown"),
        (["show", "run_unknown"], "no job run_unknown"),
        (["cancel", "../secrets"], "is not a job's id"),
        (["submit", "RECIPE", "epohcs=2"], "/epohcs: unknown field"),
        (["submit", "RECIPE", "kind=alchemy"], "/kind"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(
    recipe: Path, capsys: Said, arguments: list[str], words: str
) -> None:
    assert main(["jobs", *[str(recipe) if word == "RECIPE" else word for word in arguments]]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_server_that_is_not_there_is_a_failure_that_says_so(capsys: Said) -> None:
    assert main(["jobs", "list", "--url", "http://127.0.0.1:9"]) == 1
    assert "is `assay serve` running there?" in capsys.readouterr().err
    assert main(["jobs", "list", "--url", "localhost:8000"]) == 2
    assert "write http://HOST:PORT" in capsys.readouterr().err


def test_the_server_answers_pages_scores_and_its_reference(server: str) -> None:
    assert "No stress test yet" in httpx.get(f"{server}/", timeout=60).text
    assert httpx.get(f"{server}/livez", timeout=60).status_code == 200
    assert "/v1/scores" in httpx.get(f"{server}/docs", timeout=60).text
    assert "/v1/scores" in httpx.get(f"{server}/openapi.json", timeout=60).json()["paths"]


def test_scoring_on_a_server_writes_what_scoring_here_writes(
    server: str, published: ArtifactStore, tmp_path: Path, capsys: Said
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"id": 1, "prompt": "product lamp", "responses": ["It is blue .", "\\ud800"]}\n')

    assert main(["score", str(pairs), "--scorer", "tiny@1", "--url", server]) == 0
    there = json.loads(capsys.readouterr().out)
    assert main(["score", str(pairs), "--scorer", "tiny@1", "--artifact-dir", str(published.root)]) == 0
    here = json.loads(capsys.readouterr().out)
    assert there["scores"][0]["tiny@1"]["score"] == pytest.approx(here["scores"][0]["tiny@1"]["score"], abs=1e-4)
    assert there["scores"][1] == here["scores"][1]


def test_attributing_on_a_server_writes_what_attributing_here_writes(
    server: str, published: ArtifactStore, tmp_path: Path, capsys: Said
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    prompts = ("product lamp | color red | tone calm", "Write a poem.")
    pairs.write_text("".join(json.dumps({"prompt": prompt, "response": "color is red ."}) + "\n" for prompt in prompts))

    answers = []
    for place in (["--url", server], ["--artifact-dir", str(published.root)]):
        assert main(["attribute", str(pairs), "--scorer", "tiny@2", "--json", *place]) == 0
        answers.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    (there, refused), (here, refused_here) = answers
    assert there["attributions"][0] == here["attributions"][0]  # the only fact: an error
    ours, theirs = here["attributions"][1]["score_difference"], there["attributions"][1]["score_difference"]
    assert ours == pytest.approx(theirs, abs=2e-4)
    assert ours != 0
    assert refused == refused_here
    assert refused["error"]["code"] == "invalid_input"


def test_the_client_raises_what_the_server_raised(server: str) -> None:
    request = ScoreRequest.model_validate({"scorers": ["nobody"], "items": [{"prompt": "p", "response": "r"}]})
    with AssayClient(server) as client:
        with pytest.raises(NotFound, match="no artifact nobody") as raised:
            client.score(request)
        assert raised.value.pointer == "/scorers/0"
        with pytest.raises(InvalidInput):
            client.get("/v1/artifacts", limit=0)
        answer = client.score(request.model_copy(update={"scorers": ["tiny"]}))
        assert isinstance(answer, ScoreAnswer)
        assert [scorer["name"] for scorer in client.scorers()] == ["family/other", "tiny", "tiny"]


def test_a_port_that_is_taken_is_said_in_one_line(server: str, capsys: Said) -> None:
    assert main(["serve", "--port", server.rpartition(":")[2]]) == 2
    assert "choose another --host or --port" in capsys.readouterr().err
