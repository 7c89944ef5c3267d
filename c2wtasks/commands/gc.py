"""`doit gc`: makes the cache smaller without making anything stale that is needed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from doit.exceptions import InvalidCommand

from c2wtasks.cache import sweep
from c2wtasks.cache.sweep import Kind, Removal
from c2wtasks.cache.upkeep import Decision, decide, why_no_more
from c2wtasks.commands.base import FINE, NOT_FINE, OurCommand
from c2wtasks.commands.options import DRY_RUN, JSON
from c2wtasks.engine.exclusive import alone
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.graph import pooled
from c2wtasks.output import pool, spare
from c2wtasks.output.places import Places
from c2wtasks.telling import sizes, stages
from c2wtasks.telling.notices import tell
from c2wtasks.telling.sizes import human

_MAX_SIZE = {
    "name": "max_size",
    "long": "max-size",
    "type": str,
    "default": "",
    "help": "how large the cache may be (20G): the tars that were read longest ago go",
}


class RemovedItem(msgspec.Struct, frozen=True):
    """A file of the cache, a spare root in the output, or all files there that roots shared and none has any more,
    that was removed; its kind, and the bytes that it took."""

    path: str
    kind: Kind | Literal["spare", "shared"]
    bytes: int
    why: str


class GcReport(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What --json prints. With `dry_run`, `removed` and `freed` are what would be. `shared`: others may need what
    this catalog does not."""

    dry_run: bool
    shared: bool
    removed: list[RemovedItem]
    freed: int
    kept: int
    over: int


class Gc(OurCommand):
    """Removes from the cache what no current bundle needs; and spare roots that are of no use."""

    name = "gc"
    doc_purpose = "remove from the cache what no bundle needs, and old spare roots"
    doc_usage = ""
    doc_description = (
        "It waits for a run that is at work. In a cache that other catalogs may use, of what this one does not need "
        "only the tars go that nobody has used for a month, and none that was used in the last hour. "
        "Exit status 0: done. 1: something could not be removed, or the cache is still larger than asked for. "
        "3: wrong command line."
    )
    cmd_options = (_MAX_SIZE, DRY_RUN, JSON)
    of_all_shards = True

    def only_looks(self, params: Any) -> bool:
        return bool(params["dry_run"])

    def _execute(self, max_size: str, dry_run: bool, as_json: bool) -> int:
        graph = self.graph
        self.no_words()
        try:
            limit = sizes.parse(max_size) if max_size else None
        except ValueError as error:
            raise InvalidCommand(f"--max-size: {error}") from error
        stages.begin("looking through the cache")
        failed: dict[str, OSError] = {}
        stay: set[Places] = set()  # spare roots that could not be removed
        unshared, notes = 0, list[str]()
        if dry_run:
            found, spares = self._decide(limit), list(self._useless_spares())
            freed = sum(removal.item.size for removal in found.plan.removals)
            unshared = pooled.unused(graph.file)
        else:
            with alone(self, self.graph_hooks):
                found, spares = self._decide(limit), list(self._useless_spares())
                freed, failed = sweep.remove(found.plan, graph.file.cache, found.now_ns)
                graph.store.recover()
                stay = {places for places, _ in spares if not _is_discarded(places)}
                unshared, notes = pooled.tidy(graph.file, graph.builds)
        removed = [_removed(removal) for removal in found.plan.removals if removal.item.path not in failed]
        of_roots = [item for places, item in spares if places not in stay]
        if unshared:
            why = "no root has them any more"
            of_roots.append(RemovedItem(pool.path_of(graph.file.output), "shared", unshared, why))
        lost = sum(removal.item.size for removal in found.plan.removals if removal.item.path in failed)
        report = GcReport(
            dry_run=dry_run,
            shared=found.shared,
            removed=removed + of_roots,
            freed=freed + sum(item.bytes for item in of_roots),
            kept=found.plan.kept + lost,
            over=found.plan.over,
        )
        self._report(report, as_json)
        tell(*(f"{path}: cannot be removed: {os_reason(error)}" for path, error in failed.items()), *notes)
        if report.over:
            over = human(report.over)
            tell(f"the cache is still {over} larger than {max_size}: {why_no_more(found.plan)}")
        return NOT_FINE if failed or stay or report.over else FINE

    def _decide(self, limit: int | None) -> Decision:
        return decide(self.graph_hooks.cache_user, limit)

    def _useless_spares(self) -> Iterator[tuple[Places, RemovedItem]]:
        now_ns = time.time_ns()
        for bundle in self.graph.file.bundles:
            places = Places.of(self.graph.file.output, bundle)
            if (why := spare.why_useless(places, now_ns)) is not None:
                yield places, RemovedItem(places.spare, "spare", spare.room(places), why)

    def _report(self, report: GcReport, as_json: bool) -> None:
        if as_json:
            self.show_json(report)
            return
        verb = "would remove" if report.dry_run else "removed"
        self.show(f"{verb} {line.path} ({human(line.bytes)}): {line.why}" for line in report.removed)
        freed = f"{human(report.freed)} ({report.freed} bytes)" if report.freed else "nothing"
        kept = f"{human(report.kept)} stay in the cache"
        self.show([f"{'would free' if report.dry_run else 'freed'} {freed}; {kept}"])


def _removed(removal: Removal) -> RemovedItem:
    return RemovedItem(removal.item.path, removal.item.kind, removal.item.size, removal.why)


def _is_discarded(places: Places) -> bool:
    """Removes a spare root; says whether it could, and if not, why."""
    try:
        spare.discard(places)
        return True
    except OutputError as error:
        tell(str(error))
        return False
