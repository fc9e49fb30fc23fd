"""Discriminators on a frozen reference policy, as a scorer of pairs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainer.artifacts import refuse_pickled_weights
from trainer.data.text import Encoded, OnOverlong, Prompt
from trainer.errors import BrokenArtifact
from trainer.models.discriminators import Discriminator, DiscriminatorConfig
from trainer.models.latents import MaskChoice, select_latents
from trainer.models.policy import Policy, collate, model_bytes

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PLAYERS = ("chosen", "rejected")


class DiscriminatorPair:
    """Scores on *reference* features, where C_chosen is a chosen-likeness axis comparable across policies.

    Of GANPO's two players: ``chosen`` = C_chosen; ``rejected`` = -C_rejected, whose training convention is reversed;
    ``difference`` = z(C_chosen) - z(C_rejected) with z fixed on held-out training pairs. Any other networks, such as a
    probe or random controls, give their logits under their own names. A ``PairModel``.
    """

    def __init__(
        self,
        reference: Policy,
        networks: Mapping[str, Discriminator],
        standardisation: dict[str, tuple[float, float]],
        mask: MaskChoice,
    ) -> None:
        self.reference = reference
        self.networks = nn.ModuleDict(dict(networks)).eval()
        self.standardisation = standardisation
        """Mean and standard deviation of each player's logit on held-out pairs."""
        self.mask = mask
        self.outputs: tuple[str, ...] = tuple(networks)
        if self.outputs == PLAYERS:
            self.outputs = (*PLAYERS, "difference")

    @classmethod
    def load(cls, path: Path, reference: Policy, details: dict[str, Any]) -> "DiscriminatorPair":
        """Load published discriminators onto their reference policy. Raises BrokenArtifact if weights do not fit."""
        refuse_pickled_weights(path)
        config: DiscriminatorConfig = TypeAdapter(DiscriminatorConfig).validate_python(
            json.loads((path / CONFIG_FILE).read_text())
        )
        hidden = int(reference.model.config.hidden_size)
        names = [name for name in details.get("outputs", PLAYERS) if name != "difference"]
        networks = {name: config.build(hidden) for name in names}
        pair = cls(reference, networks, details["standardisation"], details["mask"])
        try:
            pair.networks.load_state_dict(load_file(path / WEIGHTS_FILE))
        except RuntimeError as error:
            raise BrokenArtifact(f"{path}: weights and {CONFIG_FILE} are of different networks; train again") from error
        pair.networks.to(reference.device)
        return pair

    def save(self, path: Path, config: DiscriminatorConfig) -> None:
        """Write the networks' weights and configuration; the reference is an artifact of its own."""
        (path / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n")
        save_file(
            {name: tensor.contiguous() for name, tensor in self.networks.state_dict().items()}, path / WEIGHTS_FILE
        )

    def details(self) -> dict[str, Any]:
        """What a manifest must say so that ``load`` gives this model again."""
        return {
            "outputs": list(self.outputs),
            "max_tokens": self.max_tokens,
            "template_hash": self.template_hash,
            "orientation": "higher_is_better",
            "features": "reference",
            "layer": "last_hidden_state_after_norm",
            "mask": self.mask,
            "standardisation": self.standardisation,
        }

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
        """Raw logits (batch, networks) on reference features."""
        pairs = collate(batch, self.reference.pad_id).to(self.reference.device)
        latents = select_latents(self.reference.hidden_states(pairs), pairs, self.mask)
        columns = [network(latents.hidden_states, latents.mask) for network in self.networks.values()]
        return torch.stack(columns, dim=1)

    def score(self, batch: Sequence[Encoded]) -> Tensor:
        return self.scores(self.logits(batch).cpu())

    def scores(self, logits: Tensor) -> Tensor:
        """From raw logits (batch, networks) to scores (batch, outputs)."""
        if tuple(self.networks) != PLAYERS:
            return logits
        chosen, rejected = logits.unbind(dim=1)
        (centre, spread), (centre_, spread_) = (self.standardisation[name] for name in PLAYERS)
        return torch.stack([chosen, -rejected, (chosen - centre) / spread - (rejected - centre_) / spread_], dim=1)

    def bytes(self) -> int:
        return model_bytes(self.networks) + model_bytes(self.reference.model)
