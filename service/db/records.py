"""What queries return: plain values that outlive the session, the same over HTTP, on the command line and on pages."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "lost"]
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "lost"})

Item = TypeVar("Item")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True, use_attribute_docstrings=True)


class Page(_Record, Generic[Item]):
    """Part of a list; ``next`` is the cursor of the following part, None at the end."""

    # pydantic would look for the source of each Page[...], which has none: a fifth of the time a server takes to import
    model_config = ConfigDict(use_attribute_docstrings=False)

    data: list[Item]
    next: str | None


class Progress(_Record):
    """How far the present stage is."""

    stage: str
    done: int
    total: int
    unit: str
    rate: float | None
    """Units per second; None unless the job is running, and so is the next."""
    eta_seconds: float | None


def progress_of(told: dict[str, Any] | None, status: str) -> Progress | None:
    """What a job told last of how far it is; how fast it is only while it runs."""
    if told is None:
        return None
    progress = Progress.model_validate(told)
    return progress if status == "running" else progress.model_copy(update={"rate": None, "eta_seconds": None})


class JobError(_Record):
    code: str
    detail: str

    @classmethod
    def stored(cls, code: str | None, detail: str | None) -> "JobError | None":
        """What two columns say of an error; None where there is none."""
        return None if code is None else cls(code=code, detail=detail or "")


class ArtifactReference(_Record):
    name: str
    version: int
    kind: str


class JobRecord(_Record):
    """A job as the outside sees it."""

    id: str
    kind: str
    name: str
    status: JobStatus
    queue_position: int | None
    """1 is next; None unless queued."""
    waiting_reason: str | None = None
    """What a queued job waits for; None if it is only for its turn."""
    cancel_requested: bool
    progress: Progress | None
    attempts: int
    max_attempts: int
    error: JobError | None
    result: dict[str, Any] | None
    """The recipe's summary of what it did."""
    artifacts: list[ArtifactReference]
    labels: dict[str, str]
    recipe: dict[str, Any]
    recipe_digest: str
    code_version: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class StressTestRecord(JobRecord):
    """A stress test: its job and, once it has succeeded, what it measured."""

    policy: str | None
    temperatures: list[float] | None
    n_prompts: int | None
    n_responses: int | None
    scorers: list[str] | None
    oracles: list[str] | None


class RunRecord(_Record):
    """A run that evaluates, of any kind, without its results: what lists and pages tell of it."""

    id: str
    kind: str
    name: str
    status: JobStatus
    queue_position: None = None
    """The job's own page tells its place in line and why it waits."""
    waiting_reason: None = None
    cancel_requested: bool
    progress: Progress | None
    attempts: int
    max_attempts: int
    error: JobError | None
    labels: dict[str, str]
    recipe: dict[str, Any]
    code_version: str
    events_seen: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    policy: str | None
    """Of a finished stress test; so is what follows."""
    temperatures: list[float] | None
    n_prompts: int | None
    n_responses: int | None
    scorers: list[str] | None
    oracles: list[str] | None


class EventRecord(_Record):
    """One thing that happened; ``data`` has the fields of its type."""

    sequence: int
    time: datetime
    type: str
    data: dict[str, Any]


class MetricSeries(_Record):
    """One metric over the steps of one stage, as ``[step, value]`` points."""

    stage: str
    name: str
    points: list[tuple[int, float]]


class _EstimatedRecord(_Record):
    """A number with its interval, or the reason why there is none."""

    oracle: str
    temperature: float | None
    """None: all temperatures pooled, or none recorded."""
    stratum: str
    estimate: float | None
    lower: float | None
    upper: float | None
    standard_error: float | None
    n_prompts: int
    n_responses: int
    n_dropped: int
    n_total: int | None
    n_truncated: int | None
    n_constant_prompts: int | None
    method: str
    undefined_reason: str | None
    code_version: str
    created_at: datetime


class CorrelationRecord(_EstimatedRecord):
    """How far a scorer agrees with an oracle."""

    run: str
    policy: str | None
    scorer: str
    scorer_version: int | None
    statistic: str


class CurveRecord(_EstimatedRecord):
    """A point of a curve, such as the oracle's value of the best of N by a scorer."""

    run: str
    scorer: str
    scorer_version: int | None
    curve: str
    x: float


class ComparisonRecord(_EstimatedRecord):
    """A paired difference of one statistic between two scorers, with its verdict."""

    id: str
    run_a: str
    run_b: str
    scorer_a: str
    scorer_b: str
    statistic: str
    verdict: Literal["better", "worse", "not resolved"]


class ScoreRecord(_Record):
    """What one scorer, control or oracle said about one response."""

    run: str
    prompt_id: str
    temperature: float | None
    replicate: int
    scorer: str
    scorer_version: int | None
    role: Literal["scorer", "control", "oracle"]
    score: float | None
    tokens: int | None
    truncated_tokens: int | None
    error: JobError | None


class ResponseRecord(_Record):
    """One sampled response and the prompt it answers."""

    run: str
    prompt_id: str
    prompt: str | list[dict[str, str]]
    temperature: float | None
    replicate: int
    response: str
    tokens: int | None
    finish_reason: str | None
    mean_logprob: float | None
    sampler: dict[str, Any] | None


Measure = Literal["score", "length", "truncated", "score_shift", "length_shift"]
"""``score`` and ``length``: the share that moved; ``truncated``: the difference of the shares of prompts cut;
``score_shift`` and ``length_shift``: of the mean, in standard deviations of the reference."""


class DriftRecord(_Record):
    """One measure of one scorer's drift at one time."""

    scorer: str
    """``NAME@VERSION:OUTPUT``"""
    measure: Measure
    created_at: datetime
    estimate: float | None
    lower: float | None
    upper: float | None
    n_responses: int
    n_prompts: int
    n_reference: int
    """Responses that they were compared with."""
    reference_kind: str
    """``validation`` data, or the ``first_scores`` kept."""
    undefined_reason: str | None
