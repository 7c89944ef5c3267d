"""`doit gc`: makes the cache smaller without making anything stale that is needed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import msgspec
from doit.exceptions import InvalidCommand

from c2wtasks.catalog.places import Places
from c2wtasks.commands import sizes
from c2wtasks.commands.auditing import needs
from c2wtasks.commands.ours import FINE, NOT_FINE, OurCommand, say
from c2wtasks.commands.sizes import human
from c2wtasks.commands.why import JSON
from c2wtasks.engine.build import alone
from c2wtasks.errors import os_reason
from c2wtasks.graph import Graph
from c2wtasks.layers import sweep
from c2wtasks.layers.sweep import Kind, Needed, Removal
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.memo import Memo

_MAX_SIZE = {
    "name": "max_size",
    "long": "max-size",
    "type": str,
    "default": "",
    "help": "how large the cache may be (20G): the tars that were read longest ago go",
}
DRY_RUN = {
    "name": "dry_run",
    "long": "dry-run",
    "type": bool,
    "default": False,
    "help": "say what would be removed, and remove nothing",
}


class Removed(msgspec.Struct, frozen=True):
    path: str
    kind: Kind
    bytes: int
    why: str


class Report(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What --json prints. With `dry_run`, `removed` and `freed` are what would be. `shared`: others may need what
    this catalog does not."""

    dry_run: bool
    shared: bool
    removed: list[Removed]
    freed: int
    kept: int
    over: int


class Gc(OurCommand):
    """Removes from the cache what no current bundle needs."""

    name = "gc"
    doc_purpose = "remove from the cache what no bundle needs"
    doc_usage = ""
    doc_description = (
        "It waits for a run that is at work. In a cache that other catalogs may use, of what this one does not need "
        "only the tars go that nobody has used for a month, and none that was used in the last hour. "
        "Exit status 0: done. 1: something could not be removed, or the cache is still larger than asked for. "
        "3: wrong command line."
    )
    cmd_options = (_MAX_SIZE, DRY_RUN, JSON)

    def _execute(self, max_size: str, dry_run: bool, as_json: bool) -> int:
        graph = self.graph
        self.no_words()
        try:
            limit = sizes.parse(max_size) if max_size else None
        except ValueError as error:
            raise InvalidCommand(f"--max-size: {error}") from error
        failed: dict[str, OSError] = {}
        if dry_run:
            found = decide(graph, limit, time.time_ns())
            freed = sum(removal.item.size for removal in found.plan.removals)
        else:
            with alone(self, graph):
                found = decide(graph, limit, time.time_ns())
                freed, failed = sweep.remove(found.plan.removals)
                graph.store.recover()
        removed = [_removed(removal) for removal in found.plan.removals if removal.item.path not in failed]
        lost = sum(removal.item.size for removal in found.plan.removals if removal.item.path in failed)
        report = Report(
            dry_run=dry_run,
            shared=found.shared,
            removed=removed,
            freed=freed,
            kept=found.plan.kept + lost,
            over=found.plan.over,
        )
        self._report(report, as_json)
        say(f"{path}: cannot be removed: {os_reason(error)}" for path, error in failed.items())
        if report.over:
            over = human(report.over)
            say([f"the cache is still {over} larger than {max_size}: no more tars can go"])
        return NOT_FINE if failed or report.over else FINE

    def _report(self, report: Report, as_json: bool) -> None:
        if as_json:
            self.show_json(report)
            return
        verb = "would remove" if report.dry_run else "removed"
        self.show(f"{verb} {line.path} ({human(line.bytes)}): {line.why}" for line in report.removed)
        freed = f"{human(report.freed)} ({report.freed} bytes)" if report.freed else "nothing"
        kept = f"{human(report.kept)} stay in the cache"
        self.show([f"{'would free' if report.dry_run else 'freed'} {freed}; {kept}"])


class Decision(msgspec.Struct, frozen=True):
    plan: sweep.Sweep
    shared: bool


def decide(graph: Graph, max_size: int | None, now_ns: int) -> Decision:
    """What goes of the cache of `graph`."""
    cache = graph.file.cache
    own_memo = Memo.of(cache).path
    present = list(sweep.items(cache))
    shared = sweep.is_shared(present, own_memo, outside=not _is_inside(cache), now_ns=now_ns)
    planned = sweep.plan(present, _needed(graph), shared=shared, own_memo=own_memo, now_ns=now_ns, max_size=max_size)
    return Decision(planned, shared)


def _is_inside(cache: str) -> bool:
    """Whether the cache lies in the folder of bundle.yaml."""
    here, there = os.path.realpath("."), os.path.realpath(cache)
    return os.path.commonpath([here, there]) == here


def _needed(graph: Graph) -> Needed:
    """What the images of all bundles have, and what the last good one of each was made from: a source that cannot be
    read today may be there again tomorrow."""
    works = {str(work.bundle): work for work in graph.works}
    pairs = [needs(works.get(str(b)), Places.of(graph.file.output, b)) for b in graph.file.bundles]
    return Needed(
        frozenset(one for diff_ids, _ in pairs for one in diff_ids),
        frozenset(one for _, digests in pairs for one in digests),
        frozenset(_documents(graph)),
    )


def _documents(graph: Graph) -> Iterator[Digest]:
    """The manifests and configs that the lock names, so that all can be built again without a network; and those of
    the images as they are now."""
    entries = (*graph.lock.entries.values(), *graph.unlocked().values())
    for entry in entries:
        if entry is not None:
            yield entry.config
            if entry.manifest is not None:
                yield entry.manifest


def _removed(removal: Removal) -> Removed:
    return Removed(removal.item.path, removal.item.kind, removal.item.size, removal.why)
