"""What is trained and measured: every run of the study as an ordinary recipe, and what each needs done before.

A seed is a replication of everything: its own rows, starting policy, order of data, discriminators, prompts and
noise. Within a seed all arms start from one policy and see the same rows, prompts and noise, so they are paired.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.study.schedule import Step

TEMPERATURES = (0.0, 0.5, 0.7, 1.0, 1.25, 1.5, 2.0)

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
POLICIES = (START, *ARMS)

JUDGED = GANPO["transformer"]
"""The policy whose responses all scorers judge."""

DISCRIMINATOR = f"{JUDGED}/discriminator:chosen"
PROBE = "probe:chosen"
ENCODER, DECODER = "encoder", "decoder"
IMPLICIT_REWARD = f"{JUDGED}:implicit_reward"
REFERENCE_LOGPROB = f"{START}:mean_logprob"
LEARNED = (DISCRIMINATOR, f"{JUDGED}/discriminator:difference", PROBE, ENCODER, DECODER, IMPLICIT_REWARD)
"""Scorers that were trained on the preferences."""


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
    """Of the bootstrap within one seed, which the study's intervals do not use."""


SIZES = {
    "full": Size(5, 6000, 600, 150, 300, prompts=128, responses=6, untrained=12),
    "quick": Size(2, 96, 6, 3, 3, prompts=4, responses=2, untrained=10, hidden_size=16, layers=1),
}


def steps_of_seed(seed: int, size: Size) -> Iterator[Step]:
    """All runs of one replication, each after what it needs."""
    world = _Seed(seed, size)
    yield world.start()
    yield world.reward_model(ENCODER, {"architecture": "encoder", "match_features": True, "scratch": world.shape}, 1e-3)
    decoder = {"architecture": "decoder", "path": world.named(START)}
    yield world.reward_model(DECODER, decoder, 5e-4, needs=(START,))
    for arm in ARMS:
        yield world.arm(arm)
    yield world.discriminator("probe", loss="bradley_terry", discriminator=_TRANSFORMER)
    yield world.discriminator("random", copies=size.untrained, discriminator=DISCRIMINATORS["random"])
    for policy in POLICIES:
        yield world.stress_test(policy)


def prefix(seed: int) -> str:
    """What the names of a seed's runs and artifacts begin with."""
    return f"s{seed}-"


class _Seed:
    """Recipes of one replication, under its names and on its rows."""

    def __init__(self, seed: int, size: Size) -> None:
        self.seed, self.size = seed, size
        self.shape = {"hidden_size": size.hidden_size, "layers": size.layers, "heads": 4, "max_tokens": 128}

    def named(self, name: str) -> str:
        return prefix(self.seed) + name

    def start(self) -> Step:
        optimizer = {"learning_rate": 4e-3, "betas": [0.9, 0.98], "schedule": "cosine", "warmup_fraction": 0.05}
        return self._step(
            START,
            kind="sft",
            policy={"scratch": self.shape},
            data=self._data(2 * self.seed, 2 * self.size.rows),
            optimizer=optimizer,
            batch={"size": 32},
            max_steps=self.size.imitation_steps,
        )

    def reward_model(
        self, name: str, backbone: dict[str, Any], learning_rate: float, needs: tuple[str, ...] = ()
    ) -> Step:
        return self._step(
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

    def arm(self, name: str) -> Step:
        """A preference objective from the starting policy, alone or with a regulariser."""
        simpo = name in {"simpo", GANPO_SIMPO}
        recipe = {
            "policy": {"path": self.named(START)},
            "data": self._preferences(),
            "objective": {"kind": "simpo", "beta": 10.0, "gamma_ratio": 0.5} if simpo else {"kind": "dpo", "beta": 0.1},
            "optimizer": _cosine(7e-5),
            "batch": {"size": 24},
            "max_steps": self.size.preference_steps,
        }
        if name in {"dpo", "simpo"}:
            return self._step(name, (START,), kind="preference", **recipe)
        kind = "transformer" if simpo else name.removeprefix("ganpo-")
        adversarial = {"learning_rate": 1e-3, "discriminator": DISCRIMINATORS[kind]}
        return self._step(name, (START,), kind="ganpo", adversarial=adversarial, **recipe)

    def discriminator(self, name: str, **settings: Any) -> Step:  # noqa: ANN401 - a recipe's
        """A discriminator on the starting policy's frozen features, which sees no other policy."""
        return self._step(
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

    def stress_test(self, policy: str) -> Step:
        """Sample a policy over the temperatures; beside the judged one's stand all scorers."""
        scorers = self._scorers() if policy == JUDGED else []
        trained = {scorer.partition(":")[0].partition("/")[0].removeprefix(prefix(self.seed)) for scorer in scorers}
        return self._step(
            stress(policy),
            (policy, *sorted(trained)),
            kind="stress_test",
            policy={"path": self.named(policy)},
            prompts={
                "kind": "product_world",
                "split": "test",
                "limit": self.size.prompts,
                "seed": self.seed,
            },
            temperatures=list(TEMPERATURES),
            responses_per_prompt=self.size.responses,
            max_response_tokens=56,
            scorers=scorers,
            oracles=[{"kind": "product_world"}, {"kind": "product_world", "measure": "satisfied"}],
            bootstrap={"draws": self.size.draws},
        )

    def _scorers(self) -> list[str]:
        untrained = [f"random:random_{index}" for index in range(self.size.untrained)]
        return [self.named(scorer) for scorer in (*LEARNED, REFERENCE_LOGPROB, *untrained)]

    def _preferences(self) -> dict[str, Any]:
        return self._data(2 * self.seed + 1, self.size.rows)

    def _data(self, seed: int, rows: int) -> dict[str, Any]:
        return {"kind": "product_world", "size": rows, "seed": seed, "validation_size": min(rows, 400)}

    def _step(self, step_name: str, step_needs: tuple[str, ...] = (), **recipe: Any) -> Step:  # noqa: ANN401 - a recipe's
        content = {"name": self.named(step_name), "seed": self.seed, **recipe}
        return Step(self.named(step_name), content, tuple(map(self.named, step_needs)))


def stress(policy: str) -> str:
    """Name of the step that samples ``policy``."""
    return f"{policy}-stress"


def _cosine(learning_rate: float) -> dict[str, Any]:
    return {"learning_rate": learning_rate, "schedule": "cosine", "warmup_fraction": 0.1}
