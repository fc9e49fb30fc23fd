"""Preference objectives: formula files under one contract, each a frozen configuration that is also the formula."""

from typing import Annotated

from pydantic import Field

from trainer.objectives.dpo import DPO
from trainer.objectives.ipo import IPO
from trainer.objectives.kto import KTO
from trainer.objectives.orpo import ORPO
from trainer.objectives.simpo import SimPO

__all__ = ["DPO", "IPO", "KTO", "ORPO", "PreferenceObjective", "SimPO"]

PreferenceObjective = Annotated[DPO | SimPO | IPO | KTO | ORPO, Field(discriminator="kind")]
