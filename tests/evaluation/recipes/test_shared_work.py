"""A stress test whose shards are done by others, who come and go, leaves the rows of one that did them itself."""

import json
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evaluation.recipes import parse_recipe, stress_test
from evaluation.workers import Found, Shard, Work
from trainer.artifacts import ArtifactStore
from trainer.run import run_recipe

RECIPE: dict[str, Any] = {
    "kind": "stress_test",
    "name": "shared",
    "policy": {"path": "policy"},
    "prompts": {"kind": "product_world", "limit": 34},
    "temperatures": [0, 1.0, 2.0],
    "responses_per_prompt": 20,
    "max_response_tokens": 4,
    "scorers": ["rm", "policy/discriminator:difference"],
    "oracles": [{"kind": "product_world"}, {"kind": "reward_model", "path": "policy/discriminator"}],
    "bootstrap": {"draws": 100},
}
STORED = ("prompts.jsonl", "responses.jsonl", "scores.jsonl")


class OthersWhoComeAndGo:
    """Everything travels by pickle; shards are done last first; every other worker is lost after its first find."""

    def __init__(self) -> None:
        self.shards: list[int] = []
        self.losses = 0

    def over(self, shards: Iterable[Shard], work: Work[Shard, Found]) -> Iterator[Found | None]:
        left = list(shards)
        self.shards.append(len(left))
        doomed = True
        while left:
            with pickle.loads(pickle.dumps(work)).begin() as do:
                for found in do(pickle.loads(pickle.dumps(left[-1]))):
                    yield pickle.loads(pickle.dumps(found))
                    if doomed:
                        break
                else:
                    left.pop()
            self.losses += doomed
            doomed = not doomed
            yield None


def test_others_find_the_same_rows_bit_by_bit_however_many_are_lost(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run_recipe(parse_recipe(RECIPE), tmp_path / "alone", store, quiet=True)
    others = OthersWhoComeAndGo()

    @contextmanager
    def open_workers(*_: object) -> Iterator[OthersWhoComeAndGo]:
        yield others

    monkeypatch.setattr(stress_test, "open_workers", open_workers)
    assert run_recipe(parse_recipe(RECIPE), tmp_path / "shared", store, quiet=True) == expected

    # 34 prompts of 41 rows are 2 batches of at most 1,280, and 1,394 responses 3 batches of at most 512
    assert others.shards == [2, 3, 3]
    assert others.losses == 8
    for name in STORED:
        assert lines(tmp_path / "shared" / name) == lines(tmp_path / "alone" / name)


def lines(path: Path) -> list[str]:
    return sorted(path.read_text().splitlines())


def test_where_the_work_is_done_is_no_part_of_what_it_is() -> None:
    alone = parse_recipe(RECIPE)
    shared = parse_recipe({**RECIPE, "launch": {"executor": {"ray_workers": 4, "gpus_per_worker": 0.25}}})

    assert shared.digest() == alone.digest()
    assert json.loads(shared.model_dump_json())["launch"]["executor"] == {
        "ray_workers": 4,
        "cpus_per_worker": 1.0,
        "gpus_per_worker": 0.25,
    }
