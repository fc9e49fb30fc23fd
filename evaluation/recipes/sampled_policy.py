"""The policy of a stress test: one whose weights are here, or one that a server elsewhere answers for."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator

from evaluation.chat_server import ChatServer, check_base_url
from evaluation.generation.local import LocalSampler
from evaluation.generation.sampler import Sampler
from evaluation.generation.served import Dialect, ServedModel, ServedSampler
from evaluation.scorers.scorer import StoredResponse
from trainer.generation.truncation import Truncation
from trainer.models.starting_point import PolicyOrigin
from trainer.outside import ServerUrl
from trainer.recipe import Model, Run


class SampledPolicy(PolicyOrigin):
    """A policy whose weights are sampled from in this process."""

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

    def sampler(
        self, run: Run, pinned: dict[str, str], seed: int, max_response_tokens: int, truncation: Truncation
    ) -> Sampler:
        """Load it, onto a GPU where there is one. Raises as ``open``."""
        origin = self.model_copy(update={"path": self.label(pinned)})
        policy, _ = origin.open(run.artifacts, seed, getattr(torch, self.dtype))
        policy.model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        return LocalSampler(policy, seed=seed, max_response_tokens=max_response_tokens, truncation=truncation)

    def remarks(self, responses: Sequence[StoredResponse]) -> list[str]:
        """What looks wrong in what was sampled: nothing can, the distribution is exact."""
        return []


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

    def sampler(
        self, run: Run, pinned: dict[str, str], seed: int, max_response_tokens: int, truncation: Truncation
    ) -> Sampler:
        """Raises InvalidInput where nobody answers at ``base_url``."""
        server = ChatServer(self.base_url, timeout_seconds=self.timeout_seconds, attempts=self.attempts)
        with server:
            server.check()
        model = ServedModel(self.model, self.dialect, self.logprobs, self.concurrency)
        return ServedSampler(server, model, seed=seed, max_response_tokens=max_response_tokens, truncation=truncation)

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
