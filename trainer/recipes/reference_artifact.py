"""A reference policy as an artifact, so that what is trained on it can name it."""

from collections.abc import Sequence

from trainer.data.rows import Pair, Preference
from trainer.manifest import Artifact
from trainer.models.loading import make_probes
from trainer.models.policy import Policy
from trainer.models.policy_scorer import PolicyScorer
from trainer.recipe import Run
from trainer.recipes.publishing import PublishingRecipe


def publish_reference(
    recipe: PublishingRecipe, policy: Policy, rows: Sequence[Pair | Preference], run: Run
) -> Artifact:
    """Publish a policy that came from elsewhere as ``NAME/reference``."""
    return recipe.publish(
        run,
        f"{recipe.name}/reference",
        "policy",
        policy.save,
        rows=rows,
        metrics={},
        details=policy.details(),
        probes=make_probes(PolicyScorer(policy), [row if isinstance(row, Pair) else row.sides[0] for row in rows]),
        parents=[],
    )
