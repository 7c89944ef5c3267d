"""What `doit list` shows of bundles: a line each, with what became of it, since when and how large it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.commands.base import chosen, stale_tasks
from c2wtasks.commands.rows import Row, published_at
from c2wtasks.commands.why import causes_of
from c2wtasks.graph.hooks import GraphHooks
from c2wtasks.output import listing, record
from c2wtasks.output.places import Places
from c2wtasks.tasks import catalog


def rows(command: Any, hooks: GraphHooks, words: Sequence[str]) -> list[Row]:
    """The bundles that `words` name; all, where there are none.

    Raises InvalidCommand: one names none.
    """
    graph = hooks.graph
    bundles = chosen(hooks, words) if words else graph.file.bundles
    command.sel_tasks = [f"bundle:{bundle}" for bundle in bundles]
    stale, _ = stale_tasks(command, hooks)
    states = dict.fromkeys((cause.of for cause in causes_of(stale, {})), "stale")
    states |= dict.fromkeys(map(str, graph.unasked), "unknown")
    states |= dict.fromkeys(listing.errors(catalog.read(graph.file)), "failed")
    return [_row(graph.file.output, bundle, states.get(str(bundle), "current")) for bundle in bundles]


def _row(output: str, bundle: Bundle, state: str) -> Row:
    places = Places.of(output, bundle)
    moment = published_at(places)
    if moment is None:
        return Row(bundle.name, str(bundle.platform), "failed" if state == "failed" else "missing", None, None)
    published = record.read(places.record)
    return Row(bundle.name, str(bundle.platform), state, moment, published.size if published else None)


def published(output: str, bundles: Iterable[Bundle]) -> tuple[int, int]:
    """How many of the bundles are published, and the bytes of their files."""
    rows = [_row(output, bundle, "current") for bundle in bundles]
    there = [row for row in rows if row.published is not None]
    return len(there), sum(row.bytes or 0 for row in there)
