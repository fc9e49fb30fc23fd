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
