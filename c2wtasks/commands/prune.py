"""`doit prune`: removes the outputs of bundles that bundle.yaml no longer has."""

from __future__ import annotations

from typing import Any

import msgspec

from c2wtasks.commands.base import FINE, NOT_FINE, OurCommand
from c2wtasks.commands.options import DRY_RUN, JSON
from c2wtasks.engine.exclusive import alone
from c2wtasks.errors import OutputError
from c2wtasks.graph import pooled, showing
from c2wtasks.output.leftovers import Foreign, Leftover, leftovers
from c2wtasks.output.places import Places
from c2wtasks.output.remove import remove, remove_private
from c2wtasks.telling import stages
from c2wtasks.telling.notices import tell
from c2wtasks.telling.sizes import counted, human


class RemovedBundle(msgspec.Struct, frozen=True):
    """The folders of one bundle (`name@platform`)."""

    bundle: str
    paths: tuple[str, ...]


class LeftAlone(msgspec.Struct, frozen=True):
    """What lies in the output folder and is no bundle that we know to be ours."""

    path: str
    why: str


class PruneReport(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What --json prints. With `dry_run`, `removed` is what would be. `freed` are the bytes of disk that files took
    which roots had shared, and none has any more; of a bundle's own nothing is counted."""

    dry_run: bool
    removed: list[RemovedBundle]
    left_alone: list[LeftAlone]
    freed: int = 0


class Prune(OurCommand):
    """Removes outputs of images and platforms that bundle.yaml no longer has."""

    name = "prune"
    doc_purpose = "remove the outputs of bundles that bundle.yaml no longer has"
    doc_usage = ""
    doc_description = (
        "Only folders whose bundle.json says that they are such a bundle's go; what else lies in the output folder "
        "is named and left alone. Exit status 0: done. 1: something could not be removed. 3: wrong command line."
    )
    cmd_options = (DRY_RUN, JSON)
    of_all_shards = True
    looks_up = "not"

    def only_looks(self, params: Any) -> bool:
        return bool(params["dry_run"])

    def _execute(self, dry_run: bool, as_json: bool) -> int:
        graph = self.graph
        self.no_words()
        output = graph.file.output
        wanted = [Places.of(output, bundle) for bundle in graph.file.bundles]
        if dry_run:
            found = list(leftovers(output, wanted))
            failed: set[str] = set()
            freed, notes = 0, list[str]()
        else:
            with alone(self, self.graph_hooks):
                found = list(leftovers(output, wanted))
                failed = _remove([one for one in found if isinstance(one, Leftover)], output)
                freed, notes = pooled.tidy(graph.file, graph.builds)
                notes += showing.show(graph)
        report = PruneReport(
            dry_run=dry_run,
            removed=[
                RemovedBundle(one.bundle, one.paths)
                for one in found
                if isinstance(one, Leftover) and one.bundle not in failed
            ],
            left_alone=[LeftAlone(one.path, one.why) for one in found if isinstance(one, Foreign)],
            freed=freed,
        )
        self._report(report, as_json)
        tell(*notes)
        return NOT_FINE if failed else FINE

    def _report(self, report: PruneReport, as_json: bool) -> None:
        if as_json:
            self.show_json(report)
            return
        verb = "would remove" if report.dry_run else "removed"
        self.show(f"{verb} {line.bundle}: {', '.join(line.paths)}" for line in report.removed)
        freed = f"; freed {human(report.freed)} of files that roots shared" if report.freed else ""
        self.show([f"{verb} {counted(len(report.removed), 'bundle')}{freed}"])
        tell(*(f"left alone: {line.path}: {line.why}" for line in report.left_alone))


def _remove(found: list[Leftover], output: str) -> set[str]:
    """Removes bundles; says and gives which could not be removed."""
    failed = set()
    stages.begin("removing bundles", len(found))
    for leftover in stages.counted(found):
        try:
            if leftover.places.published in leftover.paths:
                remove(leftover.places, output, leftover.published)
            else:
                remove_private(leftover.places, output)
        except OutputError as error:
            tell(str(error))
            failed.add(leftover.bundle)
    return failed
