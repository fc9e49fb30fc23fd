"""GANPO's two discriminators on a frozen reference policy, as a scorer of pairs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer.artifacts import refuse_pickled_weights
from trainer.data.text import Encoded, OnOverlong, Prompt
from trainer.models.discriminators import DiscriminatorConfig
from trainer.models.latents import response_latents
from trainer.models.policy import Policy, collate, model_bytes

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class DiscriminatorPair:
    """Scores on *reference* features, where C_chosen is a chosen-likeness axis comparable across policies.

    ``chosen`` = C_chosen; ``rejected`` = -C_rejected, whose training convention is reversed; ``difference`` =
    z(C_chosen) - z(C_rejected) with z fixed on held-out training pairs. A ``PairModel``.
    """

    outputs: tuple[str, ...] = ("chosen", "rejected", "difference")

    def __init__(
        self, reference: Policy, chosen: nn.Module, rejected: nn.Module, standardisation: dict[str, tuple[float, float]]
    ) -> None:
        self.reference = reference
        self.networks = nn.ModuleDict({"chosen": chosen, "rejected": rejected}).eval()
        self.standardisation = standardisation
        """Mean and standard deviation of each network's logit on held-out pairs."""

    @classmethod
    def load(cls, path: Path, reference: Policy, details: dict[str, Any]) -> "DiscriminatorPair":
        """Load published discriminators onto their reference policy."""
        refuse_pickled_weights(path)
        config: DiscriminatorConfig = TypeAdapter(DiscriminatorConfig).validate_python(
            json.loads((path / CONFIG_FILE).read_text())
        )
        hidden = int(reference.model.config.hidden_size)
        pair = cls(reference, config.build(hidden), config.build(hidden), details["standardisation"])
        pair.networks.load_state_dict(load_file(path / WEIGHTS_FILE))
        pair.networks.to(reference.device)
        return pair

    def save(self, path: Path, config: DiscriminatorConfig) -> None:
        """Write the networks' weights and configuration; the reference is an artifact of its own."""
        (path / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n")
        save_file(
            {name: tensor.contiguous() for name, tensor in self.networks.state_dict().items()}, path / WEIGHTS_FILE
        )

    @property
    def max_tokens(self) -> int:
        return self.reference.max_tokens

    @property
    def template_hash(self) -> str:
        return self.reference.format.template_hash

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        return self.reference.encode(prompt, response, on_overlong)

    @torch.inference_mode()
    def logits(self, batch: Sequence[Encoded]) -> Tensor:
        """Raw logits (batch, 2) of C_chosen and C_rejected on reference features."""
        pairs = collate(batch, self.reference.pad_id).to(self.reference.device)
        latents = response_latents(self.reference.hidden_states(pairs), pairs)
        columns = [self.networks[name](latents.hidden_states, latents.mask) for name in ("chosen", "rejected")]
        return torch.stack(columns, dim=1)

    def score(self, batch: Sequence[Encoded]) -> Tensor:
        logits = self.logits(batch).cpu()
        z = {
            name: (logits[:, column] - self.standardisation[name][0]) / self.standardisation[name][1]
            for column, name in enumerate(("chosen", "rejected"))
        }
        return torch.stack([logits[:, 0], -logits[:, 1], z["chosen"] - z["rejected"]], dim=1)

    def bytes(self) -> int:
        return model_bytes(self.networks) + model_bytes(self.reference.model)
