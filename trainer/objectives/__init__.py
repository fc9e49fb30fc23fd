"""Preference objectives: formula files under one contract, each a frozen configuration that is also the formula."""

from typing import Annotated

from pydantic import Field

from trainer.objectives.dpo import DPO
from trainer.objectives.simpo import SimPO

__all__ = ["DPO", "PreferenceObjective", "SimPO"]

PreferenceObjective = Annotated[DPO | SimPO, Field(discriminator="kind")]
