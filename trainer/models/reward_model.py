"""Reward models: an encoder or a decoder with one scalar head, in files a plain ``from_pretrained`` reads."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from trainer.data.special_tokens import SpecialTokens
from trainer.data.text import ChatFormat, Encoded, OnOverlong, Prompt, as_text, check_prompt, check_response, pad_right
from trainer.errors import InvalidInput, OverlongInput
from trainer.models.match_features import match_type_ids
from trainer.models.packed import Line, longest_packed
from trainer.models.readings import Readings
from trainer.models.reward_network import Architecture, Pooling, RewardNetwork
from trainer.models.shared_prefix import SharedPrompt, longest_shared
from trainer.models.weights import read_network

Reads = Literal["pair", "prompt", "response"]


class RewardModel:
    """Scores a pair by one unbounded number, higher is better. A ``PairModel``.

    Encoders read two segments, ``[CLS] prompt [SEP] response [SEP]`` in their tokenizer's own special tokens, or, as
    controls, one of them alone; decoders read the chat format.
    """

    outputs: tuple[str, ...] = ("score",)

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        architecture: Architecture,
        pooling: Pooling,
        match_features: bool = False,
        reads: Reads = "pair",
        max_tokens: int | None = None,
    ) -> None:
        self.model = model
        self.network = RewardNetwork(model, architecture, pooling)
        self.tokenizer = tokenizer
        self._special = SpecialTokens(tokenizer)
        self.architecture = architecture
        self.pooling = pooling
        self.match_features = match_features
        self.reads = reads
        self.max_tokens = longest_input(model, max_tokens)
        self.format = ChatFormat(tokenizer)
        self._pad_id = _padding(model, tokenizer, architecture)
        self._positions_from = _positions_from(model)
        self._sentence_end = tokenizer.convert_tokens_to_ids(".") if match_features else None

    @classmethod
    def load(cls, path: Path, details: dict[str, Any]) -> "RewardModel":
        """Load a published reward model. Raises BrokenArtifact for pickles or a head that is missing or extra."""
        return cls(
            read_network(AutoModelForSequenceClassification, path),
            AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False),
            architecture=details["architecture"],
            pooling=details["pooling"],
            match_features=details["match_features"],
            reads=details.get("reads", "pair"),  # what was published before there were others
            max_tokens=details["max_tokens"],
        )

    def save(self, path: Path) -> None:
        """Write the Hugging Face files."""
        self.model.config.pad_token_id = self._pad_id
        self.model.save_pretrained(path, safe_serialization=True)
        self.tokenizer.save_pretrained(path)

    @property
    def template_hash(self) -> str:
        if self.architecture == "decoder":
            return self.format.template_hash
        return "two-segments" if self.reads == "pair" else f"{self.reads}-alone"

    def details(self) -> dict[str, Any]:
        """What a manifest must say so that ``load`` gives this model again."""
        return {
            "architecture": self.architecture,
            "pooling": self.pooling,
            "match_features": self.match_features,
            "reads": self.reads,
            "max_tokens": self.max_tokens,
            "segments": list(self._segments),
            "template": self._template(),
            "template_hash": self.template_hash,
            "orientation": "higher_is_better",
        }

    @cached_property
    def longest_shared(self) -> int:
        return 0 if self.architecture == "encoder" else longest_shared(self.model, self.network.backbone)

    @cached_property
    def longest_packed(self) -> int:
        return longest_packed(self.network, self._in_line, self.collate, self.max_tokens)

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        check_response(response)
        if self.architecture == "decoder":
            return self.format.encode(prompt, response, self.max_tokens, on_overlong)
        check_prompt(prompt)
        return self._encode_segments(as_text(prompt), response, on_overlong)

    def collate(self, batch: Sequence[Encoded]) -> dict[str, Tensor]:
        """What ``network`` reads, each (batch, length), padded on the right, on the model's device."""
        inputs = {
            "input_ids": self._tensor([row.input_ids for row in batch], self._pad_id),
            "attention_mask": self._tensor([[1] * row.tokens for row in batch], 0),
        }
        if batch[0].token_type_ids is not None:
            inputs["token_type_ids"] = self._tensor([row.token_type_ids or [] for row in batch], 0)
        if self.network.reads_global_attention:
            # [CLS] and the prompt: wherever a response's token stands, it meets every constraint
            seen = [[1] * row.response_start + [0] * (row.tokens - row.response_start) for row in batch]
            inputs["global_attention_mask"] = self._tensor(seen, 0)
        return inputs

    @torch.inference_mode()
    def score(
        self, batch: Sequence[Encoded], outputs: Sequence[str] | None = None, readings: Readings | None = None
    ) -> Tensor:
        if readings is not None and readings.shared is not None:
            scores = self._score_behind(readings.shared, batch)
        elif not self.model.training and max(row.tokens for row in batch) <= self.longest_packed:
            scores = self.network.score_line(self._in_line(batch))
        else:
            scores = self.network(self.collate(batch))
        return scores[:, None].expand(-1, len(outputs or self.outputs)).cpu()

    def _score_behind(self, shared: SharedPrompt, batch: Sequence[Encoded]) -> Tensor:
        backbone, device = self.network.backbone, self.model.device
        if self.pooling == "last_token":
            return self.network.score_pooled(shared.last_states(backbone, batch, device))
        hidden = shared.hidden_states(backbone, batch, device)
        return self.network.score_pooled(self.network.pool(hidden, self.collate(batch)["attention_mask"]))

    def _in_line(self, batch: Sequence[Encoded]) -> Line:
        return Line(batch, self.model.device, self._positions_from)

    def lacks(self, output: str) -> bool:
        return False

    def complete(self, output: str) -> None:
        """Nothing: it is whole once it was loaded."""

    def networks_held(self) -> tuple[nn.Module, ...]:
        return (self.model,)

    @property
    def _segments(self) -> tuple[Literal["prompt", "response"], ...]:
        return ("prompt", "response") if self.reads == "pair" else (self.reads,)

    def _template(self) -> str:
        """How a pair is laid out, its special tokens in place: an encoder's segments, a decoder's chat template."""
        if self.architecture == "decoder":
            return str(self.tokenizer.chat_template)
        encoding = self.tokenizer(*self._segments, add_special_tokens=True)
        texts = [f"{{{segment}}}" for segment in self._segments]
        parts: list[str] = []
        for token, segment in zip(encoding["input_ids"], encoding.sequence_ids(), strict=True):
            if segment is None:
                parts.append(self.tokenizer.convert_ids_to_tokens(token))
            elif (text := texts[segment]) not in parts:
                parts.append(text)
        return " ".join(parts)

    def _tensor(self, rows: list[list[int]], fill: int) -> Tensor:
        return torch.tensor(pad_right(rows, fill), device=self.model.device)

    def _encode_segments(self, prompt: str, response: str, on_overlong: OnOverlong) -> Encoded:
        texts = {"prompt": prompt, "response": response}
        encoding = self.tokenizer(
            *(texts[segment] for segment in self._segments),
            add_special_tokens=True,
            split_special_tokens=True,  # of the texts: what their author writes is text
            truncation=False,
            verbose=False,
        )
        ids: list[int] = encoding["input_ids"]
        segments: list[int | None] = encoding.sequence_ids()
        self._special.check([index for index, segment in zip(ids, segments, strict=True) if segment is not None])
        if self.reads == "response":
            segments = [None if segment is None else 1 for segment in segments]
        types: list[int] | None = encoding.get("token_type_ids")
        excess = max(len(ids) - self.max_tokens, 0)
        in_prompt = [index for index, segment in enumerate(segments) if segment == 0]
        if excess and (on_overlong == "error" or excess >= len(in_prompt)):
            helps = excess < len(in_prompt)
            advice = 'shorten it or send "on_overlong": "truncate_prompt"' if helps else "shorten the response"
            raise OverlongInput(f"{len(ids)} tokens exceed the model's {self.max_tokens}; {advice}")
        dropped = set(in_prompt[:excess])
        keep = [index for index in range(len(ids)) if index not in dropped]
        ids, segments = [ids[i] for i in keep], [segments[i] for i in keep]
        if self.match_features:
            types = match_type_ids(ids, segments, self._sentence_end)
        elif types is not None:
            types = [types[i] for i in keep] if self.network.reads_token_types else None
        start = segments.index(1) if 1 in segments else len(ids)
        return Encoded(ids, start, types, excess, prompt_start=segments.index(0) if 0 in segments else start)


def longest_input(model: PreTrainedModel, wanted: int | None) -> int:
    """Most tokens the model reads, and no more than wanted.

    RoBERTa's family counts positions from after its padding id, so has fewer than its configuration says.
    """
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 0
    if (padding := _positions_from(model)) is not None:
        positions -= padding + 1
    if positions > 0:
        return min(positions, wanted) if wanted else int(positions)
    if wanted is None:
        raise InvalidInput(f"{type(model).__name__} names no longest input: set backbone.max_tokens")
    return wanted


def _positions_from(model: PreTrainedModel) -> int | None:
    """The padding id after which RoBERTa's family counts positions; None for others, who count from 0."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx
    return None


def _padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, architecture: Architecture) -> int:
    """An encoder's own padding id, from which RoBERTa's family counts positions, whatever its tokenizer pads with.

    For a decoder an id that ends no text: a plain ``from_pretrained`` finds the last token by comparing with it.
    """
    own = getattr(model.config.get_text_config(), "pad_token_id", None)
    if architecture == "encoder" and own is not None:
        return int(own)
    candidates = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, 0, 1)
    return next(int(id_) for id_ in candidates if id_ is not None and id_ != tokenizer.eos_token_id)
