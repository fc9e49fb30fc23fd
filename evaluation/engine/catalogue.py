"""What an artifact can score, told from its manifest."""

from evaluation.engine.pairs import ScorerInfo
from evaluation.engine.probability import contrasts, pointwise
from trainer.manifest import Artifact, Manifest
from trainer.models.outputs import COMPARED_OUTPUTS, POLICY_OUTPUTS, RANDOM, UNTRAINED, networks_of, outputs_on


def outputs_of(manifest: Manifest) -> tuple[str, ...]:
    """Names of the scores the artifact gives once loaded, the default one first."""
    roles = {parent.role for parent in manifest.parents}
    match manifest.kind:
        case "reward_model":
            return ("score",)
        case "discriminator":
            return outputs_on(networks_of(manifest.details), policy_known="policy" in roles)
        case "policy":
            return COMPARED_OUTPUTS if "reference" in roles else POLICY_OUTPUTS


def controls_of(manifest: Manifest) -> tuple[str, ...]:
    """Names of further scores: what networks like the artifact's give that nobody trained."""
    trained = manifest.kind == "discriminator" and not networks_of(manifest.details)[0].startswith(RANDOM)
    return UNTRAINED if trained else ()


def scorer_info(artifact: Artifact, *, loaded: bool, alias: str | None = None) -> ScorerInfo:
    """Describe an artifact as a scorer without loading it."""
    manifest = artifact.manifest
    return ScorerInfo(
        name=manifest.name,
        version=manifest.version,
        alias=alias,
        kind=manifest.kind,
        outputs=outputs_of(manifest),
        controls=controls_of(manifest),
        orientation=str(manifest.details.get("orientation", "higher_is_better")),
        template_hash=str(manifest.details.get("template_hash", "")),
        max_tokens=int(manifest.details.get("max_tokens", 0)),
        calibration=manifest.details.get("calibration"),
        pointwise=pointwise(manifest),
        contrasts=contrasts(manifest),
        prefer=_prefer(manifest),
        parents=tuple(manifest.parents),
        loaded=loaded,
    )


def _prefer(manifest: Manifest) -> str | None:
    """Of GAPO's policy and live reward model, the anchor; of one published on the way, what the anchor is to be."""
    if manifest.details.get("serve_by_default"):
        return None
    by_role = {parent.role: f"{parent.name}@{parent.version}" for parent in manifest.parents}
    return by_role.get("anchor") or by_role.get("warm_up")
