"""The lines of `doit list`, one a bundle; without doit, as a seal may tell that all are current."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from c2wtasks.disk import safely
from c2wtasks.output import listing, times
from c2wtasks.output.places import PARTS, RECORD, Places
from c2wtasks.telling.sizes import human

_AGES = ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Row(msgspec.Struct, frozen=True):
    """One bundle. `state`: current; stale, a run would build it; failed, the last run did; missing, there is none;
    unknown, where only a registry could tell. `published` is when it was published, or null; `bytes` are those of its
    files."""

    image: str
    platform: str
    state: str
    published: datetime | None
    bytes: int | None


def of_current(output: str, bundles: Iterable[str]) -> Iterator[Row]:
    """The bundles of these names, which are all current, by catalog.json in the folder `output`.

    Raises OSError, ValueError: it does not say so.
    """
    catalog = safely.read(f"{output}/{listing.CATALOG}", listing.MAX_SIZE)
    known = {f"{line.name}@{line.platform}": line for line in listing.lines(catalog)}
    for bundle in bundles:
        line = known.get(bundle)
        if line is None or line.status != "built" or line.bundle is None:
            raise ValueError(bundle)
        places = Places(f"{output}/{line.path}", f"{output}/{PARTS}/{line.path}")
        yield Row(line.name, line.platform, "current", published_at(places), line.bundle.size)


def published_at(places: Places) -> datetime | None:
    """When what the bundle holds was published, by its bundle.json, of which the mtime is noted; where none is, since
    when its folder is as it is; None where there is none."""
    try:
        with safely.folder(places.published) as folder:
            changed = os.fstat(folder).st_ctime_ns  # its mtime is what the image says
    except OSError:
        return None
    return datetime.fromtimestamp(times.noted(places.times).get(RECORD, changed) // 1_000_000_000, UTC)


def as_json(found: Sequence[Row]) -> str:
    """The rows as one line of JSON."""
    return msgspec.json.encode({"bundles": found}).decode()


def lines(found: Iterable[Row]) -> Iterator[str]:
    """The rows as a table, line by line. Pure, but for the clock."""
    cells = [("IMAGE", "PLATFORM", "STATE", "AGE", "SIZE")]
    cells += [
        (row.image, row.platform, row.state, _age(row.published), "-" if row.bytes is None else human(row.bytes))
        for row in found
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _age(published: datetime | None) -> str:
    if published is None:
        return "-"
    seconds = max(0, int(time.time() - published.timestamp()))
    return next((f"{seconds // length} {unit}" for length, unit in _AGES if seconds >= length), "0 s")
