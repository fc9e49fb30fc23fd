"""A dry run's findings for people to read."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from trainer.dry_run.check import DryRun
from trainer.dry_run.memory import MemoryEstimate

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


def _gib(size: int) -> str:
    if size < _GIB:
        return f"{size / 2**20:,.0f} MiB"
    return f"{size / _GIB:,.1f} GiB"
