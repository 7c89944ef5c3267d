"""What `doit list` shows of bundles: a line each, with what became of it, since when and how large it is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.commands.base import chosen, stale_tasks
from c2wtasks.commands.why import causes_of
from c2wtasks.disk import safely
from c2wtasks.graph.hooks import GraphHooks
from c2wtasks.output import listing, record
from c2wtasks.output.places import Places
from c2wtasks.sizes import human
from c2wtasks.tasks import catalog

_AGES = ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Row(msgspec.Struct, frozen=True):
    """One bundle. `state`: current; stale, a run would build it; failed, the last run did; missing, there is none.
    `published` is when it was, or null; `bytes` are those of its files."""

    image: str
    platform: str
    state: str
    published: datetime | None
    bytes: int | None


def rows(command: Any, hooks: GraphHooks, words: Sequence[str]) -> list[Row]:
    """The bundles that `words` name; all, where there are none.

    Raises InvalidCommand: one names none.
    """
    graph = hooks.graph
    bundles = chosen(hooks, words) if words else graph.file.bundles
    command.sel_tasks = [f"bundle:{bundle}" for bundle in bundles]
    stale, _ = stale_tasks(command, hooks)
    not_current = {cause.of for cause in causes_of(stale, {})}
    failed = listing.errors(catalog.read(graph.file))
    return [_row(graph.file.output, bundle, str(bundle) in failed, str(bundle) in not_current) for bundle in bundles]


def _row(output: str, bundle: Bundle, failed: bool, stale: bool) -> Row:
    places = Places.of(output, bundle)
    try:
        with safely.folder(places.published) as folder:
            moment = datetime.fromtimestamp(int(os.fstat(folder).st_ctime), UTC)  # its mtime is what the image says
    except OSError:
        return Row(bundle.name, str(bundle.platform), "failed" if failed else "missing", None, None)
    state = "failed" if failed else "stale" if stale else "current"
    published = record.read(places.record)
    return Row(bundle.name, str(bundle.platform), state, moment, published.size if published else None)


def as_json(found: Sequence[Row]) -> str:
    """One line."""
    return msgspec.json.encode({"bundles": found}).decode()


def lines(found: Iterable[Row]) -> Iterator[str]:
    """A table. Pure, but for the time that it is."""
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


def published(output: str, bundles: Iterable[Bundle]) -> tuple[int, int]:
    """How many of the bundles are published, and the bytes of their files."""
    rows = [_row(output, bundle, False, False) for bundle in bundles]
    there = [row for row in rows if row.published is not None]
    return len(there), sum(row.bytes or 0 for row in there)
