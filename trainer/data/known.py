"""Data sets on the hub that ready recipes name, so that a plan can be checked without fetching anything."""

from dataclasses import dataclass
from typing import Any

from trainer.data.tables import Row


@dataclass(frozen=True)
class KnownData:
    """What a data set's card says."""

    rows: dict[str, int]
    """Per split."""
    example: Row
    """A row of our own in its layout, to see that it can be read."""


def known_data(hub_id: str) -> KnownData | None:
    """Facts about ``hub_id``; None if it is not known here."""
    chosen = [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]
    rejected = [chosen[0], {"role": "assistant", "content": "5"}]
    match hub_id:
        case "trl-lib/ultrafeedback_binarized":
            content = {"chosen": chosen, "rejected": rejected, "score_chosen": 8.0, "score_rejected": 5.0}
            return KnownData({"train": 62_135}, _example(hub_id, content))
        case "princeton-nlp/llama3-ultrafeedback-armorm":
            content = {
                "prompt_id": "0",
                "prompt": "What is 2 + 2?",
                "all_generated_responses": ["4", "5"],
                "all_rm_scores": [0.2, 0.1],
                "chosen": chosen,
                "rejected": rejected,
            }
            return KnownData({"train": 59_876}, _example(hub_id, content))
    return None


def _example(hub_id: str, content: dict[str, Any]) -> Row:
    return Row(f"{hub_id}, its layout as known here", content)
