"""Below a path of a proxy's everything leads there, whether or not the proxy takes the path off."""

import re

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from service.app import create_app
from service.settings import Settings

SFT = {"kind": "sft", "name": "x", "policy": {"scratch": {}}, "data": {"kind": "product_world", "size": 8}}


@pytest.mark.parametrize("taken_off", [True, False])
def test_pages_redirects_and_locations_stay_below_the_path(settings: Settings, taken_off: bool) -> None:
    below = settings.model_copy(update={"root_path": "/assay", "job_slots": 0})
    before = "" if taken_off else "/assay"
    with TestClient(create_app(below)) as client:
        page = client.get(f"{before}/jobs")
        links = re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text)
        assert (page.status_code, len(links) > 8) == (200, True)
        assert [link for link in links if not link.startswith("/assay/")] == []
        assert client.get(links[0].removeprefix("/assay") if taken_off else links[0]).status_code == 200

        queued = client.post(f"{before}/v1/training-jobs", json=SFT)
        assert (queued.status_code, queued.headers["location"]) == (
            202,
            f"/assay/v1/training-jobs/{queued.json()['id']}",
        )
        cancelled = client.post(f"{before}/jobs/{queued.json()['id']}/cancel", follow_redirects=False)
        assert cancelled.headers["location"] == f"/assay/jobs/{queued.json()['id']}"
        # a path that only begins alike is another one
        assert client.get("/assaying").status_code == 404


@pytest.mark.parametrize("path", ["assay", "/assay/", "//evil.example", "/a b", "/"])
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        Settings(root_path=path)
