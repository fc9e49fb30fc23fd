"""Every error a user can cause or meet, in the words that tell what to do about it.

The service translates the class to an HTTP status and the command line to an exit status, each in one table;
nothing below them raises anything else on purpose.
"""

from collections.abc import Sequence


class AssayError(Exception):
    """Base of all expected failures. ``str(error)`` is one line: what is wrong and what to do.

    ``pointer`` is a JSON pointer (RFC 6901) to the offending field, where there is one.
    """

    code = "failed"

    def __init__(self, detail: str, *, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer


class InvalidInput(AssayError):
    """What was sent or typed cannot be used: a field, a row, a file.

    ``complaints`` are all that is wrong, each with its pointer, where more than the first is known.
    """

    code = "invalid_input"

    def __init__(self, detail: str, *, pointer: str | None = None, complaints: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(detail, pointer=pointer)
        self.complaints = tuple(complaints)


class OverlongInput(InvalidInput):
    """A prompt and response exceed the model's window and nobody allowed truncation."""

    code = "overlong_input"


class NotFound(AssayError):
    """No artifact, job or run of that name or id."""

    code = "not_found"


class Conflict(AssayError):
    """The request is well formed but contradicts the present state, such as resuming a running job."""

    code = "conflict"


class BrokenArtifact(AssayError):
    """An artifact whose files, digests or probe scores are not what its manifest promises."""

    code = "broken_artifact"


class WrongSchema(AssayError):
    """The database is at another migration than this code expects."""

    code = "wrong_schema"


class StorageFailure(AssayError):
    """A disk is full or a directory cannot be written."""

    code = "storage_failure"


class OutOfMemory(AssayError):
    """A model, or what it makes of one pair, does not fit into memory beside what has to stay there."""

    code = "out_of_memory"


class Overloaded(AssayError):
    """A bounded queue is full; the same request may succeed a moment later."""

    code = "overloaded"


class Unauthenticated(AssayError):
    """Nobody is known by the key that was sent, or none was sent and one is needed."""

    code = "unauthenticated"


class Forbidden(AssayError):
    """Who asks is known and may not do this, or the recipe names a place that the operator has not listed."""

    code = "forbidden"


class QuotaExceeded(AssayError):
    """A key has used up what it may ask for at present."""

    code = "quota_exceeded"

    def __init__(self, detail: str, *, pointer: str | None = None, retry_after_seconds: int = 60) -> None:
        super().__init__(detail, pointer=pointer)
        self.retry_after_seconds = retry_after_seconds


class DeadlineExceeded(AssayError):
    """What was asked for was not begun before the time after which nobody wants it."""

    code = "deadline_exceeded"


class RunFailed(AssayError):
    """A run started and could not finish: a loss that is not finite, a judge that does not answer."""

    code = "run_failed"


class Unscorable(RunFailed):
    """A scorer read a pair and has no score for it: what it gave is not finite, and would not be if asked again."""

    code = "unscorable"


class Stopped(AssayError):
    """A run ended early because somebody asked; it continues from its last checkpoint."""

    code = "stopped"


def error_of(code: str, detail: str, *, pointer: str | None = None) -> AssayError:
    """The error that ``code`` stands for, as a server or a result file names it; RunFailed for a code of none."""
    kinds = [AssayError]
    for kind in kinds:
        if kind.code == code:
            return kind(detail, pointer=pointer)
        kinds += kind.__subclasses__()
    return RunFailed(detail, pointer=pointer)


def first_line(error: Exception) -> str:
    """The first line of what a library's error says, to be quoted in a sentence; its class where it says nothing."""
    return next((line.rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)
