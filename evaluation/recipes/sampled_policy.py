"""The policy of a stress test: one whose weights are here, or one that a server elsewhere answers for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator

from evaluation.chat_server import ChatServer, check_base_url
from evaluation.generation.local import LocalSampler, cut_grid
from evaluation.generation.sampler import Question
from evaluation.generation.served import Dialect, ServedModel, ServedSampler
from evaluation.recipes.stored_rows import Row, response_row
from evaluation.scorers.scorer import StoredResponse
from evaluation.workers import Worker, Workers
from trainer.artifacts import ArtifactStore
from trainer.generation.decoding import Decoding
from trainer.generation.decoding import Row as PromptRow
from trainer.generation.sampled import Cell
from trainer.models.starting_point import PolicyOrigin
from trainer.outside import ServerUrl
from trainer.recipe import Model, Run


@dataclass(frozen=True)
class Wanted:
    """The responses that a stress test is to have, those of them that it lacks, and how they are drawn."""

    questions: Sequence[Question]
    cells: Sequence[Cell]
    missing: Callable[[Cell], bool]
    decoding: Decoding


class SampledPolicy(PolicyOrigin):
    """A policy whose weights are here, or wherever the run's workers are."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of its weights in memory; bfloat16 takes half of it."""

    @field_validator("scratch")
    @classmethod
    def _trained(cls, scratch: object) -> object:
        if scratch is not None:
            raise ValueError("name a policy by its path: one from scratch has nothing to say")
        return scratch

    def artifacts(self) -> tuple[str, ...]:
        """Names whose versions the run pins."""
        assert self.path is not None  # _trained and _one_origin saw to it
        return (self.path,)

    def label(self, pinned: dict[str, str]) -> str:
        """What results call it."""
        return pinned[self.artifacts()[0]]

    def sample(
        self, run: Run, pinned: dict[str, str], wanted: Wanted, workers: Workers
    ) -> Iterator[Sequence[Row] | None]:
        """Rows for all that is missing, and perhaps for others, some at a time, in no particular order; None as
        workers say it. Raises as ``open`` and ``cut_grid``, before anything is sampled.
        """
        origin = self.model_copy(update={"path": self.label(pinned)})
        batches = cut_grid(wanted.questions, wanted.cells, *origin.reading(run.artifacts), wanted.decoding)
        lacking = [batch for batch in batches if any(wanted.missing(row.cell) for row in batch)]
        yield from workers.over(lacking, Sampling(origin, run.artifacts, wanted.decoding))

    def remarks(self, responses: Sequence[StoredResponse]) -> list[str]:
        """What looks wrong in what was sampled: nothing can, the distribution is exact."""
        return []


@dataclass(frozen=True)
class Sampling:
    """The work of sampling batches from a policy's weights, onto a GPU where there is one."""

    origin: SampledPolicy
    artifacts: ArtifactStore
    decoding: Decoding

    @contextmanager
    def begin(self) -> Iterator[Worker[Sequence[PromptRow], Sequence[Row]]]:
        policy, _ = self.origin.open(self.artifacts, self.decoding.seed, getattr(torch, self.origin.dtype))
        policy.model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        sampler = LocalSampler(policy, self.decoding)
        facts = sampler.facts

        def sample(batch: Sequence[PromptRow]) -> Iterator[Sequence[Row]]:
            for ended in sampler.sample(batch):
                yield [response_row(each, facts) for each in ended]

        yield sample


class ServedPolicy(Model):
    """A policy behind an OpenAI-compatible server. Its key, where it wants one, is OPENAI_API_KEY."""

    base_url: Annotated[ServerUrl, AfterValidator(check_base_url)]
    """What comes before ``/chat/completions``, such as ``http://127.0.0.1:8001/v1``."""

    model: str = Field(min_length=1)
    """The model's name at that server."""

    dialect: Dialect = "openai"
    """How the server is told to sample from the whole distribution. ``openai`` can say temperature and top_p only: a
    server's own top_k or min_p then stays in force."""

    logprobs: bool = True
    """Ask for log-probabilities; some servers refuse a request that does."""

    concurrency: int = Field(8, ge=1, le=1024)
    """Requests under way at a time. What a server answers to a seed may depend on what else it is doing."""

    timeout_seconds: float = Field(300.0, gt=0)
    """For one response."""

    attempts: int = Field(6, ge=1, le=100)
    """How often one response is asked for before the run fails, keeping what it has."""

    def artifacts(self) -> tuple[str, ...]:
        """Names whose versions the run pins: none, the server keeps its own."""
        return ()

    def label(self, pinned: dict[str, str]) -> str:
        """What results call it."""
        return self.model

    def sample(
        self, run: Run, pinned: dict[str, str], wanted: Wanted, workers: Workers
    ) -> Iterator[Sequence[Row] | None]:
        """Rows for all that is missing, some at a time or none yet. No worker is asked: the server does the work, and
        ``concurrency`` is the whole run's. Raises InvalidInput where nobody answers at ``base_url``.
        """
        server = ChatServer(self.base_url, timeout_seconds=self.timeout_seconds, attempts=self.attempts)
        with server:
            server.check()
        sampler = ServedSampler(
            server,
            ServedModel(self.model, self.dialect, self.logprobs, self.concurrency),
            seed=wanted.decoding.seed,
            max_response_tokens=wanted.decoding.max_response_tokens,
            truncation=wanted.decoding.truncation,
        )
        for sampled in sampler.sample(wanted.questions, wanted.cells, wanted.missing):
            yield [response_row(each, sampler.facts) for each in sampled]

    def remarks(self, responses: Sequence[StoredResponse]) -> list[str]:
        """Whether the server seems to have ignored the temperature."""
        highest = max(each.cell.temperature for each in responses)
        texts: dict[str, list[str]] = {}
        for each in responses:
            if each.cell.temperature == highest > 0:
                texts.setdefault(each.cell.prompt_id, []).append(each.response)
        k = max(map(len, texts.values()), default=0)
        if k < 2 or any(len(set(own)) > 1 for own in texts.values()):
            return []
        return [
            f"{self.model} gave each of {len(texts)} prompts one and the same response {k} times at T = {highest:g}:"
            " the server seems to ignore temperature or seed; see policy.dialect"
        ]


def _kind(content: Any) -> str:  # noqa: ANN401 - pydantic passes whatever was sent
    served = "base_url" in content if isinstance(content, dict) else isinstance(content, ServedPolicy)
    return "served" if served else "local"


AnySampledPolicy = Annotated[
    Annotated[SampledPolicy, Tag("local")] | Annotated[ServedPolicy, Tag("served")], Discriminator(_kind)
]
