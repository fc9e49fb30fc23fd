"""Recipes of one replication in the product-description world: policies, regularisers, scorers, stress tests.

A seed is a replication of everything: its own rows, starting policy, order of data, discriminators, prompts and
noise. Within a seed all arms start from one policy and see the same rows, prompts and noise, so they are paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.reproduction.schedule import Step

START = "start"
"""The policy that every arm starts from, also its reference."""

_TRANSFORMER = {"kind": "transformer", "width": 64, "layers": 2, "heads": 4}

DISCRIMINATORS: dict[str, dict[str, Any]] = {
    "transformer": _TRANSFORMER,
    "mlp": {"kind": "mlp", "width": 64},
    "linear": {"kind": "linear"},
    "last_token": {"kind": "last_token", "width": 64},
    "mse": {"kind": "mse"},
    "random": {"kind": "random", "of": _TRANSFORMER},
}
"""GANPO's regulariser on DPO, by what judges the latents."""

GANPO = {kind: f"ganpo-{kind}" for kind in DISCRIMINATORS}
GANPO_SIMPO = "ganpo-simpo"
ARMS = ("dpo", *GANPO.values(), "simpo", GANPO_SIMPO)

JUDGED = GANPO["transformer"]
"""The policy whose responses all scorers judge."""

DISCRIMINATOR = f"{JUDGED}/discriminator:chosen"
PROBE = "probe:chosen"
ENCODER, DECODER = "encoder", "decoder"
IMPLICIT_REWARD = f"{JUDGED}:implicit_reward"
REFERENCE_LOGPROB = f"{START}:mean_logprob"


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    seeds: int
    rows: int
    imitation_steps: int
    preference_steps: int
    reward_model_steps: int
    prompts: int
    responses: int
    """To each prompt at each temperature."""

    untrained: int
    """Random discriminators beside the trained scorers."""

    hidden_size: int = 96
    layers: int = 3
    draws: int = 500
    """Of the bootstrap within one seed."""


class Replication:
    """The names of one replication, and the policy that all of its arms start from."""

    def __init__(self, seed: int, prefix: str, *, hidden_size: int, layers: int) -> None:
        self.seed, self.prefix = seed, prefix
        self.shape = {"hidden_size": hidden_size, "layers": layers, "heads": 4, "max_tokens": 128}

    def named(self, name: str) -> str:
        """What an artifact or step is called."""
        return self.prefix + name

    def step(self, step_name: str, step_needs: tuple[str, ...] = (), **recipe: Any) -> Step:  # noqa: ANN401 - a recipe's
        """A recipe under this replication's names and seed."""
        content = {"name": self.named(step_name), "seed": self.seed, **recipe}
        return Step(self.named(step_name), content, tuple(map(self.named, step_needs)))

    def imitation(self, data: dict[str, Any], steps: int) -> Step:
        """The policy that imitates responses which meet every constraint."""
        optimizer = {"learning_rate": 4e-3, "betas": [0.9, 0.98], "schedule": "cosine", "warmup_fraction": 0.05}
        return self.step(
            START,
            kind="sft",
            policy={"scratch": self.shape},
            data=data,
            optimizer=optimizer,
            batch={"size": 32},
            max_steps=steps,
        )


