"""Times, sizes and counts as people read them, the same on the command line and on pages."""

from datetime import UTC, datetime


def exact(number: float) -> str:
    """The shortest decimal that is read as this very number: for addresses and forms."""
    return repr(number).removesuffix(".0")


def ago(moment: datetime) -> str:
    """How long ago something happened, to the precision a reader wants."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"


def duration(seconds: float) -> str:
    """A span of time in its largest unit, or in two where the second still matters."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" if whole >= 600 or whole % 60 == 0 else f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h" if whole % 3600 < 60 else f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d"


def size(count: int) -> str:
    """Bytes in the largest decimal unit."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def count(amount: int, thing: str) -> str:
    """``1 prompt``, ``1,024 prompts``"""
    return f"{amount:,} {thing}{'' if amount == 1 else 's'}"
