"""GET /v1/history answers a page, a file or nothing new, and says what is wrong with a parameter beside its name."""

import csv
import io
import json
import re
import runpy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.db.pages import encode_cursor
from service.db.records import CorrelationRecord
from service.routes.history import HistoryQuery

Correlate = Callable[..., str]
THURSDAY = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
NUL = "holds a NUL character (%00); leave it out"
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def estimates(client: TestClient, **params: Any) -> list[float | None]:
    answer = client.get("/v1/history", params=params)
    assert answer.status_code == 200, answer.text
    return [row["estimate"] for row in answer.json()["data"]]


def test_a_page_is_correlations_newest_first_with_what_comes_next(idle: TestClient, correlate: Correlate) -> None:
    older = correlate([{"estimate": 0.1}], THURSDAY)
    newer = correlate(
        [{"estimate": 0.2}, {"undefined_reason": "every score is the same"}], THURSDAY + timedelta(days=1)
    )

    first = idle.get("/v1/history", params={"limit": 2}).json()
    assert [(row["run"], row["estimate"]) for row in first["data"]] == [(newer, None), (newer, 0.2)]
    assert first["data"][0]["undefined_reason"] == "every score is the same"
    assert first["data"][1] == {
        **{"run": newer, "policy": "p@1", "scorer": "rm", "scorer_version": 1, "oracle": "judge", "temperature": 1.0},
        **{"stratum": "all", "statistic": "pearson_within", "estimate": 0.2, "lower": 0.4, "upper": 0.6},
        **{"standard_error": 0.075, "n_prompts": 10, "n_responses": 40, "n_dropped": 1, "n_total": None},
        **{"n_truncated": None, "n_constant_prompts": None, "method": "by hand", "undefined_reason": None},
        **{"code_version": "0", "created_at": "2026-11-27T09:30:00Z"},
    }
    second = idle.get("/v1/history", params={"limit": 2, "cursor": first["next"]}).json()
    assert ([row["run"] for row in second["data"]], second["next"]) == ([older], None)


def test_parameters_narrow_what_is_found(idle: TestClient, correlate: Correlate) -> None:
    correlate([{"estimate": 0.1, "scorer": "a"}, {"estimate": 0.2, "temperature": None}], labels={"team": "x"})
    correlate([{"estimate": 0.3, "scorer": "b", "scorer_version": 2, "temperature": 2.0}], name="weekly")

    assert estimates(idle, scorer=["a", "b"], sort="estimate") == [0.1, 0.3]
    assert estimates(idle, temperature=["pooled", 2], sort="-estimate") == [0.3, 0.2]
    assert estimates(idle, temperature_min=1.5) == [0.3]
    assert estimates(idle, scorer_version=2, name="weekly") == [0.3]
    assert estimates(idle, label="team=x", sort="estimate") == [0.1, 0.2]
    assert estimates(idle, where="scorer == a or temperature == null", sort="estimate") == [0.1, 0.2]
    assert estimates(idle, created_after="2100-01-01") == []


def test_groups_have_what_they_share_n_and_an_interval(idle: TestClient, correlate: Correlate) -> None:
    for days, estimate in ((0, 0.1), (1, 0.3), (7, 0.5)):
        ends = {"lower": estimate - 0.1, "upper": estimate + 0.1}
        correlate([{"estimate": estimate, **ends}], THURSDAY + timedelta(days=days))

    answer = idle.get(
        "/v1/history",
        params={
            "statistic": "pearson_within",
            "group_by": ["week", "scorer"],
            "agg": "mean",
            "sort": "-week",
            "temperature": 1.0,
            "stratum": "all",
        },
    )
    assert [(row["group"], row["estimate"], row["n_runs"]) for row in answer.json()["data"]] == [
        ({"week": "2026-11-30", "scorer": "rm"}, 0.5, 1),
        ({"week": "2026-11-23", "scorer": "rm"}, 0.2, 2),
    ]
    for row in answer.json()["data"]:
        assert -1 < row["lower"] < row["estimate"] < row["upper"] < 1
        assert (row["n_prompts"], row["n_responses"]) == (10 * row["n_runs"], 40 * row["n_runs"])


