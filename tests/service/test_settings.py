"""Settings come from the environment and are refused in one line."""

from pathlib import Path

import pytest

from service.settings import load_settings, misspelt
from trainer.errors import InvalidInput


def test_the_environment_is_read_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_JOB_SLOTS", "3")
    monkeypatch.setenv("ASSAY_RUNS_DIR", "/from/environment")

    settings = load_settings(runs_dir=Path("/from/argument"), port=None)

    assert settings.job_slots == 3
    assert settings.runs_dir == Path("/from/argument")
    assert settings.port == 8000


def test_a_value_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_JOB_SLOTS", "many")

    with pytest.raises(InvalidInput, match=r"ASSAY_JOB_SLOTS.*integer"):
        load_settings()


def test_a_scorer_that_no_request_could_name_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_COMPAT_SCORER", "my scorer")

    with pytest.raises(InvalidInput, match=r"ASSAY_COMPAT_SCORER"):
        load_settings()


def test_a_variable_that_looks_like_a_setting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASSAY_ALLOWED_ROOT", "ASSAY_JOB_SLOTS", "ASSAY_API_KEY", "ASSAY_IMAGE", "ALLOWED_ROOT"):
        monkeypatch.setenv(name, "1")

    assert misspelt() == {"ASSAY_ALLOWED_ROOT": "ASSAY_ALLOWED_ROOTS"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ASSAY_POLL_SECONDS", "inf"),  # no thread can wait for so long, nor a date be so far away
        ("ASSAY_LEASE_SECONDS", "1e12"),
        ("ASSAY_REQUEST_TIMEOUT_SECONDS", "inf"),
        ("ASSAY_KEEP_JOBS_DAYS", "1e12"),
        ("ASSAY_KEEP_RUN_DIRECTORIES_DAYS", "inf"),
        ("ASSAY_MONITOR_KEEP_DAYS", "1e12"),
        ("ASSAY_MONITOR_AUDIT_HOURS", "inf"),
    ],
)
def test_times_that_no_clock_can_hold_are_refused(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidInput, match=rf"\({variable}\): Input should be less than or equal to"):
        load_settings()


def test_an_empty_variable_is_as_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("PORT", "STORAGE_URL", "ARTIFACT_DIR", "GPUS", "KEEP_JOBS_DAYS", "ALLOWED_ROOTS")
    for name in names:
        monkeypatch.delenv(f"ASSAY_{name}", raising=False)
    unset = load_settings()
    for name in names:
        monkeypatch.setenv(f"ASSAY_{name}", "")
    assert load_settings() == unset
    assert unset.storage_url is None


def test_an_empty_database_is_none_and_no_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATABASE_URL", "")
    with pytest.raises(InvalidInput, match="ASSAY_DATABASE_URL is empty; give it a database, or unset it"):
        load_settings()
    assert load_settings(database_url="sqlite:///here.db").database_url == "sqlite:///here.db"
