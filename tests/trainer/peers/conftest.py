"""TRL's trainers beside our policies: the same weights, the same rows, each with its own tokenisation and loss."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from trainer.artifacts import ArtifactStore
from trainer.data.rows import Preference
from trainer.data.sources import ProductWorldData
from trainer.data.text import as_messages
from trainer.models.policy import Policy
from trainer.models.starting_point import PolicyOrigin, Scratch

Tell = Callable[[Sequence[Preference]], Any]
SHAPE = Scratch(hidden_size=32, layers=2, heads=2, max_tokens=128)


def scratch(seed: int, directory: Path) -> Policy:
    policy, _ = PolicyOrigin(scratch=SHAPE).open(ArtifactStore(directory / "artifacts"), seed)
    return policy


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return scratch(1, tmp_path)


@pytest.fixture
def reference(tmp_path: Path) -> Policy:
    """Other weights than the policy's: log-ratios are far from zero."""
    return scratch(0, tmp_path)


@pytest.fixture(scope="session")
def data() -> ProductWorldData:
    return ProductWorldData(kind="product_world", size=8, validation_size=8)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Arguments of every TRL trainer: float32 on the CPU, nothing logged, nothing cut off."""
    return {
        "output_dir": str(tmp_path / "trl"),
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "max_length": 512,
        "disable_tqdm": True,
        "activation_checkpointing": False,
    }


@pytest.fixture
def tell() -> Tell:
    """Makes of preferences the data set of conversations that TRL reads."""
    from datasets import Dataset

    def conversations(rows: Sequence[Preference]) -> Any:
        told = []
        for row in rows:
            chosen, rejected = row.sides
            answers = [[{"role": "assistant", "content": side.response}] for side in (chosen, rejected)]
            told.append({"prompt": as_messages(chosen.prompt), "chosen": answers[0], "rejected": answers[1]})
        return Dataset.from_list(told)

    return conversations