@pytest.mark.parametrize(
    ("params", "parameter", "detail"),
    [
        ({"scorers": "rm"}, "scorers", "Extra inputs are not permitted"),
        ({"temperature": "hot"}, "temperature.0", "pooled"),
        ({"temperature": "nan"}, "temperature.0", "finite"),
        ({"scorer_version": 2**63}, "scorer_version.0", "less than"),
        ({"label": "team"}, "label", "write key=value"),
        ({"label": "a b=c"}, "label", "a key is 1 to 64 letters"),
        ({"label": [f"k{number}=v" for number in range(1100)]}, "label", "at most 100 items"),
        ({"where": "temprature > 1"}, "where", "at character 1: no field 'temprature'; use one of run, name"),
        ({"group_by": "colour"}, "group_by.0", "'run', 'name', 'policy'"),
        ({"group_by": "scorer"}, "agg", "a group would mix statistics: name one, as statistic=pearson_within"),
        ({"agg": "mean"}, "agg", "is of groups: say group_by too"),
        ({"group_by": ["statistic", "statistic"]}, "agg", "named twice"),
        ({"statistic": "mean", "group_by": "scorer", "agg": "mean"}, "agg", "say temperature=pooled"),
        (
            {"statistic": "mean", "group_by": "scorer", "agg": "combined", "temperature": ["pooled", 1]},
            "agg",
            "or group by temperature too",
        ),
        (
            {"statistic": "mean", "group_by": ["scorer", "temperature"], "agg": "mean"},
            "agg",
            "say stratum=all as a parameter, or group by stratum too",
        ),
        ({"sort": "mood"}, "sort", "'mood' is no column to sort by; use one of created_at, run"),
        ({"sort": "estimate", "group_by": "statistic"}, "sort", "use one of statistic"),
        ({"format": "xml"}, "format", "'json', 'csv'"),
        ({"limit": 501}, "limit", "less than or equal to 500"),
        ({"created_after": "yesterday"}, "created_after", "valid datetime"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_to_do(
    idle: TestClient, params: dict[str, Any], parameter: str, detail: str
) -> None:
    problem = idle.get("/v1/history", params=params)

    assert (problem.status_code, problem.headers["content-type"]) == (422, "application/problem+json")
    told = [error for error in problem.json()["errors"] if error["parameter"].startswith(parameter)]
    assert told, problem.json()
    assert any(detail in error["detail"] for error in told), told


def test_a_file_has_no_pages(idle: TestClient) -> None:
    for params in ({"format": "csv", "limit": 7}, {"format": "parquet", "cursor": "x"}):
        problem = idle.get("/v1/history", params=params)
        assert (problem.status_code, "leave out cursor and limit" in problem.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    ("sort", "written"),
    [
        *(("scorer", written) for written in ('"\\ud800"', '["rm"]', "1", "\ud800")),
        *(("estimate", written) for written in ("NaN", "true", '"0.5"')),
        ("n_prompts", "true"),
    ],
)
def test_a_cursor_that_somebody_made_is_refused(
    idle: TestClient, correlate: Correlate, sort: str, written: str
) -> None:
    run = correlate([{}])
    cursor = encode_cursor([f"{sort} False", written, json.dumps(run), "1"])
    problem = idle.get("/v1/history", params={"sort": sort, "cursor": cursor})
    assert (problem.status_code, problem.json()["detail"][:7]) == (422, "cursor:")


def test_what_is_known_already_is_not_sent_again(idle: TestClient, correlate: Correlate) -> None:
    correlate([{}], THURSDAY)
    for params in ({}, {"format": "csv"}, {"group_by": "statistic", "format": "parquet"}):
        first = idle.get("/v1/history", params=params)
        tag = first.headers["etag"]
        for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            again = idle.get("/v1/history", params=params, headers={"if-none-match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert idle.get("/v1/history", params=params, headers={"if-none-match": '"other"'}).status_code == 200
        correlate([{}], THURSDAY)
        changed = idle.get("/v1/history", params=params, headers={"if-none-match": tag})
        assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)


def test_every_format_has_the_same_rows_and_more_than_a_page(idle: TestClient, correlate: Correlate) -> None:
    correlate([{"estimate": n / 1000, "temperature": None} for n in range(700)], THURSDAY)
    correlate([{"undefined_reason": 'said "nothing", twice'}], THURSDAY + timedelta(days=1))

    def file(kind: str, **headers: str) -> Any:
        return idle.get("/v1/history", params={} if headers else {"format": kind}, headers=headers)

    lines = [json.loads(line) for line in file("ndjson").text.splitlines()]
    assert len(lines) == 701
    assert lines[0]["undefined_reason"] == 'said "nothing", twice'
    assert [line["estimate"] for line in lines[:2]] == [None, 0.699]
    page = idle.get("/v1/history", params={"limit": 500}).json()["data"]
    assert lines[:500] == [{name: row[name] for name in CorrelationRecord.model_fields} for row in page]

    table = list(csv.DictReader(io.StringIO(file("csv").text)))
    assert [row["estimate"] for row in table[:2]] == ["", "0.699"]
    assert table[1]["created_at"] == "2026-11-26T09:30:00Z"
    assert list(table[0]) == list(CorrelationRecord.model_fields)

    parquet = pq.read_table(io.BytesIO(file("parquet").content)).to_pylist()
    assert parquet == [CorrelationRecord(**line).model_dump() for line in lines]

    for kind, media in (
        ("csv", "text/csv"),
        ("ndjson", "application/x-ndjson"),
        ("parquet", "application/vnd.apache.parquet"),
    ):
        asked = file(kind, accept=f"text/html;q=0.1, {media};q=0.9, */*")
        assert asked.headers["content-type"].partition(";")[0] == media
        assert asked.headers["content-disposition"] == f'attachment; filename="history.{kind}"'
        if kind != "parquet":  # whose footer tells when it was written
            assert asked.content == file(kind).content
    assert file("json", accept="text/html").headers["content-type"] == "application/json"


def test_the_header_accept_weighs_what_it_names(idle: TestClient) -> None:
    for accept, media in (
        ("text/csv;q=0.1, application/json", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
        ("application/json;q=0.5, application/x-ndjson; q=0.9", "application/x-ndjson"),
        ("text/csv, application/x-ndjson", "text/csv"),
        ("text/csv;q=much", "application/json"),
    ):
        answer = idle.get("/v1/history", headers={"accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == media, accept


def test_no_text_of_a_csv_file_is_a_spreadsheets_formula(idle: TestClient, correlate: Correlate) -> None:
    subsets = ["=1+1", "@SUM(1)", "+1", "-1", "\t=1", "\r=1", "'=1"]
    correlate([{"stratum": subset, "estimate": -0.1} for subset in subsets])

    content = idle.get("/v1/history", params={"format": "csv", "sort": "stratum"}).text
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert {row["stratum"] for row in rows} == {*(f"'{subset}" for subset in subsets[:-1]), "'=1"}
    assert {row["estimate"] for row in rows} == {"-0.1"}
    lines = idle.get("/v1/history", params={"format": "ndjson"}).text.splitlines()
    assert {json.loads(line)["stratum"] for line in lines} == {*subsets}


def test_a_file_of_groups_has_their_dimensions_as_columns(idle: TestClient, correlate: Correlate) -> None:
    run = correlate([{"temperature": None}, {"temperature": 2.0}], THURSDAY)
    params = {"group_by": ["run", "temperature"], "statistic": "pearson_within", "agg": "combined", "stratum": "all"}

    [first, second] = csv.DictReader(io.StringIO(idle.get("/v1/history", params={**params, "format": "csv"}).text))
    assert list(first)[:4] == ["run", "temperature", "agg", "estimate"]
    assert (first["run"], first["temperature"], second["temperature"]) == (run, "2.0", "")
    content = idle.get("/v1/history", params={**params, "format": "parquet"}).content
    assert pq.read_table(io.BytesIO(content)).column("temperature").to_pylist() == [2.0, None]


def test_an_empty_history_is_an_empty_file_of_each_format(idle: TestClient) -> None:
    assert idle.get("/v1/history").json() == {"data": [], "next": None}
    assert idle.get("/v1/history?format=ndjson").content == b""
    assert idle.get("/v1/history?format=csv").text.count("\n") == 1
    assert pq.read_table(io.BytesIO(idle.get("/v1/history?format=parquet").content)).num_rows == 0


def test_a_text_that_no_database_can_hold_is_a_problem_in_every_format(idle: TestClient) -> None:
    for kind in ("json", "csv", "parquet"):
        answer = idle.get("/v1/history", params={"scorer": "a\x00b", "format": kind})
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"parameter": "scorer", "detail": NUL}]


def test_what_the_documentation_asks_for_is_answered(idle: TestClient, correlate: Correlate) -> None:
    correlate([{"scorer": "demo-encoder", "temperature": t} for t in (None, 2.0)], THURSDAY)
    text = (EXAMPLES.parent / "history.md").read_text()

    addresses = re.findall(r"http://127\.0\.0\.1:8000(/v1/history[^']*)'", text)
    assert len(addresses) == 2
    for address in addresses:
        assert len(idle.get(address).json()["data"]) == 1, address
    [condition] = re.findall(r"^    where=(.+)$", text, re.MULTILINE)
    assert idle.get("/v1/history", params={"where": condition}).status_code == 200
    dimensions = HistoryQuery.model_fields.keys() - {"format", "cursor", "limit", "sort", "group_by", "agg"}
    assert [name for name in dimensions if f"`{name}" not in text] == []


def grafana() -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    return dashboard


def test_every_panel_of_the_grafana_dashboard_finds_its_columns(idle: TestClient, correlate: Correlate) -> None:
    correlate([{"oracle": "product_world", "temperature": t} for t in (None, 1.5)], THURSDAY)
    dashboard = grafana()
    values = {
        "__from:date:iso": "2026-01-01T00:00:00.000Z",
        "__to:date:iso": "2027-01-01T00:00:00.000Z",
        **{f"{each['name']}:percentencode": each["query"] for each in dashboard["templating"]["list"]},
    }
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 2
    for panel in panels:
        [target] = panel["targets"]
        assert_infinity_query(target, panel["type"])
        address = target["url"]
        for name, value in values.items():
            address = address.replace(f"${{{name}}}", value)
        assert "$" not in address
        path, _, query = address.partition("?")  # which it writes anew, sorted by name
        sent = sorted(parse_qsl(query), key=lambda pair: pair[0])
        answer = idle.get(f"{path}?{urlencode(sent)}", headers={"accept": "application/json;q=0.9,text/plain"})
        rows = answer.json()[target["root_selector"]]
        assert rows, panel["title"]
        for column in target["columns"]:
            found = [at(row, column["selector"]) for row in rows]
            expected = (int, float) if column["type"] == "number" else str
            assert all(value is None or isinstance(value, expected) for value in found), column
            if column["type"] == "timestamp":
                assert all(datetime.fromisoformat(value) for value in found)


def assert_infinity_query(target: dict[str, Any], panel: str) -> None:
    """What the data source takes for a JSON query of an address, by its own declarations (query.types.ts, 2025)."""
    assert target.keys() == {
        *("refId", "datasource", "type", "parser", "source", "format", "url", "url_options"),
        *("root_selector", "columns", "filters"),
    }
    assert (target["type"], target["parser"], target["source"]) == ("json", "backend", "url")
    assert target["datasource"] == {"type": "yesoreyeram-infinity-datasource", "uid": "${datasource}"}
    assert target["url_options"] == {"method": "GET", "data": ""}
    assert target["format"] == {"timeseries": "timeseries", "table": "table"}[panel]
    for column in target["columns"]:
        assert column.keys() == {"selector", "text", "type"}
        assert column["type"] in {"string", "number", "timestamp", "timestamp_epoch", "timestamp_epoch_s"}
    assert len({column["text"] for column in target["columns"]}) == len(target["columns"])
    if panel == "timeseries":  # in the order of time, one time, what tells lines apart, and the number
        assert [column["type"] for column in target["columns"]] == ["timestamp", "string", "number"]
        assert "sort=week" in target["url"].split("&")


def at(row: Any, selector: str) -> Any:
    for name in selector.split("."):
        row = row[name]
    return row


def test_the_notebook_runs_from_its_first_cell_to_its_last(
    make_app: Callable[..., FastAPI],
    serve: Callable[[Any], str],
    correlate: Correlate,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    correlate([{"temperature": None}, {"temperature": 2.0, "undefined_reason": "constant"}], THURSDAY)
    correlate([{"temperature": None, "estimate": 0.25}], THURSDAY + timedelta(days=1))
    monkeypatch.setenv("ASSAY_URL", serve(make_app()))
    notebook = json.loads((EXAMPLES / "history.ipynb").read_text())
    assert notebook["nbformat"] == 4
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    script = tmp_path / "history.py"
    script.write_text("\n".join(cells))

    names = runpy.run_path(str(script))
    names["assay"].close()
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "judge rm T = 2.0 constant 10 prompts",
        "judge rm T = None 0.25 [0.40, 0.60] 10 prompts",
        "3 rows of 2 runs",
    ]
    [line] = names["figure"].data
    assert (list(line.y), line.name) == ([0.5, 0.25], "rm")


def test_a_cursor_with_half_a_surrogate_is_refused(idle: TestClient, correlate: Correlate) -> None:
    correlate([{}])
    for text, status in (("rm", 200), ("\ud800", 422)):
        cursor = encode_cursor(["scorer False", json.dumps(text), '"run_x"', "1"])
        assert idle.get("/v1/history", params={"sort": "scorer", "cursor": cursor}).status_code == status
