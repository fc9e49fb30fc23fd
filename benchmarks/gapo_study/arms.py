"""What is trained and measured: every run of the study as an ordinary recipe, and what each needs done before.

A seed is a replication of everything: its own rows, starting policy, warm-up of reward models, prompts and noise.
Within a seed all arms start from one policy and, as far as their rows are the same, from one reward model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evaluation.reproduction.schedule import Step
from evaluation.reproduction.toy_world import Replication

START = "start"
"""The policy that every arm starts from (the paper's SFT)."""

PREFERENCE_ARMS: dict[str, dict[str, Any]] = {
    "dpo": {"kind": "dpo", "beta": 0.1},
    "simpo": {"kind": "simpo", "beta": 10.0, "gamma_ratio": 0.5},
    "kto": {"kind": "kto", "beta": 0.1},
    "orpo": {"kind": "orpo"},
}
"""Objectives on preferred responses, without a reward model."""

PROMPT, RESPONSE = "preferential_prompt", "preferential_response"
_SHORT = {PROMPT: "pp", RESPONSE: "pr"}

PPO, GAPO, DATA_ONLY, ORACLE_LABELS = "ppo", "gapo", "data-only", "oracle-labels"
PPO_DECODER, GAPO_DECODER = "ppo-decoder", "gapo-decoder"
EARLY, MATCHED, ORACLE = "ppo-early-stop", "ppo-matched-kl", "oracle-reward"


@dataclass(frozen=True)
class Arm:
    """A policy trained by reinforcement. ``ppo``: its reward stays as it is; ``gapo``: a reward model that learns."""

    kind: str
    augmentation: str = PROMPT
    share: float = 1.0
    """Of the rows."""
    architecture: str = "encoder"
    changes: tuple[tuple[str, Any], ...] = ()
    """Top-level fields of the recipe that differ."""

    @property
    def reward_model(self) -> str:
        """Name of the warm-up that it starts from."""
        return warm_up(self.augmentation, self.share, self.architecture)


def warm_up(augmentation: str, share: float = 1.0, architecture: str = "encoder") -> str:
    """Name of the reward model trained on these rows."""
    return f"{architecture}-{_SHORT[augmentation]}{_size(share)}"


def sized(kind: str, augmentation: str, share: float) -> str:
    """Name of the arm of one cell of the grid of data sizes and augmentations."""
    full = share == 1.0
    return kind if full and augmentation == PROMPT else f"{kind}-{_SHORT[augmentation]}{_size(share)}"


def _size(share: float) -> str:
    return "" if share == 1.0 else f"-{share:g}"


SHARES = (0.25, 0.5, 1.0)

GRID: dict[str, Arm] = {
    sized(kind, augmentation, share): Arm(kind, augmentation, share)
    for kind in (PPO, GAPO)
    for augmentation in (PROMPT, RESPONSE)
    for share in SHARES
}
"""Data sizes and augmentations; the whole rows with preferential prompts are the main comparison."""

CONTROLS: dict[str, Arm] = {
    PPO_DECODER: Arm(PPO, architecture="decoder"),
    GAPO_DECODER: Arm(GAPO, architecture="decoder"),
    DATA_ONLY: Arm(GAPO, changes=(("generated_share", 0.0),)),
    ORACLE_LABELS: Arm(GAPO, changes=(("generated_label", {"kind": "oracle"}),)),
    EARLY: Arm(PPO, changes=(("early_stop", {"drop": 0.01}),)),
    MATCHED: Arm(PPO),
    ORACLE: Arm(PPO, changes=(("reward_model", {"kind": "product_world", "measure": "satisfied"}),)),
}

REINFORCED: dict[str, Arm] = {**GRID, **CONTROLS}
POLICIES = (START, *PREFERENCE_ARMS, *REINFORCED)
PROBES = {"prompt-only": "prompt", "response-only": "response"}
"""Reward models that are shown one side of the pair: what they find is a shortcut."""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    seeds: int
    rows: int
    imitation_steps: int
    preference_steps: int
    warm_up_steps: int
    rounds: int
    rollouts: int
    minibatch: int
    reward_model_steps: int
    """In each round."""
    watched: int
    """Held-out prompts answered greedily on the way."""
    every_rounds: int
    prompts: int
    """Of the final judgement."""
    responses: int
    """To each at T = 1; one at 0."""
    matched_kl: float
    """Nats per response to which the control's KL is held, near where the method's ended in a pilot run."""
    max_response_tokens: int = 56
    hidden_size: int = 96
    layers: int = 3

    @property
    def marks(self) -> tuple[int, ...]:
        """Rounds after which held-out prompts are answered."""
        return tuple(range(self.every_rounds, self.rounds + 1, self.every_rounds))


SIZES = {
    "full": Size(
        seeds=3,
        rows=3000,
        imitation_steps=900,
        preference_steps=150,
        warm_up_steps=300,
        rounds=30,
        rollouts=128,
        minibatch=32,
        reward_model_steps=8,
        watched=100,
        every_rounds=5,
        prompts=200,
        responses=4,
        matched_kl=1.0,
    ),
    "quick": Size(
        seeds=2,
        rows=64,
        imitation_steps=6,
        preference_steps=2,
        warm_up_steps=2,
        rounds=2,
        rollouts=4,
        minibatch=4,
        reward_model_steps=1,
        watched=2,
        every_rounds=1,
        prompts=4,
        responses=2,
        matched_kl=1.0,
        max_response_tokens=12,
        hidden_size=16,
        layers=1,
    ),
}

TEMPERATURES = (0.0, 1.0)


def steps_of_seed(seed: int, size: Size) -> Iterator[Step]:
    """All runs of one replication, each after what it needs."""
    world = _Seed(seed, size)
    yield world.start()
    for arm in {arm.reward_model: arm for arm in REINFORCED.values()}.values():
        yield world.warm_up(arm)
    for probe in PROBES:
        yield world.probe(probe)
    for name in PREFERENCE_ARMS:
        yield world.preferred(name)
    for name in REINFORCED:
        yield world.reinforced(name)
    for policy in POLICIES:
        yield world.stress_test(policy)


def prefix(seed: int) -> str:
    """What the names of a seed's runs and artifacts begin with."""
    return f"s{seed}-"


def stress(policy: str) -> str:
    """Name of the step that samples ``policy``."""
    return f"{policy}-stress"


class _Seed(Replication):
    """Recipes of one replication, under its names and on its rows."""

    def __init__(self, seed: int, size: Size) -> None:
        super().__init__(seed, prefix(seed), hidden_size=size.hidden_size, layers=size.layers)
        self.size = size

    def start(self) -> Step:
        return self.imitation(self._data(2 * self.seed, 4 * self.size.rows), self.size.imitation_steps)

    def warm_up(self, arm: Arm) -> Step:
        """Phase 1 of the method: pointwise training on accepted and rejected rows."""
        if arm.architecture == "decoder":
            backbone = {"architecture": "decoder", "path": self.named(START)}
            return self._reward_model(arm.reward_model, backbone, self._rows(arm), (START,))
        return self._reward_model(arm.reward_model, self._encoder(), self._rows(arm))

    def probe(self, name: str) -> Step:
        """The same on one side of each pair."""
        backbone = {"architecture": "encoder", "scratch": self.shape, "reads": PROBES[name]}
        return self._reward_model(name, backbone, self._rows(Arm(GAPO)))

    def preferred(self, name: str) -> Step:
        return self.step(
            name,
            (START,),
            kind="preference",
            policy={"path": self.named(START)},
            data=self._rows(Arm(PPO, RESPONSE)),
            objective=PREFERENCE_ARMS[name],
            optimizer={"learning_rate": 7e-5, "schedule": "cosine", "warmup_fraction": 0.1},
            batch={"size": 24},
            max_steps=self.size.preference_steps,
        )

    def reinforced(self, name: str) -> Step:
        """PPO or GAPO from the starting policy; prompts are the rows' accepted ones either way."""
        arm, size = REINFORCED[name], self.size
        reward_model: dict[str, Any] = {"path": self.named(arm.reward_model)}
        own: dict[str, Any] = {}
        if arm.kind == GAPO:
            reward_model |= {"optimizer": _constant(3e-4), "batch": {"size": 32}}
            own = {
                "augmentation": arm.augmentation,
                "reward_model_steps": size.reward_model_steps,
                "replay": 4 * size.rollouts,
            }
        recipe: dict[str, Any] = {
            "policy": {"path": self.named(START)},
            "data": self._rows(arm),
            "reward_model": reward_model,
            "rounds": size.rounds,
            "optimizer": _constant(6e-5),
            "ppo": self._ppo(name),
            "evaluation": {"every_rounds": size.every_rounds, "prompts": size.watched},
            "checkpoint": {"every_rounds": 5},
            "early_stop": None,
            **own,
            **dict(arm.changes),
        }
        return self.step(name, (START, arm.reward_model), kind=arm.kind, **recipe)

    def stress_test(self, policy: str) -> Step:
        """The final judgement: every policy answers the same prompts with the same noise."""
        return self.step(
            stress(policy),
            (policy,),
            kind="stress_test",
            policy={"path": self.named(policy)},
            prompts={"kind": "product_world", "split": "test", "limit": self.size.prompts, "seed": self.seed},
            temperatures=list(TEMPERATURES),
            responses_per_prompt=self.size.responses,
            max_response_tokens=self.size.max_response_tokens,
            oracles=[{"kind": "product_world", "measure": "satisfied"}],
            bootstrap={"draws": 200},
        )

    def _ppo(self, name: str) -> dict[str, Any]:
        """As in the prototype that docs/study-gapo.md names, with half its rollouts; a verdict is paid as it is."""
        size = self.size
        held = {"coefficient": 0.1, "target": size.matched_kl, "gain": 0.5}
        return {
            "rollouts": size.rollouts,
            "minibatch": size.minibatch,
            "epochs": 2,
            "max_response_tokens": size.max_response_tokens,
            "kl": held if name == MATCHED else {"coefficient": 0.03},
            "reward": {
                "transform": "logit" if name == ORACLE else "sigmoid",
                "scale": REWARD_SCALE,
                "missing_eos_reward": 0.0,
            },
            "value": {"trunk": "detached", "learning_rate": 1e-2, "warmup_rounds": min(4, size.rounds - 1)},
        }

    def _encoder(self) -> dict[str, Any]:
        return {"architecture": "encoder", "match_features": True, "scratch": self.shape}

    def _reward_model(
        self, name: str, backbone: dict[str, Any], data: dict[str, Any], needs: tuple[str, ...] = ()
    ) -> Step:
        return self.step(
            name,
            needs,
            kind="reward_model",
            backbone=backbone,
            data=data,
            loss="bce",
            optimizer={"learning_rate": 5e-4, "betas": [0.9, 0.98], "schedule": "cosine", "warmup_fraction": 0.2},
            batch={"size": 32},
            max_steps=self.size.warm_up_steps,
        )

    def _rows(self, arm: Arm) -> dict[str, Any]:
        """Contrasting what the arm's reward model is to tell apart; fewer rows are the first of the many."""
        contrast = "prompt" if arm.augmentation == PROMPT else "response"
        return self._data(2 * self.seed + 1, round(arm.share * self.size.rows)) | {"contrast": contrast}

    def _data(self, seed: int, rows: int) -> dict[str, Any]:
        held_out = min(self.size.rows, 400)
        return {"kind": "product_world", "size": rows, "seed": seed, "validation_size": held_out}


REWARD_SCALE = 4.0
"""A response is paid this times the probability that it is right."""


def _constant(learning_rate: float) -> dict[str, Any]:
    return {"learning_rate": learning_rate, "schedule": "constant", "warmup_fraction": 0.0}
