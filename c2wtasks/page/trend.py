"""How a size went over time, as the line of a small picture (an SVG path in 640 x 160)."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 640, 160
_EDGE = 20
_LEAST = 0.1  # of the largest size: a line that goes over all of the height tells of as large a change, at least


def line(points: Sequence[tuple[float, int]]) -> str:
    """The path of a line through steps: from each of the points, (0 to 1, a size), it goes on to the next one's
    place, and the last one's size goes on to the end. "" where no two sizes differ."""
    sizes = [size for _, size in points]
    if len(set(sizes)) < 2:
        return ""
    largest = max(sizes)
    span = max(largest - min(sizes), largest * _LEAST)
    wide, high = WIDTH - 2 * _EDGE, (HEIGHT - 2 * _EDGE) / span
    path, before = "", -1
    for at, size in points:
        x, y = int(_EDGE + at * wide), int(_EDGE + (largest - size) * high)
        if y != before:
            path += f"H{x}V{y}" if path else f"M{x} {y}"
            before = y
    return f"{path}H{WIDTH - _EDGE}"
