"""From a published artifact to a model that scores, refusing whatever is not exactly what was published."""

from collections.abc import Sequence

import torch

from trainer.artifacts import Artifact, ArtifactStore, Probe
from trainer.data.rows import Pair
from trainer.errors import BrokenArtifact, OverlongInput
from trainer.models.discriminator_pair import DiscriminatorPair
from trainer.models.pair_model import PairModel
from trainer.models.policy import Policy
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.reward_model import RewardModel

PROBES = 4
PROBE_TOLERANCE = 1e-3
"""Relative to 1 + |score|: wide enough for other hardware and library versions, far below a wrong template's error."""


def load_pair_model(artifact: Artifact, store: ArtifactStore, device: torch.device) -> PairModel:
    """Verify digests, load, and re-score the probe pairs.

    Raises BrokenArtifact if a file, a parent or a probe's score differs from the manifest.
    """
    artifact.verify()
    details = artifact.manifest.details
    model: PairModel
    match artifact.manifest.kind:
        case "reward_model":
            reward_model = RewardModel.load(artifact.path, details)
            reward_model.model.to(device)
            model = reward_model
        case "discriminator":
            reference = _load_parent(artifact, "reference", store, device)
            if reference is None:
                raise BrokenArtifact(f"{artifact.reference}: its manifest names no reference policy; train it again")
            model = DiscriminatorPair.load(artifact.path, reference, details)
        case "policy":
            policy = _load_policy(artifact, device)
            model = PolicyScorer(policy, _load_parent(artifact, "reference", store, device), details.get("beta", 0.1))
    check_probes(model, artifact)
    return model


def make_probes(model: PairModel, pairs: Sequence[Pair]) -> list[Probe]:
    """Score the first few pairs that fit the model, for a manifest to carry."""
    probes: list[Probe] = []
    for pair in pairs:
        if len(probes) == PROBES:
            break
        try:
            scores = _score_one(model, pair)
        except OverlongInput:
            continue
        named = dict(zip(model.outputs, scores, strict=True))
        probes.append(Probe(prompt=pair.prompt, response=pair.response, scores=named))
    return probes


def check_probes(model: PairModel, artifact: Artifact) -> None:
    """Raises BrokenArtifact if any probe pair scores differently than when the artifact was published."""
    for probe in artifact.manifest.probes:
        now = dict(zip(model.outputs, _score_one(model, Pair(probe.prompt, probe.response)), strict=True))
        for output, then in probe.scores.items():
            if output not in now or abs(now[output] - then) > PROBE_TOLERANCE * (1 + abs(then)):
                raise BrokenArtifact(
                    f"{artifact.reference}: a probe pair scores {now.get(output)} as {output!r}, published as {then};"
                    " its files or template differ from training, publish it again"
                )


def _score_one(model: PairModel, pair: Pair) -> list[float]:
    row: list[float] = model.score([model.encode(pair.prompt, pair.response, "truncate_prompt")])[0].tolist()
    return row


def _load_policy(artifact: Artifact, device: torch.device) -> Policy:
    policy = Policy.load(artifact.path)
    policy.model.to(device)
    return policy


def _load_parent(artifact: Artifact, role: str, store: ArtifactStore, device: torch.device) -> Policy | None:
    for parent in artifact.manifest.parents:
        if parent.role == role:
            found = store.open(f"{parent.name}@{parent.version}")
            if found.digest != parent.digest:
                raise BrokenArtifact(
                    f"{artifact.reference}: its {role} {found.reference} is not the one it was made with"
                )
            found.verify()
            return _load_policy(found, device)
    return None
