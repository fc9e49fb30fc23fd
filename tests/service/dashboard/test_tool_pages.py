"""Jobs, artifacts, trying scorers and new jobs: what their pages say and do, without a browser."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from evaluation.quantising import Compared, quantise
from evaluation.recipes import parse_recipe
from service.app import create_app
from service.dashboard.artifacts import _headline
from service.dashboard.metrics import significant
from service.db import queries
from service.db.keys import create_key
from service.db.session import writing
from service.jobs.kinds import STRESS_KINDS, TRAINING_KINDS
from service.settings import Settings
from trainer.artifacts import ArtifactStore
from trainer.data.rows import Pair
from trainer.manifest import Artifact, Manifest
from trainer.models.loading import PROBE_TOLERANCE

AddJob = Callable[..., str]
EVIL = "<script>alert(1)</script>"

SFT = {
    "kind": "sft", "/name": "tried", "variant:/policy/scratch": "set", "variant:/data": "product_world",
    "/data/size": "64", "/max_steps": "3",
}  # fmt: skip


def text_of(page: str) -> str:
    """What a reader sees: no markup, entities read, white space folded."""
    seen = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page.replace("<wbr>", ""), flags=re.DOTALL)
    return " ".join(unescape(seen).split())


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"job_slots": 0})


@pytest.fixture
def served(settings: Settings) -> Iterator[TestClient]:
    """The whole application, which runs no jobs."""
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, publisher: Callable[..., Artifact]) -> Path:
    """What ``models`` copies."""
    store = ArtifactStore(tmp_path_factory.mktemp("made"))
    first = publisher(store, "tiny", seed=1)
    publisher(store, "tiny", seed=2, temperature=2.0, parents=[first.as_parent("backbone")])
    return store.root


@pytest.fixture
def models(settings: Settings, made: Path) -> ArtifactStore:
    """``tiny@1`` and, made of it and calibrated, ``tiny@2``."""
    shutil.copytree(made, settings.artifact_dir, dirs_exist_ok=True)
    return ArtifactStore(settings.artifact_dir)


def test_jobs_are_found_by_status_kind_and_label(served: TestClient, add_job: AddJob) -> None:
    add_job("sft", "failed", name="alpha", labels={"study": "one"})
    add_job("ganpo", name="beta", labels={"study": "two & more"})

    def names(query: str) -> list[str]:
        return re.findall(r'<th scope="row"><a [^>]*>(\w+)<', served.get(f"/jobs{query}").text)

    assert names("") == ["beta", "alpha"]
    assert names("?status=failed&kind=&label=") == ["alpha"]
    assert names("?kind=ganpo") == ["beta"]
    assert names("?label=study%3Dtwo%20%26%20more") == ["beta"]
    assert names("?status=lost") == []
    assert "No job fits" in served.get("/jobs?status=lost").text
    for wrong in ("status=asleep", "kind=magic", "label=nothing"):
        assert served.get(f"/jobs?{wrong}").status_code == 422


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (RuntimeError("a secret"), 500, "<p>Request <code>r-1</code></p>"),
        (OperationalError("SELECT secret", {}, Exception("gone")), 503, "Not available now</h1>"),
    ],
)
def test_a_page_that_cannot_be_made_says_so_to_a_browser(
    served: TestClient, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(queries, "list_jobs", fail)
    browser = TestClient(served.app, raise_server_exceptions=False, base_url=served.base_url)
    answer = browser.get("/jobs", headers={"accept": "text/html", "x-request-id": "r-1"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert said in answer.text
    assert "secret" not in answer.text
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


def test_jobs_are_found_by_any_part_of_their_name(served: TestClient, add_job: AddJob) -> None:
    for name in ("warm-start", "cold-start", "100%"):
        add_job("sft", name=name)
    for part, found in (
        ("START", {"warm-start", "cold-start"}),
        ("%", {"100%"}),
        ("", {"warm-start", "cold-start", "100%"}),
    ):
        page = served.get("/jobs", params={"name": part}).text
        assert {name for name in ("warm-start", "cold-start", "100%") if f">{name}</a>" in page} == found
    assert "No job fits" in text_of(served.get("/jobs?name=hot").text)


def test_a_job_says_where_it_stopped_and_whether_its_recipe_is_at_fault(served: TestClient, add_job: AddJob) -> None:
    progress = {"stage": "train", "done": 411, "total": 100_000, "unit": "step", "rate": 9.0, "eta_seconds": 3.0}
    stopped = text_of(served.get(f"/jobs/{add_job('sft', 'cancelled', progress=progress)}").text)
    assert "Stopped at train, 411 of 100,000 steps" in stopped
    main = {
        "invalid_input": ">Use as a draft</a>",  # resuming it as it is would fail again
        "run_failed": ">Resume</button>",
    }
    for code, button in main.items():
        job = add_job("sft", "failed", error_code=code, error_detail="set `batch.size` to 4")
        page = served.get(f"/jobs/{job}").text
        assert re.findall(r'class="(?:button )?primary"[^>]*(>[^<]*</\w+>)', page) == [button]
        assert "set <code>batch.size</code> to 4" in page
        assert "The log below" not in page, "there is none"


def test_older_jobs_are_of_the_same_filter(served: TestClient, add_job: AddJob) -> None:
    for _ in range(51):
        add_job("sft", labels={"a": "b"})
    (older,) = re.findall(r'href="/jobs\?([^"]*cursor[^"]*)"', served.get("/jobs?kind=sft&label=a=b").text)
    assert "kind=sft&amp;label=a%3Db&amp;cursor=" in older
    assert served.get(f"/jobs?{unescape(older)}").text.count('<th scope="row">') == 1


def test_a_job_shows_the_end_of_its_log_escaped(served: TestClient, add_job: AddJob, settings: Settings) -> None:
    job = add_job("sft", "failed", error_code="run_failed", error_detail="the loss is not finite")
    directory = settings.runs_dir / job
    directory.mkdir(parents=True)
    lines = [f"line {number} {EVIL}" for number in range(2000)]
    (directory / "log.txt").write_text("\n".join(lines) + "\n 10%\r 50%\r100%\n")

    page = served.get(f"/jobs/{job}").text
    assert EVIL not in page
    log = unescape(re.findall(r'<pre class="log".*?>(.*?)</pre>', page, re.DOTALL)[0])
    assert len(log) < 16_384
    assert log.splitlines()[0].startswith("line ")
    assert log.splitlines()[-2:] == [lines[-1], "100%"]


def test_a_job_is_cancelled_and_resumed_from_its_page(served: TestClient, add_job: AddJob) -> None:
    job = add_job("sft", "queued", started_at=None, recipe={"kind": "sft", "name": "x"})
    page = f"/jobs/{job}"
    assert f'action="{page}/cancel"' in served.get(page).text

    answer = served.post(f"{page}/cancel", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, page)
    assert "cancelled" in text_of(served.get(page).text)
    refused = served.post(f"{page}/cancel")
    assert (refused.status_code, "has been cancelled already" in refused.text) == (409, True)
    # a recipe of older code says what is wrong with it instead of running
    assert served.post(f"{page}/resume").status_code == 422
    assert served.post("/jobs/job_none/cancel").status_code == 404


def test_a_job_that_waits_to_go_on_has_taken_no_time_yet(served: TestClient, add_job: AddJob) -> None:
    add_job("sft", "queued", name="again")  # begun yesterday, cancelled, and resumed just now
    job = add_job("sft", "running")
    pages = {status: text_of(served.get(f"/jobs?status={status}").text) for status in ("queued", "running")}
    assert "1 d" not in pages["queued"].replace("1 d ago", "")
    assert "1 d" in pages["running"].replace("1 d ago", "")
    assert "Running for 1 d" in text_of(served.get(f"/jobs/{job}").text)


def test_artifacts_tell_versions_aliases_lineage_and_what_was_measured(
    served: TestClient, models: ArtifactStore
) -> None:
    listed = text_of(served.get("/artifacts").text)
    assert "tiny newest just now reward model accuracy 0.5000" in listed
    moved = served.post("/artifacts/tiny/aliases", data={"alias": "champion", "version": "2"}, follow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (303, "/artifacts/tiny")
    name = text_of(served.get("/artifacts/tiny").text)
    assert "champion means version 2" in name
    assert "tiny@2 champion 0.5000" in name

    for reference in ("tiny@2", "tiny@champion"):
        page = served.get(f"/artifacts/{reference}").text
        seen = text_of(page)
        assert "a probability is sigmoid(score / 2.0000)" in seen
        assert "backbone" in seen
        assert 'href="/artifacts/tiny@1"' in page
        assert "The lamp is red ." in seen
    assert "none fitted" in text_of(served.get("/artifacts/tiny@1").text)
    assert served.get("/artifacts?kind=policy").status_code == 200
    for missing in ("none", "tiny@3", "tiny@second"):
        assert served.get(f"/artifacts/{missing}").status_code == 404


@pytest.mark.parametrize(
    ("alias", "version", "status"),
    [("9", "1", 422), ("a", "x", 422), ("a", "7", 404), ("a", "9" * 5000, 422), ("", "", 422)],
)
def test_an_alias_that_cannot_be_is_refused(
    served: TestClient, models: ArtifactStore, alias: str, version: str, status: int
) -> None:
    answer = served.post("/artifacts/tiny/aliases", data={"alias": alias, "version": version})
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")


def test_a_list_tells_of_all_held_out_rows_before_it_tells_of_some() -> None:
    measured = {"held_out/accuracy/first": 0.25, "held_out/accuracy": 0.5, "held_out/pairs": 400.0}
    contents = Manifest.model_construct(metrics=measured)
    assert _headline(contents) == [("accuracy", "0.5000")]


def test_outputs_of_a_probe_pair_stand_beside_one_text_of_it(
    served: TestClient, publish: Callable[..., Artifact], settings: Settings
) -> None:
    store = ArtifactStore(settings.artifact_dir)
    found = publish(store, "tiny", seed=1, calibration={"center": -1.5, "temperature": 2.0})
    path = found.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["probes"][0]["scores"] = {"first": 0.25, "second": 0.5}
    path.write_text(json.dumps(manifest))

    page = served.get("/artifacts/tiny@1").text
    assert page.count("The lamp is red .") == 1
    assert page.count('rowspan="2"') == 2
    assert "first 0.2500 second 0.5000" in text_of(page)
    assert "center \N{MINUS SIGN}1.5000, temperature 2.0000" in text_of(page)
    assert "a probability is sigmoid((score \N{MINUS SIGN} center) / temperature)" in text_of(page)


def test_probe_pairs_are_scored_again_and_the_difference_is_told(served: TestClient, models: ArtifactStore) -> None:
    seen = text_of(served.post("/artifacts/tiny@2/parity").text)
    found = re.search(r"The largest difference is (\S+) \.", seen)
    assert found is not None
    assert float(found[1].replace("\N{MINUS SIGN}", "-")) < 1e-4
    assert f"refused where one differs by more than {PROBE_TOLERANCE:g} (1 + |score|)." in seen
    assert served.post("/artifacts/tiny@9/parity").status_code == 404


def test_a_version_in_8_bits_says_of_which_it_is_and_what_that_changed(
    served: TestClient, models: ArtifactStore
) -> None:
    pairs = [Pair("product lamp", f"The lamp is {color} .") for color in ("red", "blue", "tiny")]
    quantise(models, "tiny@1", "tiny-int8", compared=Compared(pairs, "three pairs"), largest_mean_error=10.0)

    page = served.get("/artifacts/tiny-int8@1").text
    listed = served.get("/v1/artifacts?name=tiny-int8").json()["data"][0]

    seen = text_of(page)
    assert "What 8 bits change Its encoder multiplies 8-bit integers. Compared with tiny@1 , whose weights" in seen
    assert "these are, on three pairs." in seen
    assert "(1 + |score|) plus the most that 8 bits changed." in seen
    assert "What training measured" not in seen
    assert f"quantisation/error/max {significant(listed['metrics']['quantisation/error/max'])}" in seen
    assert 'href="/artifacts/tiny@1"' in page
    assert "What training measured" in text_of(served.get("/artifacts/tiny@2").text)


@pytest.mark.parametrize("turn", [{"role": "a tool", "content": "red"}, {"content": "red"}])
def test_probe_pairs_that_no_request_may_hold_are_a_broken_artifact_s(
    served: TestClient, models: ArtifactStore, turn: dict[str, str]
) -> None:
    path = models.open("tiny@2").directory / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["probes"][0]["prompt"] = [turn]
    path.chmod(0o644)
    path.write_text(json.dumps(manifest))

    answer = served.post("/artifacts/tiny@2/parity")
    assert answer.status_code == 409
    assert "tiny@2: its probe pairs are none that a request to score may hold" in text_of(answer.text)


def test_responses_are_ranked_and_each_failure_stays_in_its_cell(served: TestClient, models: ArtifactStore) -> None:
    form = {
        "prompt": "product lamp", "response": ["The lamp is red .", " ", "blue " * 100, "A lamp"],
        "scorer": ["tiny"], "others": "tiny@1",
    }  # fmt: skip
    answer = served.post("/try", data=form)
    seen = text_of(answer.text)
    asked = {"scorers": ["tiny", "tiny@1"], "items": [{"prompt": "product lamp", "responses": form["response"]}]}
    api = served.post("/v1/scores", json=asked).json()["items"][0]["scores"]

    assert answer.status_code == 200
    rows = re.findall(r"<tr>(.*?)</tr>", answer.text.partition('class="grid ranked"')[2], re.DOTALL)[1:]
    scores = {text: api[place]["tiny"]["score"] for place, text in ((0, "The lamp is red ."), (3, "A lamp"))}
    best_first = sorted(scores, key=lambda text: -scores[text])
    assert [next(text for text in scores if text in row) for row in rows[:2]] == best_first
    assert "overlong input" in text_of(rows[2])
    assert f"{scores[best_first[0]]:.3f}".replace("-", "\N{MINUS SIGN}") in text_of(rows[0])
    assert "curl -s http://testserver/v1/scores" in seen
    # the empty field in between was none
    assert len(rows) == 3


def test_the_shell_command_says_what_the_form_says_whatever_is_in_it(served: TestClient, models: ArtifactStore) -> None:
    import json
    import shlex

    evil = 'it\'s $(rm -rf ~) `x` \\ "q"\n' + EVIL
    page = served.post("/try", data={"prompt": "product lamp", "response": [evil], "scorer": ["tiny"]}).text
    assert EVIL not in page
    shown = unescape(re.findall(r"<pre>(curl.*?)</pre>", page, re.DOTALL)[0])
    words = shlex.split(shown.replace("\\\n", " "))
    assert words[:3] == ["curl", "-s", "http://testserver/v1/scores"]
    assert json.loads(words[-1])["items"] == [{"prompt": "product lamp", "responses": [evil]}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": " "}, "paste a prompt"),
        ({"response": [" "]}, "paste at least one response"),
        ({"scorer": []}, "choose at least one scorer"),
        ({"scorer": [f"tiny@{version}" for version in range(1, 18)]}, "choose at most 16 scorers at a time"),
        ({"scorer": ["none"]}, "no artifact none"),
        ({"form": "conversation"}, "a conversation is a JSON list"),
        ({"form": "conversation", "prompt": '[{"role": "user"}]'}, "/0/content: Field required"),
    ],
)
def test_what_cannot_be_scored_is_said_and_nothing_typed_is_lost(
    served: TestClient, models: ArtifactStore, change: dict[str, Any], said: str
) -> None:
    form = {"prompt": "product lamp", "response": ["kept as it was"], "scorer": ["tiny"], **change}
    answer = served.post("/try", data=form)
    assert answer.status_code in {404, 422}
    assert said in text_of(answer.text)
    assert form["response"][0] in answer.text


def test_a_conversation_is_scored(served: TestClient, models: ArtifactStore) -> None:
    prompt = '[{"role": "user", "content": "product lamp"}]'
    form = {"form": "conversation", "prompt": prompt, "response": ["A lamp"], "scorer": ["tiny"]}
    assert "tokens" in text_of(served.post("/try", data=form).text)


def test_without_artifacts_the_pages_say_how_to_get_one(served: TestClient) -> None:
    assert "assay artifacts import" in served.get("/artifacts").text
    assert "assay artifacts import" in served.get("/try").text


def test_every_mistake_of_a_recipe_stands_at_its_field(served: TestClient) -> None:
    wrong = {**SFT, "/name": "", "/max_steps": "-1", "/seed": "many"}
    page = served.post("/new/training-job", data={**wrong, "action": "check"})

    assert page.status_code == 200
    assert served.post("/new/training-job", data={**wrong, "action": "submit"}).status_code == 422
    told = dict(re.findall(r'id="complaint:([^"]+)">([^<]+)<', page.text))
    assert set(told) == {"/name", "/max_steps", "/seed"}
    assert told["/name"] == "has to be filled in"
    assert 'value="many"' in page.text
    assert page.text.count('aria-invalid="true"') == 3
    assert "3 things to put right" in text_of(page.text)


@pytest.mark.parametrize("kind", [*TRAINING_KINDS, *STRESS_KINDS])
def test_of_every_kind_of_recipe_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(
    served: TestClient, kind: str
) -> None:
    address = f"/new/{'stress-test' if kind in STRESS_KINDS else 'training-job'}"
    numbers = re.findall(r'name="([^"]+)"[^>]*inputmode="decimal"', served.get(f"{address}?kind={kind}").text)
    assert len(numbers) > 3
    wrong = {"kind": kind, "/name": "no name!", **dict.fromkeys(numbers, "abc")}
    page = served.post(address, data={**wrong, "action": "submit"})

    assert page.status_code == 422
    told = dict(re.findall(r'id="complaint:([^"]+)">([^<]+)<', page.text))
    assert set(told) >= {"/name", "/seed"}
    assert told["/seed"] == "has to be a whole number"
    for name in ("/name", *numbers):
        assert re.search(rf'name="{re.escape(name)}"[^>]* value="{wrong[name]}"', page.text), name
    # each line of the summary leads to the field that it is about
    summary = page.text.partition('id="checked"')[2].partition("</ul>")[0]
    places = re.findall(r'href="#field:([^"]+)"', summary)
    assert len(places) == summary.count("<li>") >= len(told)
    assert all(f'id="field:{place}"' in page.text for place in places)


def test_a_wrong_scorer_is_said_at_its_field_once(served: TestClient, models: ArtifactStore) -> None:
    form = {
        "action": "check", "kind": "stress_test", "/name": "s", "/policy/path": "tiny",
        "variant:/prompts": "product_world", "entry:/oracles/0": "",
        "variant:/oracles/0": "product_world", "/scorers": "tiny\ntiny:wrong",
    }  # fmt: skip
    page = text_of(served.post("/new/stress-test", data=form).text)
    assert "/scorers/1 tiny has no output 'wrong'; it gives score" in page
    # a list whose only entry is wrong is not short of entries as well
    page = text_of(served.post("/new/stress-test", data=form | {"/temperatures": "0; 1"}).text)
    assert "1 thing to put right" in page
    assert "/temperatures/0 has to be a number" in page


def test_the_last_entry_that_a_list_needs_cannot_be_taken_out(served: TestClient) -> None:
    page = served.get("/new/stress-test").text
    assert "Remove oracles" not in page
    two = {
        "action": "add:/oracles",
        "kind": "stress_test",
        "entry:/oracles/0": "",
        "variant:/oracles/0": "product_world",
    }
    assert served.post("/new/stress-test", data=two).text.count("Remove oracles") == 2


def test_a_check_reads_the_data_and_tells_the_steps_and_queues_nothing(served: TestClient) -> None:
    page = text_of(served.post("/new/training-job", data={**SFT, "action": "check"}).text)
    assert "Nothing is wrong with it" in page
    assert "Rows 64, 400 held out Steps 3 Parameters" in page
    assert served.get("/v1/training-jobs").json()["data"] == []


def test_a_recipe_is_queued_once_however_often_it_is_sent(served: TestClient) -> None:
    form = {**SFT, "action": "submit", "token": "abc"}
    first, again = (served.post("/new/training-job", data=form, follow_redirects=False) for _ in range(2))
    other = served.post("/new/training-job", data={**form, "/seed": "7"}, follow_redirects=False)

    assert first.status_code == 303
    assert first.headers["location"] == again.headers["location"] != other.headers["location"]
    job = served.get(f"/v1/training-jobs/{first.headers['location'].rpartition('/')[2]}").json()
    assert (job["status"], job["name"], job["recipe"]["max_steps"]) == ("queued", "tried", 3)


def test_a_recipe_may_name_from_a_form_no_more_than_over_the_api(served: TestClient, tmp_path: Path) -> None:
    form = {**SFT, "variant:/data": "file", "/data/path": str(tmp_path / "rows.jsonl"), "action": "submit"}
    page = served.post("/new/training-job", data=form)
    assert page.status_code == 403
    assert "may not be read here" in text_of(page.text)
    assert 'id="complaint:/data/path"' in page.text


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("kind: [", "not YAML"),
        ("- a", "a recipe here is a mapping"),
        ("kind: sft", "a recipe here is a mapping with kind: stress_test"),
        ("kind: stress_test\nnane: x", "no such field"),
    ],
)
def test_pasted_yaml_that_is_no_recipe_stays_as_it_is(served: TestClient, pasted: str, said: str) -> None:
    page = served.post("/new/stress-test", data={"action": "read", "yaml": pasted})
    assert said in text_of(page.text)
    assert pasted in unescape(page.text)


def test_a_form_begins_with_a_ready_recipe_or_that_of_a_job(served: TestClient, add_job: AddJob) -> None:
    ready = served.get("/new/training-job?recipe=demo/1-policy").text
    assert 'value="demo-policy"' in ready
    assert "<option>demo/2-ganpo</option>" in ready
    assert "3-stress-test" not in ready
    said = {"kind": "sft", "name": "again", "policy": {"path": "tiny"}, "data": {"path": "rows.jsonl"}, "seed": 3}
    job = add_job("sft", recipe=parse_recipe(said).model_dump(mode="json"))
    (text,) = re.findall(
        r'<textarea id="yaml".*?>(.*?)</textarea>', served.get(f"/new/training-job?job={job}").text, re.S
    )
    assert parse_recipe(yaml.safe_load(text)) == parse_recipe(said)
    assert len(text.splitlines()) < 10
    for wrong in ("recipe=../etc", "job=job_none"):
        assert served.get(f"/new/training-job?{wrong}").status_code == 404
    assert served.get("/new/training-job?kind=magic").status_code == 422


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("yaml", "kind: stress_test\nlabels: &a {a: *a}"),
        ("yaml", "kind: stress_test\nseed: 0x" + "f" * 4000),
        ("/labels", "&a {a: *a}"),
        ("/labels", "[" * 9000),
        ("/labels", "{a: 0x" + "f" * 4000 + "}"),
    ],
)
def test_yaml_that_never_ends_or_cannot_be_written_down_is_refused_at_the_form(
    served: TestClient, where: str, text: str
) -> None:
    action = "read" if where == "yaml" else "check"
    page = served.post("/new/stress-test", data={"action": action, where: text})
    assert page.status_code == 200
    assert "to put right" in text_of(page.text)
    assert text in unescape(page.text)


@pytest.mark.parametrize("path", ["/new/stress-test", "/try", "/login", "/artifacts/tiny/aliases"])
def test_a_form_larger_than_any_of_ours_is_refused(served: TestClient, path: str) -> None:
    many = served.post(path, data={f"f{number}": "" for number in range(2001)})
    assert (many.status_code, "more than 2,000 fields" in many.text) == (422, True)
    most = 4 * 2**20 if path == "/try" else 2**20
    large = served.post(path, data={"x": "x" * (most - 1)})
    assert (large.status_code, f"larger than {most:,} bytes" in large.text) == (422, True)


def drawn(page: str) -> dict[str, str]:
    """The YAML beside a form, and what says whether it was edited."""
    text = re.search(r'<textarea id="yaml"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    mark = re.search(r'name="drawn" value="([^"]+)"', page)
    assert text is not None
    assert mark is not None
    return {"yaml": unescape(text[1]), "drawn": mark[1]}


@pytest.mark.parametrize("action", ["check", "submit"])
def test_yaml_edited_beside_the_form_is_never_passed_over(served: TestClient, action: str) -> None:
    beside = drawn(served.post("/new/training-job", data={**SFT, "action": "draw"}).text)
    edited = beside["yaml"].replace("max_steps: 3", "max_steps: 4")
    assert edited != beside["yaml"]

    page = served.post("/new/training-job", data={**SFT, **beside, "yaml": edited, "action": action})
    assert page.status_code == (422 if action == "submit" else 200)
    assert "the YAML was edited: read it into the form first, or empty it" in text_of(page.text)
    assert drawn(page.text)["yaml"] == edited
    again = served.post("/new/training-job", data={**SFT, **drawn(page.text), "action": action})
    assert "the YAML was edited" in text_of(again.text)
    assert served.get("/v1/training-jobs").json()["data"] == []

    # a browser sends lines its own way
    for text in (beside["yaml"].replace("\n", "\r\n"), "", " \r\n"):
        fine = served.post("/new/training-job", data={**SFT, **beside, "yaml": text, "action": "check"})
        assert "Nothing is wrong with it" in text_of(fine.text)
    read = served.post("/new/training-job", data={**SFT, **beside, "yaml": edited, "action": "read"})
    assert 'value="4"' in read.text
    assert _is_taken(served, drawn(read.text))


def _is_taken(served: TestClient, beside: dict[str, str]) -> bool:
    page = served.post("/new/training-job", data={**SFT, "/max_steps": "4", **beside, "action": "check"})
    return "Nothing is wrong with it" in text_of(page.text)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("lerning_rate: 1", "/lerning_rate no such field; remove it or check its spelling; the form cannot show it"),
        ("batch: [8]", "/batch has to be a mapping (key: value); the form cannot show it"),
        ("gradient_checkpointing: maybe", "/gradient_checkpointing has to be true or false; the form cannot show it"),
        ("optimizer: {schedule: no such}", "; the form cannot show it"),
    ],
)
def test_what_the_form_cannot_show_is_not_dropped_but_put_right_in_the_yaml(
    served: TestClient, wrong: str, said: str
) -> None:
    typed = f"# a note\nkind: sft\nname: a\npolicy: {{scratch: {{}}}}\ndata: {{kind: product_world}}\n{wrong}\n"
    read = served.post("/new/training-job", data={**SFT, "yaml": typed, "action": "read"}).text
    assert said in text_of(read)
    assert drawn(read)["yaml"] == typed
    assert re.search(r'<textarea id="yaml"[^>]* aria-invalid="true"', read)
    checked = served.post("/new/training-job", data={**SFT, **drawn(read), "action": "check"}).text
    assert "the YAML was edited: read it into the form first" in text_of(checked)
    fine = typed.replace(wrong, "")
    read = served.post("/new/training-job", data={**SFT, **drawn(read), "yaml": fine, "action": "read"}).text
    assert "to put right" not in text_of(read)


def test_what_the_form_can_show_is_put_right_there(served: TestClient) -> None:
    typed = "kind: sft\npolicy: {scratch: {}}\ndata: {kind: product_world, size: 64}\nmax_steps: three\n"
    read = served.post("/new/training-job", data={"yaml": typed, "action": "read"}).text
    assert "2 things to put right" in text_of(read)
    assert "cannot show it" not in read
    for less in ("kind: sft\n", "kind: sft\ndata: {}\n"):  # nothing that was said is lost
        assert "cannot show it" not in served.post("/new/training-job", data={"yaml": less, "action": "read"}).text
    checked = served.post("/new/training-job", data={**SFT, **drawn(read), "action": "check"}).text
    assert "Nothing is wrong with it" in text_of(checked)


def test_yaml_that_cannot_be_read_leaves_the_form_as_it_was(served: TestClient) -> None:
    for typed in ("kind: [", "no recipe"):
        page = served.post("/new/training-job", data={**SFT, "yaml": typed, "action": "read"}).text
        assert 'value="tried"' in page
        assert 'value="64"' in page
        assert drawn(page)["yaml"] == typed


def test_a_number_too_large_is_said_in_the_words_of_a_form(served: TestClient) -> None:
    page = served.post("/new/training-job", data={**SFT, "/max_steps": "9" * 40, "action": "check"}).text
    assert "/max_steps a whole number beyond 64 bits" in text_of(page)


def test_an_edit_of_the_yaml_outlives_a_change_of_the_form(served: TestClient) -> None:
    beside = drawn(served.post("/new/training-job", data={**SFT, "action": "draw"}).text)
    edited = beside["yaml"] + "seed: 5\n"
    page = served.post("/new/training-job", data={**SFT, **beside, "/seed": "7", "yaml": edited, "action": "draw"})
    assert drawn(page.text)["yaml"] == edited
    assert "to put right" not in page.text


def test_a_key_that_only_reads_sees_a_form_that_cannot_be_filled_in(
    served: TestClient, make_session: sessionmaker[Session]
) -> None:
    with writing(make_session) as session:
        reading, _ = create_key(session, "reader", ["read"])
        training, _ = create_key(session, "trainer", ["read", "train"])

    pages = {
        key: served.get("/new/training-job", headers={"authorization": f"Bearer {key}"}).text
        for key in (reading, training)
    }
    assert "recipe_form.js" not in pages[reading]
    assert '<fieldset class="inputs" disabled>' in pages[reading]
    assert "with the scope train is needed to fill in the form" in text_of(pages[reading])
    outside = pages[reading].partition('<form class="recipe"')[2].partition("</fieldset>\n    <aside")[2]
    assert "<button" not in outside
    assert "recipe_form.js" in pages[training]
    assert '<fieldset class="inputs">' in pages[training]


@pytest.mark.parametrize("entry", ["x", "0/deeper/1", "9" * 5000, ""])
def test_what_is_no_entry_of_a_list_is_none(served: TestClient, entry: str) -> None:
    for action in ("check", "add:/oracles"):
        page = served.post("/new/stress-test", data={f"entry:/oracles/{entry}": "", "action": action})
        assert page.status_code == 200
        assert "entry:/oracles/1" not in page.text


@pytest.mark.parametrize(
    ("kind", "linked"), [("audit", True), ("stress_test", True), ("win_rate", True), ("sft", False)]
)
def test_a_job_that_measured_leads_to_what_it_found(
    served: TestClient, add_job: AddJob, kind: str, linked: bool
) -> None:
    job = add_job(kind)
    assert (f'href="/runs/{job}"' in served.get(f"/jobs/{job}").text) == linked
