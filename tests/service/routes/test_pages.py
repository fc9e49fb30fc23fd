"""Lists that grow come in pages, each from where the one before ended."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from service.db.monitored import keep_state
from service.db.pages import encode_cursor
from service.db.session import writing
from service.db.tables import Alias, ArtifactRow, Comparison
from service.monitoring.state import ScorerState

NOW = datetime(2026, 11, 26, tzinfo=UTC)
RUN = "run_1"


@pytest.fixture
def filled(make_session: sessionmaker[Session], correlate: Callable[..., str]) -> None:
    """Five of each list."""
    correlate([{}], id=RUN)
    with writing(make_session) as session:
        for name, alias in (("a", "champion"), ("a", "next"), ("b", "champion"), ("b/c", "champion"), ("b/c", "old")):
            facts: dict[str, Any] = {
                "kind": "reward_model",
                "digest": "",
                "job": None,
                "manifest": {},
                "created_at": NOW,
            }
            session.merge(ArtifactRow(name=name, version=1, **facts))
            session.flush()
            session.add(Alias(name=name, alias=alias, version=1, updated_at=NOW))
        for number in range(5):
            state = ScorerState(scorer=f"rm@{number}:score", rows=1, reference="none", drift=None, trust=[])
            keep_state(session, state.scorer, reference=None, state=state.model_dump(mode="json"), now=NOW)
            what: dict[str, Any] = {
                "oracle": "judge",
                "temperature": None,
                "stratum": "all",
                "statistic": "pearson_within",
            }
            counts = {"n_prompts": 1, "n_responses": 1, "n_dropped": 0, "method": "by hand"}
            session.add(
                Comparison(
                    **{"id": f"cmp_{number}", "run_a": RUN, "run_b": RUN, "scorer_a": "a", "scorer_b": f"b{number}"},
                    **{**what, **counts, "verdict": "not resolved", "code_version": "0", "created_at": NOW},
                )
            )


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("/v1/aliases", lambda row: (row["name"], row["alias"])),
        ("/v1/monitoring", lambda row: row["scorer"]),
        (f"/v1/stress-tests/{RUN}/comparisons", lambda row: row["id"]),
    ],
)
def test_pages_put_together_are_the_list(idle: TestClient, address: str, key: Callable[[Any], Any]) -> None:
    whole = idle.get(address).json()
    assert (len(whole["data"]), whole["next"]) == (5, None)
    assert [key(row) for row in whole["data"]] == sorted(key(row) for row in whole["data"])
    for limit in (1, 2, 4, 5):
        seen, cursor = [], None
        while True:
            page = idle.get(address, params={"limit": limit, **({} if cursor is None else {"cursor": cursor})}).json()
            seen += page["data"]
            assert len(page["data"]) <= limit
            if (cursor := page["next"]) is None:
                break
            assert len(page["data"]) == limit
        assert seen == whole["data"]
    for wrong in ("nonsense", encode_cursor(7), encode_cursor(["a", "b"])):
        assert idle.get(address, params={"cursor": wrong}).status_code == 422
    assert idle.get(f"{address}?limit=501").status_code == 422


@pytest.mark.usefixtures("filled")
def test_aliases_of_one_name_have_pages_of_their_own(idle: TestClient) -> None:
    first = idle.get("/v1/aliases?name=a&limit=1").json()
    second = idle.get("/v1/aliases", params={"name": "a", "limit": 1, "cursor": first["next"]}).json()
    assert [row["alias"] for page in (first, second) for row in page["data"]] == ["champion", "next"]
    assert second["next"] is None
