"""A policy as a scorer: DPO's implicit reward and log-probabilities, free of any trained head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from trainer.data.text import Encoded, OnOverlong, Prompt
from trainer.models.outputs import COMPARED_OUTPUTS, POLICY_OUTPUTS
from trainer.models.policy import Policy
from trainer.models.readings import Readings


class PolicyScorer:
    """``mean_logprob`` per response token and ``sum_logprob`` of the response. Where a reference is known also its
    ``reference_mean_logprob`` and ``reference_sum_logprob``, and first of all ``implicit_reward`` =
    beta (log pi(y|x) - log pi_ref(y|x)) (DPO, arXiv 2305.18290, eq. 5, up to its partition term). A ``PairModel``."""

    longest_packed = 0

    def __init__(self, policy: Policy, reference: Policy | None = None, beta: float = 0.1) -> None:
        self.policy = policy
        self.reference = reference
        self.beta = beta
        self.outputs: tuple[str, ...] = POLICY_OUTPUTS if reference is None else COMPARED_OUTPUTS

    @property
    def max_tokens(self) -> int:
        return self.policy.max_tokens

    @property
    def template_hash(self) -> str:
        return self.policy.format.template_hash

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.policy.tokenizer

    @property
    def longest_shared(self) -> int:
        return min(policy.longest_shared for policy in (self.policy, self.reference or self.policy))

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        return self.policy.encode(prompt, response, on_overlong)

    @torch.inference_mode()
    def score(
        self, batch: Sequence[Encoded], outputs: Sequence[str] | None = None, readings: Readings | None = None
    ) -> Tensor:
        readings = readings or Readings(batch)
        return torch.stack([self._output(name, readings) for name in outputs or self.outputs], dim=1).cpu()

    def _output(self, name: str, readings: Readings) -> Tensor:
        if name == "implicit_reward":
            assert self.reference is not None
            return self.beta * (readings.by(self.policy).sum_logprob - readings.by(self.reference).sum_logprob)
        policy, quantity = self.policy, name
        if name.startswith("reference_"):
            assert self.reference is not None
            policy, quantity = self.reference, name.removeprefix("reference_")
        reading = readings.by(policy)
        return reading.mean_logprob if quantity == "mean_logprob" else reading.sum_logprob

    def lacks(self, output: str) -> bool:
        return False

    def complete(self, output: str) -> None:
        """Nothing: it is whole once it was loaded."""

    def networks_held(self) -> tuple[nn.Module, ...]:
        return (self.policy.model,) if self.reference is None else (self.policy.model, self.reference.model)
