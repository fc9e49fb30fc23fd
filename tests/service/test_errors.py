"""A failure has one HTTP status and one exit status, whoever raises it."""

import pytest

from service.errors import OUTCOMES, exit_status, outcome_of
from trainer import errors


def test_every_error_class_has_its_own_row() -> None:
    classes = {
        thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, errors.AssayError)
    }

    assert len(classes) >= 10
    assert classes == OUTCOMES.keys()


@pytest.mark.parametrize(
    ("error", "status", "exit_code"),
    [
        (errors.InvalidInput("x"), 422, 2),
        (errors.OverlongInput("x"), 422, 2),
        (errors.NotFound("x"), 404, 2),
        (errors.Conflict("x"), 409, 2),
        (errors.BrokenArtifact("x"), 409, 2),
        (errors.WrongSchema("x"), 503, 2),
        (errors.StorageFailure("x"), 507, 2),
        (errors.OutOfMemory("x"), 507, 1),
        (errors.Overloaded("x"), 503, 1),
        (errors.RunFailed("x"), 500, 1),
        (errors.Unscorable("x"), 422, 1),
        (errors.Stopped("x"), 409, 3),
    ],
)
def test_statuses(error: errors.AssayError, status: int, exit_code: int) -> None:
    assert (outcome_of(error).status, exit_status(error)) == (status, exit_code)


def test_a_subclass_without_a_row_is_answered_like_its_parent() -> None:
    class BadTemperature(errors.InvalidInput):
        pass

    assert outcome_of(BadTemperature("x")).status == 422
