"""Three ways to keep the initial policy say the same of it, and carry no gradient."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from trainer.artifacts import ArtifactStore
from trainer.data.sources import ProductWorldData
from trainer.data.text import Encoded
from trainer.errors import Stopped, StorageFailure
from trainer.models.latents import MaskChoice
from trainer.models.lora import LoRA
from trainer.models.policy import PairBatch, Policy, collate
from trainer.models.precomputed_reference import CHUNK, PrecomputedReference
from trainer.models.reference import AdaptersOff, AdaptersOffPolicy, FrozenCopy, Reference, ReferenceView
from trainer.models.starting_point import Scratch, TrainedPolicy
from trainer.recipe import Run
from trainer.reporting import STOP_FILE, read_events

DATA = ProductWorldData(kind="product_world", size=20)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """With adapters that change nothing yet."""
    origin = TrainedPolicy(scratch=Scratch(hidden_size=32, layers=2, heads=2), lora=LoRA(rank=4))
    return origin.open(ArtifactStore(tmp_path / "artifacts"), seed=0)[0]


@pytest.fixture
def rows(policy: Policy) -> list[Encoded]:
    return [policy.encode(side.prompt, side.response) for row in DATA.preferences() for side in row.sides]


def move(policy: Policy) -> None:
    """Adapters as if trained."""
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()


def assert_same_view(some: ReferenceView, other: ReferenceView, tolerance: float = 1e-5) -> None:
    assert some.logps is not None
    assert some.latents is not None
    assert other.latents is not None
    torch.testing.assert_close(some.logps, other.logps, atol=tolerance, rtol=tolerance)
    assert torch.equal(some.latents.mask, other.latents.mask)
    assert not some.logps.requires_grad
    assert not some.latents.hidden_states.requires_grad
    mask = some.latents.mask
    torch.testing.assert_close(
        some.latents.hidden_states[mask], other.latents.hidden_states[mask], atol=tolerance, rtol=tolerance
    )


@pytest.mark.parametrize("mask", ["response", "prompt_and_response"])
def test_a_copy_adapters_switched_off_and_files_agree(
    mask: MaskChoice, policy: Policy, rows: list[Encoded], run: Run
) -> None:
    stored = PrecomputedReference(run.directory / "reference", policy, rows, rows, mask, torch.float32)
    stored.fill(AdaptersOff(policy), run)
    copied = FrozenCopy(policy)
    move(policy)
    policy.network.train()
    some = rows[3:9]
    batch = collate(some, policy.pad_id)
    expected = copied(some, batch, logps=True, latents=mask)
    moved = policy.logps(batch).sum(dim=1).detach()
    assert (expected.logps - moved).abs().min() > 0.1  # the policy says something else by now
    assert_same_view(AdaptersOff(policy)(some, batch, logps=True, latents=mask), expected)
    assert_same_view(stored(some, batch, logps=True, latents=mask), expected)
    assert policy.model.training
    torch.testing.assert_close(AdaptersOffPolicy(policy).logps(batch).sum(dim=1).detach(), expected.logps)


def test_without_logps_adapters_off_computes_no_logits(policy: Policy, rows: list[Encoded]) -> None:
    seen: list[int] = []
    network = policy.network
    original = network.logps
    network.logps = lambda hidden, batch: (seen.append(int(batch.response_mask.sum())), original(hidden, batch))[1]  # type: ignore[method-assign]
    view = AdaptersOff(policy)(rows[:2], collate(rows[:2], policy.pad_id), logps=False, latents="response")
    assert seen == [0]
    assert view.logps is None
    assert view.latents is not None
    assert view.latents.hidden_states.shape[1] == max(row.tokens - row.response_start for row in rows[:2])


def test_a_copy_in_half_precision_takes_half_the_memory(policy: Policy, rows: list[Encoded], run: Run) -> None:
    exact, half = FrozenCopy(policy), FrozenCopy(policy, torch.bfloat16)
    assert {parameter.dtype for parameter in half.policy.model.parameters()} == {torch.bfloat16}
    assert not any(parameter.requires_grad for parameter in half.policy.model.parameters())
    batch = collate(rows[:4], policy.pad_id)
    rough, fine = (each(rows[:4], batch, logps=True, latents="response") for each in (half, exact))
    assert rough.logps is not None
    torch.testing.assert_close(rough.logps, fine.logps, atol=0.5, rtol=1e-2)
    stored = PrecomputedReference(run.directory / "reference", policy, rows[:4], rows[:4], "response", torch.bfloat16)
    stored.fill(half, run)
    view = stored(rows[:4], batch, logps=True, latents="response")
    assert view.latents is not None
    assert view.latents.hidden_states.dtype == torch.bfloat16
    assert_same_view(view, rough, tolerance=1e-2)


def test_a_copy_in_half_precision_knows_positions_as_exactly_as_its_model(policy: Policy) -> None:
    """Frequencies rounded to bfloat16 would be off by up to 2^-9, at position 2,000 by several radians."""
    half = dict(FrozenCopy(policy, torch.bfloat16).policy.model.named_buffers())
    assert any("inv_freq" in name for name in half)
    for name, buffer in policy.model.named_buffers():
        assert torch.equal(half[name], buffer), name


class Counting(Reference):
    """The texts asked of the reference behind it; asks to stop after ``stop_after`` calls."""

    def __init__(self, reference: Reference, run: Run, stop_after: int | None = None) -> None:
        self.reference, self.run, self.stop_after = reference, run, stop_after
        self.calls: list[int] = []

    def __call__(
        self, rows: Sequence[Encoded], batch: PairBatch, *, logps: bool, latents: MaskChoice | None
    ) -> ReferenceView:
        self.calls.append(len(rows))
        if len(self.calls) == self.stop_after:
            (self.run.directory / STOP_FILE).touch()
        return self.reference(rows, batch, logps=logps, latents=latents)


def test_files_interrupted_are_continued_where_they_were_and_never_computed_twice(
    policy: Policy, rows: list[Encoded], run: Run
) -> None:
    def store(name: str) -> PrecomputedReference:
        return PrecomputedReference(run.directory / name, policy, rows, rows[:20], "response", torch.float32)

    whole = store("whole")
    whole.fill(FrozenCopy(policy), run)
    assert len(whole.texts) == 40
    first = Counting(FrozenCopy(policy), run, stop_after=1)
    with pytest.raises(Stopped, match="continues from there"):
        store("parts").fill(first, run)
    (run.directory / STOP_FILE).unlink()
    second, third = (Counting(FrozenCopy(policy), run) for _ in range(2))
    store("parts").fill(second, run)
    store("parts").fill(third, run)
    assert (first.calls, second.calls, third.calls) == ([CHUNK], [CHUNK, 40 - 2 * CHUNK], [])
    for name in ("logps", "latents", "done"):
        assert (run.directory / "parts" / name).read_bytes() == (run.directory / "whole" / name).read_bytes()


def test_files_about_other_texts_are_not_believed(policy: Policy, rows: list[Encoded], run: Run) -> None:
    for some in (rows[:4], rows[4:8]):
        stored = PrecomputedReference(run.directory / "reference", policy, some, some, "response", torch.float32)
        stored.fill(FrozenCopy(policy), run)
    batch = collate(rows[4:8], policy.pad_id)
    asked = {"logps": True, "latents": "response"}
    assert_same_view(stored(rows[4:8], batch, **asked), FrozenCopy(policy)(rows[4:8], batch, **asked))  # type: ignore[arg-type]


def test_what_the_files_take_is_said_before_they_are_made(policy: Policy, rows: list[Encoded], run: Run) -> None:
    """Ten different texts of known response lengths, each once; two of them with latents."""
    stored = PrecomputedReference(
        run.directory / "reference", policy, [*rows[:10], *rows[:10]], rows[:2], "response", torch.bfloat16
    )
    tokens = sum(row.tokens - row.response_start for row in rows[:2])
    assert stored.bytes == 10 * 4 + tokens * 32 * 2
    stored.fill(FrozenCopy(policy, torch.bfloat16), run)
    sizes = {path.name: path.stat().st_size for path in (run.directory / "reference").iterdir()}
    assert sizes["logps"] + sizes["latents"] == stored.bytes
    messages = [event["text"] for event in read_events(run.directory) if event["type"] == "message"]
    assert any(f"10 texts take {stored.bytes:,} bytes" in message for message in messages)


def test_a_place_that_cannot_be_written_is_said_so(policy: Policy, rows: list[Encoded], run: Run) -> None:
    (run.directory / "file").write_text("in the way")
    stored = PrecomputedReference(run.directory / "file" / "reference", policy, rows, [], None, torch.float32)
    with pytest.raises(StorageFailure, match="cannot write"):
        stored.fill(FrozenCopy(policy), run)