class ToyWorld(Replication):
    """Recipes of one replication, under its names and on its rows."""

    def __init__(self, seed: int, size: Size, family: str = "") -> None:
        """Names of all runs and artifacts begin with ``family`` and the seed."""
        super().__init__(seed, f"{family}s{seed}-", hidden_size=size.hidden_size, layers=size.layers)
        self.size = size

    def start(self) -> Step:
        """The policy that every arm starts from."""
        return self.imitation(self._data(2 * self.seed, 2 * self.size.rows), self.size.imitation_steps)

    def encoder(self) -> Step:
        """A reward model from scratch that reads prompt and response both ways."""
        backbone = {"architecture": "encoder", "match_features": True, "scratch": self.shape}
        return self._reward_model(ENCODER, backbone, 1e-3)

    def decoder(self) -> Step:
        """A reward model that starts from the starting policy, as the paper's proxy does."""
        return self._reward_model(DECODER, {"architecture": "decoder", "path": self.named(START)}, 5e-4, needs=(START,))

    def arm(self, name: str) -> Step:
        """A preference objective from the starting policy, alone or with a regulariser."""
        return self.arm_as(name, name, self.size.preference_steps)

    def arm_as(self, step_name: str, name: str, steps: int) -> Step:
        """The arm ``name`` for so many steps, under another name."""
        simpo = name in {"simpo", GANPO_SIMPO}
        recipe = {
            "policy": {"path": self.named(START)},
            "data": self._preferences(),
            "objective": {"kind": "simpo", "beta": 10.0, "gamma_ratio": 0.5} if simpo else {"kind": "dpo", "beta": 0.1},
            "optimizer": _cosine(7e-5),
            "batch": {"size": 24},
            "max_steps": steps,
        }
        if name in {"dpo", "simpo"}:
            return self.step(step_name, (START,), kind="preference", **recipe)
        kind = "transformer" if simpo else name.removeprefix("ganpo-")
        adversarial = {"learning_rate": 1e-3, "discriminator": DISCRIMINATORS[kind]}
        return self.step(step_name, (START,), kind="ganpo", adversarial=adversarial, **recipe)

    def probe(self) -> Step:
        """The discriminator's network on the same features, trained by the preferences without an adversary."""
        return self._discriminator("probe", loss="bradley_terry", discriminator=_TRANSFORMER)

    def untrained(self) -> Step:
        """Discriminators that nobody trains."""
        return self._discriminator("random", copies=self.size.untrained, discriminator=DISCRIMINATORS["random"])

    def stress_test(self, name: str, policy: str, temperatures: Sequence[float], scorers: Sequence[str] = ()) -> Step:
        """Sample a policy over the temperatures and judge by the checker; ``scorers`` are named without prefix."""
        named = [self.named(scorer) for scorer in scorers]
        trained = {scorer.partition(":")[0].partition("/")[0] for scorer in scorers}
        return self.step(
            name,
            (policy, *sorted(trained)),
            kind="stress_test",
            policy={"path": self.named(policy)},
            prompts={
                "kind": "product_world",
                "split": "test",
                "limit": self.size.prompts,
                "seed": self.seed,
            },
            temperatures=list(temperatures),
            responses_per_prompt=self.size.responses,
            max_response_tokens=56,
            scorers=named,
            oracles=[{"kind": "product_world"}, {"kind": "product_world", "measure": "satisfied"}],
            bootstrap={"draws": self.size.draws},
        )

    def _reward_model(
        self, name: str, backbone: dict[str, Any], learning_rate: float, needs: tuple[str, ...] = ()
    ) -> Step:
        return self.step(
            name,
            needs,
            kind="reward_model",
            backbone=backbone,
            data=self._preferences(),
            loss="bradley_terry",
            optimizer=_cosine(learning_rate),
            batch={"size": 32},
            max_steps=self.size.reward_model_steps,
        )

    def _discriminator(self, name: str, **settings: Any) -> Step:  # noqa: ANN401 - a recipe's
        """A discriminator on the starting policy's frozen features, which sees no other policy."""
        return self.step(
            name,
            (START,),
            kind="discriminator",
            reference={"path": self.named(START)},
            data=self._preferences(),
            optimizer=_cosine(1e-3),
            batch={"size": 24},
            max_steps=self.size.preference_steps,
            **settings,
        )

    def _preferences(self) -> dict[str, Any]:
        return self._data(2 * self.seed + 1, self.size.rows)

    def _data(self, seed: int, rows: int) -> dict[str, Any]:
        return {"kind": "product_world", "size": rows, "seed": seed, "validation_size": min(rows, 400)}


def _cosine(learning_rate: float) -> dict[str, Any]:
    return {"learning_rate": learning_rate, "schedule": "cosine", "warmup_fraction": 0.1}
