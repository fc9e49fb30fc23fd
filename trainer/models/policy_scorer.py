"""A policy as a scorer: DPO's implicit reward and the mean log-probability, free of any trained head."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.data.text import Encoded, OnOverlong, Prompt
from trainer.models.policy import Policy, collate, model_bytes


class PolicyScorer:
    """``implicit_reward`` = beta (log pi(y|x) - log pi_ref(y|x)) (DPO, arXiv 2305.18290, eq. 5, up to its
    partition term) where a reference is known, and ``mean_logprob`` per response token. A ``PairModel``."""

    def __init__(self, policy: Policy, reference: Policy | None = None, beta: float = 0.1) -> None:
        self.policy = policy
        self.reference = reference
        self.beta = beta
        self.outputs: tuple[str, ...] = ("mean_logprob",) if reference is None else ("implicit_reward", "mean_logprob")

    @property
    def max_tokens(self) -> int:
        return self.policy.max_tokens

    @property
    def template_hash(self) -> str:
        return self.policy.format.template_hash

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        return self.policy.encode(prompt, response, on_overlong)

    @torch.inference_mode()
    def score(self, batch: Sequence[Encoded]) -> Tensor:
        pairs = collate(batch, self.policy.pad_id).to(self.policy.device)
        logps = self.policy.logps(pairs).sum(dim=1)
        mean = logps / pairs.response_mask.sum(dim=1)
        if self.reference is None:
            return mean[:, None].cpu()
        reward = self.beta * (logps - self.reference.logps(pairs).sum(dim=1))
        return torch.stack([reward, mean], dim=1).cpu()

    def bytes(self) -> int:
        return model_bytes(self.policy.model) + (model_bytes(self.reference.model) if self.reference else 0)
