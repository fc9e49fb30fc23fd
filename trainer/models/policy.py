"""A policy: a causal language model, its tokenizer and its chat format."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from trainer.data.text import ChatFormat, Encoded, OnOverlong, Prompt, check_response, pad_right, pad_token_id
from trainer.models.language_head import label_logps, measure_logit_map
from trainer.models.lora import has_adapters, merged_weights
from trainer.models.shared_prefix import longest_shared
from trainer.models.shared_prompts import SharedPrompts, share_prompts
from trainer.models.weights import read_network


@dataclass(frozen=True)
class PairBatch:
    """Padded token ids of prompt-response pairs. Shapes (batch, length)."""

    input_ids: Tensor
    attention_mask: Tensor
    """1 on real tokens, 0 on padding."""
    response_mask: Tensor
    """True on the response's tokens, EOS included; prompt and padding are False."""
    shared: SharedPrompts | None = None
    """The same texts with each pair's prompt once, if the backbone is to read that."""

    @cached_property
    def predicted(self) -> Tensor:
        """Where in the flattened batch a response token follows another token, (n,)."""
        follows = self.response_mask.clone()
        follows[:, 0] = False
        return follows.flatten().nonzero()[:, 0]

    def to(self, device: torch.device) -> "PairBatch":
        moved = PairBatch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.response_mask.to(device),
            None if self.shared is None else self.shared.to(device),
        )
        # counted here: an accelerator would have to finish all it was given before it could say how many there are
        vars(moved)["predicted"] = self.predicted.to(device)
        return moved


def collate(rows: Sequence[Encoded], pad_id: int, *, share: bool = False) -> PairBatch:
    """Pad encoded pairs on the right. ``share`` joins row i with row i + n of 2 n; see ``shared_prompts``."""
    lengths = torch.tensor([row.tokens for row in rows])
    starts = torch.tensor([row.response_start for row in rows])
    input_ids = torch.tensor(pad_right([row.input_ids for row in rows], pad_id))
    positions = torch.arange(input_ids.shape[1])
    attention_mask = (positions < lengths[:, None]).long()
    response_mask = (positions >= starts[:, None]) & (positions < lengths[:, None])
    return PairBatch(input_ids, attention_mask, response_mask, share_prompts(rows, pad_id) if share else None)


class Policy:
    """A causal language model with what is needed to talk to it."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.network = PolicyNetwork(model)
        self.tokenizer = tokenizer
        self.format = ChatFormat(tokenizer)
        self.pad_id = pad_token_id(tokenizer)

    @classmethod
    def load(cls, path: Path, *, dtype: torch.dtype = torch.float32) -> "Policy":
        """Load a published policy. Raises BrokenArtifact for pickled weights and for some that are missing."""
        model = read_network(AutoModelForCausalLM, path, dtype)
        return cls(model, AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False))

    def save(self, path: Path) -> None:
        """Write the files that a plain ``from_pretrained`` reads, with adapters merged into the weights."""
        weights = merged_weights(self.model) if has_adapters(self.model) else None
        self.model.save_pretrained(path, state_dict=weights, safe_serialization=True)
        self.tokenizer.save_pretrained(path)

    def details(self) -> dict[str, Any]:
        """What its manifest says of it."""
        return {"max_tokens": self.max_tokens, "template_hash": self.format.template_hash}

    @property
    def max_tokens(self) -> int:
        return int(self.model.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self.model.device)

    @property
    def backbone(self) -> nn.Module:
        """The model without its language head."""
        return self.network.backbone

    @cached_property
    def longest_shared(self) -> int:
        """Tokens of the longest text that can be read behind a shared prompt; 0 where none can."""
        return longest_shared(self.model, self.backbone)

    @property
    def eos_ids(self) -> list[int]:
        """Ids that end a response."""
        ids = self.model.generation_config.eos_token_id if self.model.generation_config else None
        if ids is None:
            ids = self.tokenizer.eos_token_id
        return [] if ids is None else [int(i) for i in (ids if isinstance(ids, list) else [ids])]

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        return self.format.encode(prompt, check_response(response), self.max_tokens, on_overlong)

    def hidden_states(self, batch: PairBatch) -> Tensor:
        """Last hidden states after the final norm, (batch, length, hidden): the latents h of GANPO."""
        return self.network.hidden_states(batch)

    def logps(self, batch: PairBatch, hidden_states: Tensor | None = None) -> Tensor:
        """Log-probability of every response token, (batch, length); zero elsewhere. See ``PolicyNetwork.logps``."""
        if hidden_states is None:
            hidden_states = self.hidden_states(batch)
        return self.network.logps(hidden_states, batch)


class PolicyNetwork(nn.Module):
    """A training forward as one module, which a launcher may shard, replicate or run in lower precision."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.logit_map = measure_logit_map(model)

    @property
    def backbone(self) -> nn.Module:
        return cast(nn.Module, self.model.get_decoder())

    def forward(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, length, hidden) and log-probabilities of response tokens (batch, length)."""
        hidden_states = self.hidden_states(batch)
        return hidden_states, self.logps(hidden_states, batch)

    def hidden_states(self, batch: PairBatch) -> Tensor:
        """Last hidden states after the final norm, (batch, length, hidden); no logits are computed."""
        if batch.shared is not None:
            return batch.shared.hidden_states(self.backbone).view(*batch.input_ids.shape, -1)
        output = self.backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
        return cast(Tensor, output.last_hidden_state)

    def logps(self, hidden_states: Tensor, batch: PairBatch) -> Tensor:
        """Log-probabilities (batch, length) of response tokens given what precedes them; zero outside the response.

        Position t holds log p(token t | tokens < t), from the hidden state at t - 1. Logits are computed at these
        positions only: with long prompts that is most of the memory saved.
        """
        rows = hidden_states.flatten(0, 1).index_select(0, batch.predicted - 1)
        labels = batch.input_ids.flatten().index_select(0, batch.predicted)
        logps = label_logps(cast(nn.Module, self.model.get_output_embeddings()), self.logit_map, rows, labels)
        result = logps.new_zeros(batch.input_ids.numel()).index_copy(0, batch.predicted, logps)
        return result.view(batch.input_ids.shape)


def model_bytes(module: nn.Module) -> int:
    """Memory of parameters and buffers in bytes."""
    tensors: list[Any] = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
