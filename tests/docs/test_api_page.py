"""docs/api.md is what the code says."""

from pathlib import Path

import pytest

from service.app import create_app
from service.cli.api_page import COMMAND, api_page
from service.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return api_page(create_app(Settings(database_url=f"sqlite:///{tmp_path_factory.mktemp('api') / 'assay.db'}")))


def test_the_page_is_up_to_date(page: str) -> None:
    assert PAGE.read_text() == page, f"docs/api.md is of another version of the code; renew it: {COMMAND}"


def test_an_operation_is_told_with_what_it_needs(page: str) -> None:
    rows = page.splitlines()
    (scores,) = [row for row in rows if "| `/v1/scores` |" in row]
    assert scores.startswith("| POST |")
    assert scores.endswith("| `score` |")
    (deleted,) = [row for row in rows if row.startswith("| DELETE | `/v1/artifacts/{reference}` |")]
    assert deleted.endswith("| `admin` |")
    (alive,) = [row for row in rows if "`/livez`" in row]
    assert alive.endswith("| open |")
    assert len([row for row in rows if row.startswith(("| GET |", "| POST |"))]) > 50


def test_a_problem_is_told_with_its_status(page: str) -> None:
    (quota,) = [row for row in page.splitlines() if "`quota_exceeded`" in row]
    assert quota.startswith("| 429 |")
    assert "Retry-After" in quota
