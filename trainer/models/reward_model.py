"""Reward models: an encoder or a decoder with one scalar head, in files a plain ``from_pretrained`` reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from trainer.artifacts import refuse_pickled_weights
from trainer.data.text import (
    ChatFormat,
    Encoded,
    OnOverlong,
    Prompt,
    as_text,
    check_response,
    pad_right,
    pad_token_id,
)
from trainer.errors import BrokenArtifact, InvalidInput, OverlongInput
from trainer.models.match_features import match_type_ids
from trainer.models.policy import model_bytes

Architecture = Literal["encoder", "decoder"]
Pooling = Literal["cls", "mean", "last_token"]


class RewardModel:
    """Scores a pair by one unbounded number, higher is better. A ``PairModel``.

    Encoders read two segments, ``[CLS] prompt [SEP] response [SEP]``; decoders read the chat format and are pooled
    at the last real token, found by the mask and never by comparing with the padding id.
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
        max_tokens: int | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.architecture = architecture
        self.pooling = pooling
        self.match_features = match_features
        window = _window(model)
        self.max_tokens = min(window, max_tokens) if max_tokens else window
        self.format = ChatFormat(tokenizer)
        self._pad_id = pad_token_id(tokenizer)
        self._sentence_end = tokenizer.convert_tokens_to_ids(".") if match_features else None
        _check_pooling(model, architecture, pooling)

    @classmethod
    def load(cls, path: Path, details: dict[str, Any]) -> "RewardModel":
        """Load a published reward model. Raises BrokenArtifact for pickles or a head that is missing or extra."""
        refuse_pickled_weights(path)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            path, use_safetensors=True, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
        if missing := sorted(info["missing_keys"]):
            raise BrokenArtifact(f"{path}: weights lack {missing[0]}, so scores would be random; publish it again")
        return cls(
            model.eval(),
            AutoTokenizer.from_pretrained(path, local_files_only=True),
            architecture=details["architecture"],
            pooling=details["pooling"],
            match_features=details["match_features"],
            max_tokens=details["max_tokens"],
        )

    def save(self, path: Path) -> None:
        """Write the Hugging Face files."""
        self.model.config.pad_token_id = self._pad_id
        self.model.save_pretrained(path, safe_serialization=True)
        self.tokenizer.save_pretrained(path)

    @property
    def template_hash(self) -> str:
        return "two-segments" if self.architecture == "encoder" else self.format.template_hash

    def details(self) -> dict[str, Any]:
        """What a manifest must say so that ``load`` gives this model again."""
        return {
            "architecture": self.architecture,
            "pooling": self.pooling,
            "match_features": self.match_features,
            "max_tokens": self.max_tokens,
            "template_hash": self.template_hash,
            "orientation": "higher_is_better",
        }

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        check_response(response)
        if self.architecture == "decoder":
            return self.format.encode(prompt, response, self.max_tokens, on_overlong)
        return self._encode_segments(as_text(prompt), response, on_overlong)

    def forward(self, batch: Sequence[Encoded]) -> Tensor:
        """Scores (batch,), float32, with gradients, on the model's device."""
        input_ids = self._tensor([row.input_ids for row in batch], self._pad_id)
        mask = self._tensor([[1] * row.tokens for row in batch], 0)
        inputs: dict[str, Tensor] = {"input_ids": input_ids, "attention_mask": mask}
        if batch[0].token_type_ids is not None:
            inputs["token_type_ids"] = self._tensor([row.token_type_ids or [] for row in batch], 0)
        if self.pooling == "cls":
            return cast(Tensor, self.model(**inputs).logits[:, 0].float())
        hidden: Tensor = self.model.base_model(**inputs).last_hidden_state
        if self.pooling == "last_token":
            last = mask.sum(dim=1) - 1
            pooled = hidden[torch.arange(len(batch), device=hidden.device), last]
        else:
            weights = mask[..., None].to(hidden.dtype)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return cast(Tensor, _head(self.model)(pooled)[:, 0].float())

    @torch.inference_mode()
    def score(self, batch: Sequence[Encoded]) -> Tensor:
        return self.forward(batch)[:, None].cpu()

    def bytes(self) -> int:
        return model_bytes(self.model)

    def _tensor(self, rows: list[list[int]], fill: int) -> Tensor:
        return torch.tensor(pad_right(rows, fill), device=self.model.device)

    def _encode_segments(self, prompt: str, response: str, on_overlong: OnOverlong) -> Encoded:
        encoding = self.tokenizer(prompt, response, add_special_tokens=True, truncation=False, verbose=False)
        ids: list[int] = encoding["input_ids"]
        segments: list[int | None] = encoding.sequence_ids()
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
            types = [types[i] for i in keep]
        start = segments.index(1) if 1 in segments else len(ids)
        return Encoded(ids, start, types, excess)


def _window(model: PreTrainedModel) -> int:
    """Most tokens the model reads. RoBERTa's family counts positions from after its padding id, so has fewer."""
    positions = int(model.config.max_position_embeddings)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return positions - module.padding_idx - 1
    return positions


def _head(model: PreTrainedModel) -> nn.Module:
    head = getattr(model, "score", None) or getattr(model, "classifier", None)
    assert isinstance(head, nn.Module)
    return head


def _check_pooling(model: PreTrainedModel, architecture: Architecture, pooling: Pooling) -> None:
    if architecture == "decoder" and pooling != "last_token":
        raise InvalidInput(f"a decoder reads left to right: pooling must be last_token, not {pooling}")
    if architecture == "encoder" and pooling == "last_token":
        raise InvalidInput("an encoder's last token is a separator: pooling must be cls or mean")
    if pooling == "mean" and not isinstance(getattr(model, "classifier", None), nn.Linear):
        raise InvalidInput(f"{type(model).__name__} pools inside its own head: use pooling cls")
