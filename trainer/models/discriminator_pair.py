"""Discriminators on a policy's hidden states, as a scorer of pairs."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from trainer.artifacts import check_weight_files
from trainer.data.text import Encoded, OnOverlong, Prompt
from trainer.errors import BrokenArtifact
from trainer.models.discriminators import Discriminator, DiscriminatorConfig
from trainer.models.latents import Latents, MaskChoice, select_latents
from trainer.models.outputs import ON_POLICY, PLAYERS, UNTRAINED, networks_of, outputs_on
from trainer.models.pair_model import place
from trainer.models.policy import Policy
from trainer.models.readings import Readings

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class DiscriminatorPair:
    """Scores on *reference* features, where C_chosen is a chosen-likeness axis comparable across policies.

    Of GANPO's two players: ``chosen`` = C_chosen; ``rejected`` = -C_rejected, whose training convention is reversed;
    ``difference`` = z(C_chosen) - z(C_rejected) with z fixed on held-out training pairs. Any other networks, such as a
    probe or random controls, give their logits under their own names. A ``PairModel``.

    Where the policy that was trained against them is known, ``policy_chosen`` and so on are the same of its features.
    """

    longest_packed = 0

    def __init__(
        self,
        reference: Policy,
        networks: Mapping[str, Discriminator],
        standardisation: dict[str, tuple[float, float]],
        mask: MaskChoice,
        *,
        config: DiscriminatorConfig | None = None,
        open_policy: Callable[[], Policy] | None = None,
    ) -> None:
        """``config`` makes the untrained controls, and ``open_policy`` what the outputs on the policy's features read:
        neither before it is asked for."""
        self.reference = reference
        self.networks = nn.ModuleDict(dict(networks)).eval()
        self.standardisation = standardisation
        """Mean and standard deviation of each player's logit on held-out pairs."""
        self.mask = mask
        self._config = config
        self._open_policy = open_policy
        self._policy: Policy | None = None
        self._untrained: dict[str, Discriminator] = {}
        self.outputs: tuple[str, ...] = outputs_on(tuple(networks), policy_known=open_policy is not None)

    @classmethod
    def load(
        cls,
        path: Path,
        reference: Policy,
        details: dict[str, Any],
        open_policy: Callable[[], Policy] | None = None,
    ) -> "DiscriminatorPair":
        """Load published discriminators beside their reference policy, on the CPU. Raises BrokenArtifact if weights do
        not fit."""
        check_weight_files(path)
        config: DiscriminatorConfig = TypeAdapter(DiscriminatorConfig).validate_python(
            json.loads((path / CONFIG_FILE).read_text())
        )
        hidden = int(reference.model.config.hidden_size)
        names = networks_of(details)
        networks = {name: config.build(hidden) for name in names}
        pair = cls(
            reference, networks, details["standardisation"], details["mask"], config=config, open_policy=open_policy
        )
        try:
            pair.networks.load_state_dict(load_file(path / WEIGHTS_FILE))
        except RuntimeError as error:
            raise BrokenArtifact(f"{path}: weights and {CONFIG_FILE} are of different networks; train again") from error
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
            "outputs": list(outputs_on(tuple(self.networks), policy_known=False)),
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

    @property
    def longest_shared(self) -> int:
        return self.reference.longest_shared

    def encode(self, prompt: Prompt, response: str, on_overlong: OnOverlong = "error") -> Encoded:
        return self.reference.encode(prompt, response, on_overlong)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.reference.tokenizer

    @torch.inference_mode()
    def logits(self, batch: Sequence[Encoded]) -> Tensor:
        """Raw logits (batch, networks) on reference features."""
        return _logits(self.networks.values(), self._latents(self.reference, Readings(batch)))

    @torch.inference_mode()
    def score(
        self, batch: Sequence[Encoded], outputs: Sequence[str] | None = None, readings: Readings | None = None
    ) -> Tensor:
        wanted = tuple(outputs or self.outputs)
        if lacking := [name for name in wanted if self.lacks(name)]:
            for name in lacking:
                self.complete(name)
            place(self, self.reference.device)
        readings = readings or Readings(batch)
        found: dict[str, Tensor] = {}
        trained = outputs_on(tuple(self.networks), policy_known=False)
        for prefix in ("", ON_POLICY):
            if any(prefix + name in wanted for name in trained):
                latents = self._latents(self._features(prefix), readings)
                columns = self.scores(_logits(self.networks.values(), latents)).unbind(dim=1)
                found |= {prefix + name: column for name, column in zip(trained, columns, strict=True)}
        if untrained := [name for name in wanted if name in UNTRAINED]:
            latents = self._latents(self.reference, readings)
            columns = _logits([self._untrained[name] for name in untrained], latents).unbind(dim=1)
            found |= dict(zip(untrained, columns, strict=True))
        return torch.stack([found[name] for name in wanted], dim=1).cpu()

    def scores(self, logits: Tensor) -> Tensor:
        """From raw logits (batch, networks) to the scores of the networks, (batch, outputs on these features)."""
        if tuple(self.networks) != PLAYERS:
            return logits
        chosen, rejected = logits.unbind(dim=1)
        (centre, spread), (centre_, spread_) = (self.standardisation[name] for name in PLAYERS)
        return torch.stack([chosen, -rejected, (chosen - centre) / spread - (rejected - centre_) / spread_], dim=1)

    def lacks(self, output: str) -> bool:
        if output.startswith(ON_POLICY):
            return self._policy is None
        return output in UNTRAINED and output not in self._untrained

    def complete(self, output: str) -> None:
        if not self.lacks(output):
            return
        if output in UNTRAINED:
            self._untrained[output] = self._control(output)
        else:
            assert self._open_policy is not None
            self._policy = self._open_policy()

    def networks_held(self) -> tuple[nn.Module, ...]:
        policy = () if self._policy is None else (self._policy.model,)
        return (self.networks, self.reference.model, *policy, *self._untrained.values())

    def _features(self, prefix: str) -> Policy:
        if prefix != ON_POLICY:
            return self.reference
        assert self._policy is not None
        return self._policy

    def _latents(self, policy: Policy, readings: Readings) -> Latents:
        reading = readings.by(policy)
        return select_latents(reading.hidden_states, reading.batch, self.mask)

    def _control(self, name: str) -> Discriminator:
        assert self._config is not None
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
            torch.manual_seed(UNTRAINED.index(name))
            network = self._config.build(int(self.reference.model.config.hidden_size))
        return network.eval().requires_grad_(False)


def _logits(networks: Iterable[nn.Module], latents: Latents) -> Tensor:
    """(batch, networks)."""
    return torch.stack([network(latents.hidden_states, latents.mask) for network in networks], dim=1)
