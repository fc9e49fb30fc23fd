"""Who is trusted to judge responses. Adding an oracle is a file and a line here."""

from typing import Annotated

from pydantic import Field

from evaluation.oracles.ifeval import IFEvalOracle
from evaluation.oracles.llm_judge import LLMJudgeOracle
from evaluation.oracles.product_world import ProductWorldOracle
from evaluation.oracles.recorded import RecordedOracle
from evaluation.oracles.reward_model import RewardModelOracle

AnyOracle = Annotated[
    ProductWorldOracle | RewardModelOracle | RecordedOracle | LLMJudgeOracle | IFEvalOracle,
    Field(discriminator="kind"),
]
