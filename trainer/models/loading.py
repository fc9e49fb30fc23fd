"""From a published artifact to a model that scores, refusing whatever is not exactly what was published."""

from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

import torch

from trainer.artifacts import ArtifactStore
from trainer.data.rows import Pair
from trainer.errors import BrokenArtifact, NotFound, OverlongInput
from trainer.manifest import PARENTS_READ, Artifact, Manifest, Probe
from trainer.models.discriminator_pair import DiscriminatorPair
from trainer.models.int8_linear import check_device
from trainer.models.pair_model import PairModel, place
from trainer.models.policy import Policy
from trainer.models.policy_scorer import PolicyScorer
from trainer.models.quantised import LARGEST_ERROR, is_quantised, original_of
from trainer.models.quantised_reward_model import QuantisedRewardModel
from trainer.models.reward_model import RewardModel

PROBES = 4
PROBE_TOLERANCE = 1e-3
"""Relative to 1 + |score|: wide enough for other hardware and library versions, far below a wrong template's error."""


class Policies:
    """Policies, each in memory once however many scorers read with it, for as long as one does.

    They are read on the CPU, and whoever reads with one moves it; one that was moved stays there. For one thread at a
    time.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        self._held: WeakValueDictionary[str, Policy] = WeakValueDictionary()

    def load(self, artifact: Artifact) -> Policy:
        """Raises BrokenArtifact."""
        policy = self._held.get(artifact.digest)
        if policy is None:
            artifact.verify()
            policy = Policy.load(artifact.path)
            self._held[artifact.digest] = policy
        return policy

    def parent(self, artifact: Artifact, role: str) -> Policy | None:
        """The policy that ``artifact`` was made with in ``role``, if it names one. Raises BrokenArtifact."""
        parent = self._parent(artifact, role)
        return None if parent is None else self.load(parent)

    def held(self, artifact: Artifact) -> Policy | None:
        """The policy, where it is in memory."""
        return self._held.get(artifact.digest)

    def family(self, artifact: Artifact, roles: Sequence[str]) -> list[Artifact]:
        """``artifact`` and its parents in those of ``roles`` that it is loaded with. Raises BrokenArtifact."""
        loaded_with = PARENTS_READ[artifact.manifest.kind]
        parents = [self._parent(artifact, role) for role in roles if role in loaded_with]
        return [artifact, *(parent for parent in parents if parent is not None)]

    def _parent(self, artifact: Artifact, role: str) -> Artifact | None:
        assert role in PARENTS_READ[artifact.manifest.kind], "or nobody fetches it before"
        for parent in artifact.manifest.parents:
            if parent.role == role:
                try:
                    found = self.store.open(f"{parent.name}@{parent.version}")
                except NotFound as error:
                    raise BrokenArtifact(f"{artifact.reference}: its {role} is missing: {error.detail}") from error
                if found.digest != parent.digest:
                    raise BrokenArtifact(
                        f"{artifact.reference}: its {role} {found.reference} is not the one it was made with"
                    )
                return found
        return None


def load_pair_model(artifact: Artifact, store: ArtifactStore, device: torch.device) -> PairModel:
    """Verify digests, read the weights, move them to ``device`` and re-score the probe pairs.

    Raises BrokenArtifact if a file, a parent or a probe's score differs from the manifest, Conflict for a quantised
    model on a device that it cannot be scored on.
    """
    artifact.verify()
    model = read_pair_model(artifact, Policies(store), device)
    place(model, device)
    check_probes(model, artifact)
    return model


def read_pair_model(artifact: Artifact, policies: Policies, device: torch.device) -> PairModel:
    """Read an artifact whose digests were verified, on the CPU; ``device`` is where it is to be placed.

    ``policies`` are shared with what was read before. Raises as ``load_pair_model``, but knows no score.
    """
    details = artifact.manifest.details
    model: PairModel
    match artifact.manifest.kind:
        case "reward_model":
            model = _read_reward_model(artifact, device)
        case "discriminator":
            reference = policies.parent(artifact, "reference")
            if reference is None:
                raise BrokenArtifact(f"{artifact.reference}: its manifest names no reference policy; train it again")
            model = DiscriminatorPair.load(artifact.path, reference, details, _policy_opener(artifact, policies))
        case "policy":
            policy = policies.load(artifact)
            model = PolicyScorer(policy, policies.parent(artifact, "reference"), details.get("beta", 0.1))
    for output in {output for probe in artifact.manifest.probes for output in probe.scores}:
        if output in model.outputs:
            model.complete(output)
    return model


def _read_reward_model(artifact: Artifact, device: torch.device) -> RewardModel:
    if is_quantised(artifact.manifest):
        check_device(device, original_of(artifact.manifest))
        return QuantisedRewardModel.load(artifact.path, artifact.manifest.details)
    return RewardModel.load(artifact.path, artifact.manifest.details)


def make_probes(model: PairModel, pairs: Sequence[Pair]) -> list[Probe]:
    """Score the first few pairs that fit the model, for a manifest to carry."""
    probes: list[Probe] = []
    for pair in pairs:
        if len(probes) == PROBES:
            break
        try:
            scores = _score_one(model, pair, model.outputs)
        except OverlongInput:
            continue
        named = dict(zip(model.outputs, scores, strict=True))
        probes.append(Probe(prompt=pair.prompt, response=pair.response, scores=named))
    return probes


def check_probes(model: PairModel, artifact: Artifact) -> None:
    """Raises BrokenArtifact if any probe pair scores differently than when the artifact was published."""
    for probe in artifact.manifest.probes:
        asked = [output for output in model.outputs if output in probe.scores]
        now = dict(zip(asked, _score_one(model, Pair(probe.prompt, probe.response), asked), strict=True))
        for output, then in probe.scores.items():
            # "not within" rather than "beyond": NaN is neither
            if output not in now or not abs(now[output] - then) <= _tolerance(artifact.manifest, then):
                raise BrokenArtifact(
                    f"{artifact.reference}: a probe pair scores {now.get(output)} as {output!r}, published as {then};"
                    " its files or template differ from training, publish it again"
                )


def _tolerance(manifest: Manifest, score: float) -> float:
    """Of a quantised model another machine's rounding can make as large a difference as quantising itself did."""
    return PROBE_TOLERANCE * (1 + abs(score)) + manifest.metrics.get(LARGEST_ERROR, 0.0)


def _score_one(model: PairModel, pair: Pair, outputs: Sequence[str]) -> list[float]:
    if not outputs:
        return []
    encoded = model.encode(pair.prompt, pair.response, "truncate_prompt")
    row: list[float] = model.score([encoded], outputs)[0].tolist()
    return row


def _policy_opener(artifact: Artifact, policies: Policies) -> Callable[[], Policy] | None:
    if not any(parent.role == "policy" for parent in artifact.manifest.parents):
        return None

    def open_policy() -> Policy:
        policy = policies.parent(artifact, "policy")
        assert policy is not None
        return policy

    return open_policy
