"""An error that was sent as a code comes back as its class."""

from trainer.errors import AssayError, OverlongInput, RunFailed, error_of


def test_a_code_becomes_the_class_it_names() -> None:
    error = error_of("overlong_input", "511 tokens exceed 128", pointer="/rejected")

    assert type(error) is OverlongInput
    assert (error.detail, error.pointer) == ("511 tokens exceed 128", "/rejected")
    assert type(error_of("failed", "it failed")) is AssayError


def test_a_code_that_names_no_class_is_a_failure() -> None:
    assert type(error_of("internal", "the log says why")) is RunFailed
