"""The one table from a failure to what the asker sees: an HTTP status there, an exit status here."""

from dataclasses import dataclass

from trainer.errors import (
    AssayError,
    BrokenArtifact,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    NotFound,
    OutOfMemory,
    Overloaded,
    OverlongInput,
    QuotaExceeded,
    RunFailed,
    Stopped,
    StorageFailure,
    Unauthenticated,
    Unscorable,
    WrongSchema,
)

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 3


@dataclass(frozen=True)
class Outcome:
    """How one class of failure is answered."""

    status: int
    title: str
    exit_status: int
    retry_after_seconds: int | None = None


OUTCOMES: dict[type[AssayError], Outcome] = {
    InvalidInput: Outcome(422, "Invalid input", EXIT_BAD_INPUT),
    OverlongInput: Outcome(422, "Input too long", EXIT_BAD_INPUT),
    Unauthenticated: Outcome(401, "Key needed", EXIT_BAD_INPUT),
    Forbidden: Outcome(403, "Not allowed", EXIT_BAD_INPUT),
    QuotaExceeded: Outcome(429, "Quota used up", EXIT_FAILED, retry_after_seconds=60),
    NotFound: Outcome(404, "Not found", EXIT_BAD_INPUT),
    Conflict: Outcome(409, "Conflict with the present state", EXIT_BAD_INPUT),
    BrokenArtifact: Outcome(409, "Broken artifact", EXIT_BAD_INPUT),
    WrongSchema: Outcome(503, "Database at another migration", EXIT_BAD_INPUT),
    StorageFailure: Outcome(507, "Storage failure", EXIT_BAD_INPUT),
    OutOfMemory: Outcome(507, "Out of memory", EXIT_FAILED),
    Overloaded: Outcome(503, "Overloaded", EXIT_FAILED, retry_after_seconds=1),
    DeadlineExceeded: Outcome(504, "Deadline exceeded", EXIT_FAILED, retry_after_seconds=1),
    RunFailed: Outcome(500, "Run failed", EXIT_FAILED),
    Unscorable: Outcome(422, "No score", EXIT_FAILED),
    Stopped: Outcome(409, "Stopped", EXIT_STOPPED),
    AssayError: Outcome(500, "Failed", EXIT_FAILED),
}


def outcome_of(error: AssayError) -> Outcome:
    """The row for the error's class or its nearest ancestor."""
    return next(OUTCOMES[kind] for kind in type(error).__mro__ if kind in OUTCOMES)


def exit_status(error: AssayError) -> int:
    """Exit status of a command that ended with ``error``."""
    return outcome_of(error).exit_status
