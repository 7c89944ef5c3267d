"""`doit merge`: brings the bundles that several machines have built into one output."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import msgspec
from doit.exceptions import InvalidCommand

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.commands.base import FINE, NOT_FINE, OurCommand
from c2wtasks.commands.options import JSON
from c2wtasks.disk import safely
from c2wtasks.engine.exclusive import alone
from c2wtasks.engine.interrupt import Stopped, shielded, signals
from c2wtasks.engine.outcome import DONE, FAILED
from c2wtasks.errors import OutputError, one_line, os_reason, program, some_of
from c2wtasks.graph import remembering, showing
from c2wtasks.graph.brought import Brought
from c2wtasks.graph.changing import Changing
from c2wtasks.graph.resolved import Resolved
from c2wtasks.output import bringing, listing, publish, record, standing
from c2wtasks.output.history import BundleRun
from c2wtasks.output.listing import Line
from c2wtasks.output.places import Places
from c2wtasks.process import runoptions
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.tasks import catalog
from c2wtasks.telling import stages
from c2wtasks.telling.notices import tell

_ANEW = "build the shards again, with one bundle.yaml and bundle.lock"
_AT_ONCE = 50  # bundles that are published together: a sync of the file system takes as long for one


class MergeReport(msgspec.Struct, frozen=True, rename="camel"):
    """What --json prints: the bundles (`name@platform`) that were brought, those that were here already, and those
    that failed, there or on their way, with the reasons."""

    brought: tuple[str, ...]
    current: tuple[str, ...]
    failed: Mapping[str, str]

    def lines(self) -> Iterator[str]:
        """It, for people."""
        yield from (f"{bundle}: {reason}" for bundle, reason in self.failed.items())
        failed = f", {len(self.failed)} failed" if self.failed else ""
        yield f"{len(self.brought)} merged, {len(self.current)} current{failed}"


class Merge(OurCommand):
    """Joins the outputs of shards."""

    name = "merge"
    doc_purpose = "join what the shards of a catalog have built into one output"
    doc_usage = "FOLDER [...]"
    doc_description = (
        f"Each FOLDER is the output of a machine on which {runoptions.SHARD} was set. Each bundle of bundle.yaml has "
        "to be in one of them, and in no other. The output and catalog.json are then what one machine would have "
        "made. Exit status 0: all are built. 1: some have failed. 3: wrong command line, or bundles that are in no "
        "folder or in two."
    )
    cmd_options = (JSON,)
    of_all_shards = True
    looks_up = "not"

    def only_looks(self, params: Any) -> bool:
        return False

    def _execute(self, as_json: bool) -> int:
        graph = self.graph
        if self.sel_default_tasks:
            raise InvalidCommand(f"which folders? give the output of each shard: {program()} merge shard-1 shard-2")
        with alone(self, self.graph_hooks), Merging(graph, ["merge", *self.sel_tasks]) as merging:
            merging.bring(graph.file.bundles, self.sel_tasks)
            signals.ignore()  # here: one that came before what follows would leave untold what was merged
        if as_json:
            self.show_json(merging.report)
        else:
            self.show(merging.report.lines())
        return NOT_FINE if merging.failed else FINE


def _listed(bundles: Sequence[Bundle], folders: Sequence[str]) -> dict[str, tuple[Line, str]]:
    """What the catalogs in the folders say of each of the bundles, and in which folder that is.

    Raises InvalidCommand: one is in no folder, or in two; or there is another.
    """
    wanted = set(map(str, bundles))
    found: dict[str, tuple[Line, str]] = {}
    for folder in folders:
        for line in _catalog(folder):
            bundle = f"{line.name}@{line.platform}"
            if bundle not in wanted:
                raise InvalidCommand(f"{folder}: has {one_line(bundle)}, which bundle.yaml has not; {_ANEW}")
            if bundle in found:
                raise InvalidCommand(f"{bundle} is in {found[bundle][1]} and in {folder}; give each shard once")
            found[bundle] = line, folder
    if missing := sorted(wanted - found.keys()):
        raise InvalidCommand(f"in none of the folders: {some_of(missing)}; give the outputs of all shards")
    return found


def _catalog(folder: str) -> tuple[Line, ...]:
    """Raises InvalidCommand."""
    path = f"{folder}/{listing.CATALOG}"
    try:
        return listing.lines(safely.read(path, listing.MAX_SIZE))
    except OSError as error:
        raise InvalidCommand(f"{path}: cannot be read: {os_reason(error)}; give the output of a shard") from error
    except ValueError as error:
        raise InvalidCommand(f"{path}: is no catalog of this version of c2wtasks; {_ANEW}") from error


class Merging:
    """What shards have built, brought into the output of a catalog while the block runs, and listed in catalog.json
    after it, also where that is cut short. `asked` are the words of the command line. `failed` are the bundles that
    have failed, with the reasons.

    Raises OSError, OutputError.
    """

    def __init__(self, graph: Resolved, asked: Sequence[str]) -> None:
        self.graph = graph
        self.asked = asked
        self.began = time.time()
        self.changing = Changing(graph.file.output)
        self.changes = Brought(graph.store)
        self.before: dict[str, str] = {}  # by bundle: the digest of the bundle.json that stood here
        self.staged: list[tuple[Bundle, Places]] = []  # ready to be published, or being published
        self.brought: list[str] = []
        self.current: list[str] = []
        self.failed: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with shielded():
            if error is None:
                self._end(FAILED if self.failed else DONE)
                return
            self.brought += (str(bundle) for bundle, places in self.staged if self._has_changed(bundle, places))
            if self.brought:
                with suppress(OSError, OutputError):  # the first error is told
                    self._end(error.exit_code if isinstance(error, Stopped) else FAILED)

    def bring(self, bundles: Sequence[Bundle], folders: Sequence[str]) -> None:
        """Brings these bundles, which shards have built into the folders, and publishes them.

        Raises InvalidCommand, before anything is brought: the folders have others, or not all. OutputError.
        """
        lines = _listed(bundles, folders)
        with stages.meanwhile("merging bundles", len(bundles)):
            for bundle in stages.counted(bundles):
                line, folder = lines[str(bundle)]
                if line.error:
                    self.failed[str(bundle)] = line.error
                elif line.bundle is None:
                    self.failed[str(bundle)] = f"it was not built: {folder} lists it as {line.status}"
                if line.bundle is not None and self._stage(bundle, folder):
                    self.staged.append((bundle, Places.of(self.graph.file.output, bundle)))
                if len(self.staged) == _AT_ONCE:
                    self._publish()
            self._publish()

    @property
    def report(self) -> MergeReport:
        """What came of it, after the block."""
        failed = {key: self.failed[key] for key in map(str, self.graph.file.bundles) if key in self.failed}
        return MergeReport(tuple(self.brought), tuple(self.current), failed)

    def _end(self, status: int) -> None:
        file = self.graph.file
        catalog.update(file, self.failed, {*self.brought, *self.current} - self.failed.keys())
        remembering.remember_merge(file, self.began, self.asked, status, self._lines(), self.changing)
        if self.changing.note:
            tell(self.changing.note)
        tell(*showing.show(self.graph))

    def _lines(self) -> list[BundleRun]:
        """What the history is to say of the bundles that were not current."""
        found = []
        brought, current = set(self.brought), set(self.current)
        for bundle in self.graph.file.bundles:
            key, places = str(bundle), Places.of(self.graph.file.output, bundle)
            if key in self.failed:
                found.append(BundleRun(key, "failed", before=record.digest(places.record), error=self.failed[key]))
            elif key in brought:
                size, digest = remembering.found(places)
                found.append(BundleRun(key, "built", 0.0, size, self.before[key], digest))
            elif key not in current:
                found.append(BundleRun(key, "left out", before=record.digest(places.record)))
        return found

    def _stage(self, bundle: Bundle, folder: str) -> bool:
        """Whether the bundle is ready to be published now."""
        there, here = Places.of(folder, bundle), Places.of(self.graph.file.output, bundle)
        try:
            before = self.before[str(bundle)] = record.digest(here.record)
            if before and before == record.digest(there.record):
                self.current.append(str(bundle))
                return False
            self.changes.note(str(bundle), folder, there, here)
            bringing.bring(bundle, self.graph.lock.entries.get(str(bundle)), there, here)
        except Exception as error:
            self.failed[str(bundle)] = str(as_user_error(error))
            return False
        return True

    def _publish(self) -> None:
        self.changing.begin((str(bundle), places) for bundle, places in self.staged)
        done = publish.publish([places for _, places in self.staged])
        for bundle, places in self.staged:
            if places in done.failed:
                self.failed[str(bundle)] = str(done.failed[places])
                continue
            standing.note(places)
            self.brought.append(str(bundle))
        self.staged.clear()

    def _has_changed(self, bundle: Bundle, places: Places) -> bool:
        """Whether a bundle has been published, where a signal came before that was noted."""
        return record.digest(places.record) not in ("", self.before[str(bundle)])
