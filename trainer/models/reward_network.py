"""From a padded batch to scores, as one module, for any Hugging Face backbone with a sequence classification head."""

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from trainer.errors import InvalidInput
from trainer.models.first_token import read_first_token_only
from trainer.models.packed import Line, line_being_read, reading

Architecture = Literal["encoder", "decoder"]
Pooling = Literal["cls", "mean", "last_token"]


class RewardNetwork(nn.Module):
    """A training forward as one module, which a launcher may shard, replicate or run in lower precision.

    ``cls`` scores by the architecture's own head, which reads the first token. ``mean`` and ``last_token`` pool the
    backbone's last hidden states over the real tokens, found by the mask and never by comparing with the padding id,
    and score by the head's last linear layer; what they leave unused is frozen.
    """

    def __init__(self, model: PreTrainedModel, architecture: Architecture, pooling: Pooling) -> None:
        super().__init__()
        if architecture == "decoder" and pooling == "cls":
            raise InvalidInput("a decoder's first token sees nothing: pooling must be last_token or mean, not cls")
        if architecture == "encoder" and pooling == "last_token":
            raise InvalidInput("an encoder's last token is a separator: pooling must be cls or mean")
        self.model = model
        self.pooling = pooling
        self._options = {"use_cache": False} if architecture == "decoder" else {}
        if pooling != "cls":
            self._scorer = _last_linear(model)
            self._freeze_unused()
        else:
            if hasattr(model.config, "classifier_pooling"):  # ModernBERT's own head pools as its configuration says
                model.config.classifier_pooling = "cls"
            read_first_token_only(model)
            self.backbone.register_forward_hook(_first_of_texts)

    @property
    def reads_token_types(self) -> bool:
        """Whether the backbone tells segments apart; many tokenizers give types to backbones that do not."""
        return getattr(self.model.config, "type_vocab_size", 0) > 1

    @property
    def reads_global_attention(self) -> bool:
        """Whether tokens see a window only (Longformer), but for some that see, and are seen by, all others."""
        return hasattr(self.model.config, "attention_window")

    @property
    def backbone(self) -> nn.Module:
        """The model without its head."""
        return cast(nn.Module, self.model.base_model)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Scores (batch,), float32. ``inputs``: ids, mask and, for some, token types and global attention, each
        (batch, length)."""
        if self.pooling == "cls":
            return cast(Tensor, self.model(**inputs).logits[:, 0].float())
        return self.score_pooled(self.read(inputs))

    def read(self, inputs: dict[str, Tensor]) -> Tensor:
        """What the head reads, (batch, hidden)."""
        hidden: Tensor = self.backbone(**inputs, **self._options).last_hidden_state
        return hidden[:, 0] if self.pooling == "cls" else self.pool(hidden, inputs["attention_mask"])

    def score_line(self, line: Line) -> Tensor:
        """The same as ``forward`` of texts in one line, (texts,), where ``packed.longest_packed`` found that it is."""
        if self.pooling == "cls":
            with reading(line):
                return cast(Tensor, self.model(**line.inputs).logits[:, 0].float())
        return self.score_pooled(self.read_line(line))

    def read_line(self, line: Line) -> Tensor:
        """The same as ``read``, (texts, hidden)."""
        with reading(line):
            hidden: Tensor = self.backbone(**line.inputs, **self._options).last_hidden_state
        match self.pooling:
            case "cls":
                return hidden[:, 0]
            case "mean":
                return line.mean(hidden)
            case "last_token":
                return line.last(hidden)

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Of hidden states (batch, length, hidden) what the head reads, (batch, hidden); not for ``cls``."""
        if self.pooling == "last_token":
            return hidden[torch.arange(len(mask), device=mask.device), mask.sum(dim=1) - 1]
        weights = mask[..., None].to(hidden.dtype)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1)

    def score_pooled(self, pooled: Tensor) -> Tensor:
        """Scores (batch,), float32, of what ``pool`` gives."""
        return cast(Tensor, self.model.get_submodule(self._scorer)(pooled)[:, 0].float())

    def _freeze_unused(self) -> None:
        backbone = cast(nn.Module, self.model.base_model)
        used = {*backbone.parameters(), *self.model.get_submodule(self._scorer).parameters()}
        if isinstance(pooler := getattr(backbone, "pooler", None), nn.Module):
            used -= set(pooler.parameters())
        for parameter in self.model.parameters():
            if parameter not in used:
                parameter.requires_grad_(False)


def _first_of_texts(_: nn.Module, __: object, output: Any) -> Any:  # noqa: ANN401
    """Heads read first tokens: of a line's states (1, tokens, hidden) they get each text's, (texts, 1, hidden)."""
    line = line_being_read()
    if line is not None and output.last_hidden_state.shape[:2] == line.inputs["input_ids"].shape:
        output.last_hidden_state = line.first(output.last_hidden_state)
    return output


def _last_linear(model: PreTrainedModel) -> str:
    """Name of the head's last layer: ``score``, ``classifier`` or ``classifier.out_proj``, as architectures differ."""
    backbone = set(cast(nn.Module, model.base_model).modules())
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module not in backbone
    ]
    if not layers or layers[-1][1].out_features != 1:
        raise InvalidInput(f"{type(model).__name__} has no head with one output for pooled states; use pooling cls")
    return str(layers[-1][0])
