"""A dry run's findings for people to read."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from trainer.dry_run.check import DryRun
from trainer.dry_run.memory import MemoryEstimate
from trainer.dry_run.rounds import RoundsMemory

_GIB = 2**30


def print_dry_run(report: DryRun, console: Console) -> None:
    """Facts line by line, then memory part by part."""
    for name, value in _facts(report):
        console.print(f"{name:<10}{value}", soft_wrap=True)
    if report.memory:
        console.print()
        console.print(_memory_table(report))
        plan = report.memory[0]
        console.print(
            f"activations: {_gib(plan.activations_kept)} kept, {_gib(plan.activations_recomputed)} with"
            " gradient_checkpointing",
            soft_wrap=True,
        )
    if report.rounds_memory:
        console.print()
        console.print(_rounds_table(report.rounds_memory))
        console.print(_sampling(report.rounds_memory), soft_wrap=True)
    for sentence in report.unchecked:
        console.print(f"not checked: {sentence}", soft_wrap=True)


def _facts(report: DryRun) -> Iterator[tuple[str, str]]:
    yield "recipe", f"{report.kind} {report.name}"
    if report.data is not None:
        held_out = "" if not report.data.held_out_rows else f", {report.data.held_out_rows:,} held out"
        rows = "rows unknown" if report.data.rows is None else f"{report.data.rows:,} rows {report.data.found}"
        yield "data", f"{report.data.place}: {rows}{held_out}"
    if report.steps is not None:
        yield "steps", f"{report.steps:,} of {report.batch_size} rows, {report.rows_per_pass} at once on each process"
    if report.rounds is not None:
        rounds = report.rounds
        different = "" if rounds.prompts is None else f" to {rounds.prompts:,} different prompts"
        yield "rounds", f"{rounds.rounds:,} of {rounds.rollouts:,} responses{different}, {report.rows_per_pass} at once"
        yield "tokens", f"at most {rounds.response_tokens:,} sampled in a round"
        warm_up = f" ({rounds.warm_up_steps:,} before the rounds)" if rounds.warm_up_steps is not None else ""
        yield "steps", f"{rounds.policy_updates:,} of the policy, {rounds.reward_model_steps:,} of the scorer{warm_up}"
    if report.network is not None:
        network = report.network
        trained = "all" if network.trained == network.parameters else f"{network.trained:,}"
        yield (
            "network",
            f"{network.origin} ({network.architecture}): {network.parameters:,} parameters, {trained} trained",
        )


def _memory_table(report: DryRun) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("memory per process")
    for plan in report.memory:
        spread = f"sharded over {plan.processes} (FSDP)" if plan.sharded else "replicated"
        table.add_column(spread if plan.processes > 1 else "on one", justify="right")
    for part in MemoryEstimate.model_fields:
        table.add_row(part, *(_gib(getattr(plan.estimate, part)) for plan in report.memory))
    table.add_row("together", *(_gib(plan.total) for plan in report.memory))
    return table


def _rounds_table(memory: RoundsMemory) -> Table:
    table = Table("memory", box=None, pad_edge=False, header_style="bold")
    table.add_column("all the time", justify="right")
    table.add_column("one after the other", justify="right")
    for part in ("policy", "critic", "reference", "reward_model", "anchor"):
        table.add_row(part, _gib(getattr(memory, part)), "")
    for part in ("sampling", "learning", "teaching"):
        table.add_row(part, "", _gib(getattr(memory, part)))
    table.add_row("together", "", _gib(memory.total))
    return table


def _sampling(memory: RoundsMemory) -> str:
    more = f"each further rollout decoded at the same time: {_gib(memory.rollout)}, up to {memory.rollouts_at_once}"
    warm_up = f"; the warm-up by itself, before: {_gib(memory.warm_up)}" if memory.warm_up else ""
    return f"{more} as memory allows{warm_up}"


def _gib(size: int) -> str:
    if size < _GIB:
        return f"{size / 2**20:,.0f} MiB"
    return f"{size / _GIB:,.1f} GiB"
