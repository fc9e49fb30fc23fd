"""What routes and pages do to move an alias: check the version first, then point at it."""

from starlette.datastructures import State

from service.db import aliases
from service.db.aliases import AliasRecord
from service.scoring import ScoringService


def point_alias(state: State, aliased: str, version: int) -> AliasRecord:
    """Have ``NAME@ALIAS`` mean ``version``, which is loaded and whose probe pairs are scored again before.

    Raises InvalidInput for what is no alias, NotFound for a version that does not exist, BrokenArtifact for one that
    scores otherwise than when it was published; the alias then stays where it was.
    """
    service: ScoringService = state.scoring
    name, alias = aliases.split_alias(aliased)
    found = service.artifacts.open(f"{name}@{version}")
    service.opened().load(found.reference, pin=False)
    return aliases.point(state.sessions, found, alias)
