"""Facts of this installation, from ``ASSAY_*`` environment variables or the command line."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.slots import Gpu
from trainer.artifacts import ArtifactStore
from trainer.errors import InvalidInput
from trainer.shared_artifacts import open_artifacts


def _words(value: object) -> object:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _gpus(value: object) -> object:
    if not isinstance(value, str):
        return value
    return () if value.strip() == "none" else tuple(Gpu.parse(word) for word in value.split(","))


_PREFIX = "ASSAY_"
_Word = TypeVar("_Word")
Words = Annotated[tuple[_Word, ...], NoDecode, BeforeValidator(_words)]
"""Several values in one variable, divided by commas."""


class Settings(BaseSettings):
    """Everything an operator decides. What a job should do is in its recipe instead."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    database_url: str = "sqlite:///assay.db"
    """A SQLite file, or a PostgreSQL server: ``postgresql://USER:PASSWORD@HOST:PORT/NAME``."""

    artifact_dir: Path = Path("artifacts")
    """Root of the published artifacts."""

    storage_url: str | None = None
    """Object storage that machines share (``s3://BUCKET/PREFIX``, ``gs://`` or ``file://``): artifacts are published
    there, run directories kept there, and the directories here hold copies."""

    runs_dir: Path = Path("runs")
    """Where each job keeps its run directory, named after its id."""

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 lets the system choose."""

    root_path: str = Field("", pattern=r"^(/[A-Za-z0-9._~-]+)*$")
    """Path below which a proxy shows this server, such as ``/assay``, whether or not the proxy takes it off."""

    executor: Literal["local", "ray"] = "local"
    """What carries out jobs: child processes of this machine, or a Ray cluster."""

    ray_address: str = "http://127.0.0.1:8265"
    """The Ray cluster's dashboard, where jobs are submitted."""

    model_memory_bytes: int | None = Field(None, ge=1)
    """Weights kept in memory for scoring, beyond which the longest unused models leave; pinned ones stay. 0.7 of the
    GPU's memory unless set, on a CPU half of the machine's or container's."""

    deterministic: bool = False
    """Score each pair by itself: the same bits whatever else is asked, at the price of speed."""

    max_waiting_pairs: int = Field(8192, ge=1)
    """Pairs that wait for their scores, beyond which requests are answered with 503."""

    job_slots: int = Field(1, ge=0, le=256)
    """Jobs without a GPU that this server runs at once, beside those on its GPUs; 0 makes it a server that only accepts
    and shows jobs."""

    gpus: Annotated[tuple[Gpu, ...] | None, NoDecode, BeforeValidator(_gpus)] = None
    """GPUs that this server and its jobs may use, with their memory: ``0:80GiB,1:80GiB``, or ``none``; what the driver
    shows unless set. Jobs on others than NVIDIA's need it."""

    scores_on_gpu: bool = True
    """Answer requests on the first GPU, where there is one, which is then no job's."""

    share_gpu: bool = False
    """Let jobs have the GPU that answers requests too."""

    memory_bytes: int | None = Field(None, ge=1)
    """Memory for jobs without a GPU, together; the machine's or container's unless set."""

    check_memory: bool = True
    """Work out when a job is submitted what memory its weights, gradients and moments take: what no server has is
    refused, what is taken waited for."""

    max_queued_jobs: int = Field(1000, ge=1)
    """Waiting jobs beyond which submissions are answered with 503."""

    max_attempts: int = Field(3, ge=1, le=100)
    """How often a job is started again after its process died, before it counts as lost."""

    poll_seconds: float = Field(0.5, gt=0, le=1_000_000)
    """How often running jobs are looked at."""

    lease_seconds: float = Field(30.0, gt=0, le=1_000_000)
    """How long a job belongs to a server that has gone silent."""

    cancel_grace_seconds: float = Field(30.0, ge=0, le=1_000_000)
    """Time a cancelled job has to save its checkpoint before it is killed; a third of it before SIGTERM."""

    stop_jobs_at_exit: bool = False
    """Let running jobs save and stop when the server ends, for which they have ``cancel_grace_seconds``, and queue them
    again without using up an attempt: where its end is theirs, as in a container. Jobs on a cluster go on."""

    keep_run_directories_days: float | None = Field(None, ge=0, le=36_500)
    """Days after a job's end at which its run directory is deleted: log, checkpoints and files; for ever unless set."""

    keep_jobs_days: float | None = Field(None, ge=0, le=36_500)
    """Days after a job's end at which its rows and its run directory are deleted, never artifacts, and after which
    measurements of drift are; for ever unless set."""

    database_pool_size: int = Field(10, ge=1, le=1000)
    """Connections to PostgreSQL that this server keeps open."""

    database_max_overflow: int = Field(20, ge=0, le=1000)
    """Connections beyond those while many are needed at once; whoever finds none waits up to 30 seconds."""

    history_rows_in_memory: int = Field(4_000_000, ge=0)
    """Correlations whose columns this server keeps in memory, some 65 bytes each, so that groups and sorted lists of
    the history take no reading. Where there are more it keeps none, and reads for each what it needs."""

    max_exports: int = Field(4, ge=1, le=1000)
    """Files of the history that are sent at once, each over a connection of its own; more are answered with 503."""

    max_body_bytes: int = Field(64 * 2**20, ge=1)
    """Largest request body that is read, after decompression too."""

    body_timeout_seconds: float = Field(30.0, gt=0, le=1_000_000)
    """How long a request's body may take to arrive."""

    request_timeout_seconds: float = Field(300.0, gt=0, le=1_000_000)
    """How long a request may wait for its answer to begin."""

    shutdown_seconds: float = Field(30.0, ge=0, le=1_000_000)
    """How long requests under way may go on after the server was told to stop."""

    allowed_roots: Words[Path] = ()
    """Directories below which a recipe sent over HTTP may name files and directories."""

    allowed_hub_ids: Words[str] = ()
    """Models and data sets of the Hugging Face hub such a recipe may name: ``owner/name``, ``owner/*`` or ``*``."""

    allowed_urls: Words[str] = ()
    """Servers such a recipe may ask, by the beginning of their address; ``*`` for any."""

    cors_origins: Words[str] = ()
    """Origins whose pages may call the API from a browser, such as ``https://tools.example``."""

    pinned: Words[str] = ()
    """Scorers loaded at the start and kept; until they are, the server is not ready."""

    log_format: Literal["text", "json"] = "text"
    """How the log is written: lines for people, or one JSON object a line and a line for every request."""

    tracing: bool = False
    """Whether OpenTelemetry spans are sent; where to is said by the standard ``OTEL_*`` variables."""

    compat_scorer: str | None = Field(None, max_length=300, pattern=r"^[!-~]+$")
    """Scorer behind the routes of other servers' formats where a request names none."""

    monitor_share: float = Field(0.0, ge=0, le=1)
    """Share of the prompts, by their hash, whose scores are kept to be monitored. 0 keeps none."""

    monitor_keep: Literal["text", "hash", "none"] = "hash"
    """What is kept of their prompts and responses: the texts, which audits need, only hashes, or neither."""

    monitor_keep_days: float = Field(30.0, gt=0, le=36_500)
    """Days after which a kept score is deleted, with its texts and what audits made of them."""

    monitor_rows_per_hour: int = Field(10_000, ge=1)
    """Scores kept in an hour of the clock by all servers together; what comes beyond is counted and not kept."""

    monitor_check_seconds: float = Field(60.0, gt=0, le=1_000_000)
    """How often drift and trust are looked at."""

    monitor_audit_hours: float | None = Field(None, gt=0, le=876_000)
    """How often an oracle judges the sample; never unless set."""

    monitor_audit_recipe: Path | None = None
    """YAML file with the audit's settings: `judges`, and what else an audit may be told."""

    monitor_statistic: str = Field("pearson_pooled", pattern=r"^[a-z_]{1,64}$")
    """The correlation that trust is read from; `pearson_within` where most prompts have several responses."""

    monitor_min_lower: float | None = Field(None, ge=-1, le=1)
    """An alert is raised where the lower end of that correlation's interval is below this."""

    monitor_max_drift: float | None = Field(None, ge=0, le=1)
    """An alert is raised where the lower end of a drift's interval is above this."""

    monitor_webhook: str | None = Field(None, pattern=r"^https?://\S+$")
    """Address that alerts are posted to."""

    monitor_webhook_secret: SecretStr | None = None
    """Signs what is posted there."""

    @property
    def uploads_dir(self) -> Path:
        """Rows that came in requests. Any recipe may name them."""
        return self.runs_dir / "uploads"

    def open_artifacts(self) -> ArtifactStore:
        """The artifacts, wherever they are. Raises InvalidInput where the directory holds others than the storage."""
        return open_artifacts(self.artifact_dir, self.storage_url)


def misspelt() -> dict[str, str]:
    """Variables of the environment that are no settings but look like one, each with that one."""
    known = [_PREFIX + name.upper() for name in Settings.model_fields]
    unknown = [name for name in os.environ if name.startswith(_PREFIX) and name not in known]
    return {name: meant[0] for name in sorted(unknown) if (meant := get_close_matches(name, known, 1, 0.9))}


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - as wide as the fields are
    """Settings from the environment, with ``overrides`` that are not None on top.

    Raises InvalidInput naming the variable that cannot be used.
    """
    if overrides.get("database_url") is None and os.environ.get("ASSAY_DATABASE_URL") == "":
        # any other empty variable is as one that is not set; a secret that was not found would be a new database
        raise InvalidInput("ASSAY_DATABASE_URL is empty; give it a database, or unset it for sqlite:///assay.db")
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"setting {field} (ASSAY_{field.upper()}): {first['msg']}") from error
