"""The picture of sharing: which bundles have which layers, as far as more than one has them. Pure geometry."""

from __future__ import annotations

from typing import NamedTuple

from c2wtasks.page.model import Contents, Layer
from c2wtasks.telling.sizes import human

COLUMNS, ROWS = 40, 40
"""The most that are drawn."""
_CELL, _STEP = 14, 20  # pixels
_LABELS = 250
_BARS = 60
_LABEL = 34  # characters


class Bar(NamedTuple):
    """Above a column: how large its layer is."""

    x: int
    y: int
    width: int
    height: int
    title: str


class Row(NamedTuple):
    """Bundles that have the same of these layers: the first one, how many `more`, and the places of filled cells."""

    y: int
    label: str
    more: int
    cells: tuple[int, ...]


class Picture(NamedTuple):
    """Sizes in pixels; `layers` are those of the columns, `more_columns` and `more_rows` how many are left out."""

    width: int
    height: int
    cell: int
    bars: tuple[Bar, ...]
    rows: tuple[Row, ...]
    layers: tuple[Layer, ...]
    more_columns: int
    more_rows: int


def picture(contents: Contents) -> Picture | None:
    """What is to be drawn; None where no two bundles share a layer."""
    layers = contents.layers
    shared = [number for number, layer in enumerate(layers) if layer.users > 1]
    if not shared:
        return None
    shared.sort(key=lambda number: (-(layers[number].size or 0) * (layers[number].users - 1), layers[number].id))
    shown = {number: column for column, number in enumerate(shared[:COLUMNS])}
    sets: dict[tuple[int, ...], list[str]] = {}
    for bundle in contents.bundles:
        columns = tuple(sorted(shown[number] for number in set(bundle.layers) if number in shown))
        if columns:
            sets.setdefault(columns, []).append(f"{bundle.name}@{bundle.platform}")
    most = sorted(sets, key=lambda columns: (-len(sets[columns]), columns))[:ROWS]
    rows = tuple(_row(at, sets[columns], columns) for at, columns in enumerate(sorted(most)))
    drawn = tuple(layers[number] for number in shown)
    largest = max(layer.size or 0 for layer in drawn) or 1
    return Picture(
        width=_LABELS + len(drawn) * _STEP,
        height=_BARS + 10 + len(rows) * _STEP,
        cell=_CELL,
        bars=tuple(_bar(at, layer, largest) for at, layer in enumerate(drawn)),
        rows=rows,
        layers=drawn,
        more_columns=len(shared) - len(drawn),
        more_rows=len(sets) - len(rows),
    )


def _row(at: int, bundles: list[str], columns: tuple[int, ...]) -> Row:
    first = bundles[0] if len(bundles[0]) <= _LABEL else f"{bundles[0][: _LABEL - 1]}…"
    return Row(_BARS + 10 + at * _STEP, first, len(bundles) - 1, tuple(_LABELS + one * _STEP for one in columns))


def _bar(at: int, layer: Layer, largest: int) -> Bar:
    height = max(2, round(_BARS * (layer.size or 0) / largest))
    size = human(layer.size) if layer.size is not None else "size not known"
    title = f"{layer.id.rpartition(':')[2][:12]}: {size}, in {layer.users} bundles"
    return Bar(_LABELS + at * _STEP, _BARS - height, _CELL, height, title)
