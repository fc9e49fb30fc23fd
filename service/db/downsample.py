"""Thin a curve for a screen without inventing or hiding anything."""

from collections.abc import Sequence

Point = tuple[int, float]


def downsample(points: Sequence[Point], max_points: int) -> list[Point]:
    """At most ``max_points`` (two or more) of ``points``, which are sorted by step.

    Largest triangle, three buckets (Steinarsson 2013): the first and last point stay, and of each bucket between
    the point that spans the largest triangle with the point kept before and the mean of the bucket after. Peaks
    survive, and every point shown was measured.
    """
    if len(points) <= max_points:
        return list(points)
    kept = [points[0]]
    buckets = max_points - 2
    # bucket b holds the inner points edges[b]..edges[b + 1]; the last point is a bucket of its own
    edges = [1 + b * (len(points) - 2) // buckets for b in range(buckets)] if buckets else []
    edges += [len(points) - 1, len(points)]
    for start, end, after in zip(edges, edges[1:], edges[2:], strict=False):
        mean_step = sum(step for step, _ in points[end:after]) / (after - end)
        mean_value = sum(value for _, value in points[end:after]) / (after - end)
        kept.append(max(points[start:end], key=lambda point: _triangle(kept[-1], point, (mean_step, mean_value))))
    kept.append(points[-1])
    return kept


def _triangle(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Twice the area of a triangle."""
    return abs((a[0] - c[0]) * (b[1] - a[1]) - (a[0] - b[0]) * (c[1] - a[1]))
