"""The loop: exact accumulation, resume equal to uninterrupted, clear ends."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainer.artifacts import ArtifactStore
from trainer.checkpoints import Checkpoints
from trainer.errors import RunFailed, Stopped
from trainer.loop import BatchSettings, CheckpointSettings, Learner, Schedule, optimise
from trainer.recipe import Run
from trainer.reporting import STOP_FILE, Reporter, read_events
from trainer.schedule import OptimizerSettings


class Regression(Learner[tuple[float, float, float]]):
    """Weighted least squares on one parameter: rows are (x, y, weight)."""

    def __init__(
        self, explode_at: int | None = None, stop_at: int | None = None, directory: Path | None = None
    ) -> None:
        torch.manual_seed(0)
        self.trained: nn.Module = nn.Linear(1, 1)
        self.calls = 0
        self.noise: list[float] = []
        self.explode_at, self.stop_at, self.directory = explode_at, stop_at, directory

    def weight(self, row: tuple[float, float, float]) -> float:
        return row[2]

    def backward(self, rows: Sequence[tuple[float, float, float]], share: float, *, last: bool) -> dict[str, float]:
        self.calls += 1
        if self.calls == self.stop_at and self.directory is not None:
            (self.directory / STOP_FILE).touch()
        self.noise.append(float(torch.rand(())))
        x, y, w = torch.tensor(rows).unbind(dim=1)
        loss = (w * (self.trained(x[:, None])[:, 0] - y) ** 2).sum() / w.sum()
        if self.calls == self.explode_at:
            loss = loss * float("nan")
        (share * loss).backward()  # type: ignore[no-untyped-call]
        return {"loss": float(loss.detach())}

    def state(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def restore(self, state: dict[str, Any]) -> None:
        self.calls = state["calls"]


ROWS = [(float(i % 7), 2.0 * (i % 7) + 1.0, 1.0 + i % 3) for i in range(40)]


def train(learner: Regression, directory: Path, *, micro: int | None = None, steps: int = 8, every: int = 3) -> int:
    with Reporter(directory, quiet=True) as reporter:
        return optimise(
            learner,
            ROWS,
            [1] * len(ROWS),
            optimizer=OptimizerSettings(learning_rate=0.1),
            batch=BatchSettings(size=12, micro=micro),
            duration=Schedule(max_steps=steps),
            checkpoint=CheckpointSettings(every_steps=every),
            seed=0,
            run=Run("job_1", directory, ArtifactStore(directory / "artifacts"), reporter),
        )


def weights(learner: Regression) -> list[float]:
    return [float(value) for parameter in learner.trained.parameters() for value in parameter.detach().flatten()]


@pytest.mark.parametrize("micro", [1, 5, 12])
def test_accumulation_is_exact_for_rows_of_unequal_weight(tmp_path: Path, micro: int) -> None:
    whole, parts = Regression(), Regression()
    train(whole, tmp_path / "whole")
    train(parts, tmp_path / "parts", micro=micro)
    assert weights(parts) == pytest.approx(weights(whole), abs=1e-6)


def test_a_stopped_run_resumes_to_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    straight = Regression()
    train(straight, tmp_path / "straight")
    stopped = Regression(stop_at=5, directory=tmp_path / "stopped")
    with pytest.raises(Stopped, match="after step 5 of 8"):
        train(stopped, tmp_path / "stopped")
    (tmp_path / "stopped" / STOP_FILE).unlink()
    resumed = Regression()
    train(resumed, tmp_path / "stopped")
    assert weights(resumed) == weights(straight)
    assert resumed.calls == straight.calls
    assert resumed.noise == straight.noise[5:]


def test_a_run_killed_between_checkpoints_repeats_the_lost_steps(tmp_path: Path) -> None:
    straight, killed = Regression(), Regression(explode_at=8)
    train(straight, tmp_path / "straight")
    with pytest.raises(RunFailed):
        train(killed, tmp_path / "killed")
    resumed = Regression()
    train(resumed, tmp_path / "killed")
    assert weights(resumed) == weights(straight)


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"the loss is nan at step 5; lower optimizer\.learning_rate .*step 3"):
        train(Regression(explode_at=5), tmp_path)
    state = Checkpoints(tmp_path).latest()
    assert state is not None
    assert state["step"] == 3


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(tmp_path: Path) -> None:
    class Cliff(Regression):
        """A finite loss with an infinite slope, as sqrt has at 0."""

        def backward(self, rows: Sequence[tuple[float, float, float]], share: float, *, last: bool) -> dict[str, float]:
            metrics = super().backward(rows, share, last=last)
            if self.calls == 5:
                torch.sqrt(0 * sum(p.sum() for p in self.trained.parameters())).backward()
            return metrics

    learner = Cliff()
    with pytest.raises(RunFailed, match=r"the gradient's norm is nan at step 5; .*step 3"):
        train(learner, tmp_path)
    assert torch.isfinite(torch.tensor(weights(learner))).all()


def test_progress_and_metrics_are_recorded(tmp_path: Path) -> None:
    train(Regression(), tmp_path)
    events = read_events(tmp_path)
    assert [event["step"] for event in events if event["type"] == "metrics"] == list(range(1, 9))
    assert {"loss", "grad_norm", "learning_rate", "step_seconds"} <= events[0]["values"].keys()
    assert events[-1]["type"] == "progress"
    assert (events[-1]["done"], events[-1]["total"]) == (8, 8)


def test_the_two_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, {"step": step})
    assert sorted(path.name for path in checkpoints.directory.iterdir()) == ["step-00000002", "step-00000003"]


def test_what_a_kill_left_of_removed_checkpoints_is_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, {"step": step})
    (checkpoints.directory / "step-00000002" / "state.pt").unlink()
    assert checkpoints.latest() == {"step": 1}
    (checkpoints.directory / "step-00000001" / "state.pt").unlink()
    assert checkpoints.latest() is None
