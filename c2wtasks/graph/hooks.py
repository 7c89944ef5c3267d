"""What the engine asks of the graph that it runs, and the lines that a run says at its beginning and its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING

from c2wtasks.cachedir import identity
from c2wtasks.disk import safely
from c2wtasks.engine import outcome
from c2wtasks.engine.outcome import Failed, Ran
from c2wtasks.errors import UserError, some_of
from c2wtasks.graph import closing
from c2wtasks.graph.resolved import Resolved
from c2wtasks.output import publish, record, standing
from c2wtasks.output.places import Places
from c2wtasks.output.record import Record
from c2wtasks.output.recover import recover
from c2wtasks.process import cpus
from c2wtasks.settled import LookedAt
from c2wtasks.tasks import catalog, layer, names
from c2wtasks.tasks.build import Build

if TYPE_CHECKING:
    from c2wtasks.cache import upkeep


class GraphHooks:
    """The engine's `Hooks` of our graph."""

    def __init__(self, graph: Resolved) -> None:
        self.graph = graph
        self._in_place: list[Places] = []
        self._before: dict[str, str] = {}  # by bundle: the digest of the bundle.json that this run replaced
        self._published: dict[str, Record] = {}  # by bundle: those that this run published

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """`web` and `web@linux/amd64`, for the tasks that they stand for."""
        found: dict[str, tuple[str, ...]] = {}
        for bundle in self.graph.file.bundles:
            task = names.bundle(bundle)
            found[str(bundle)] = (task,)
            found[bundle.name] = (*found.get(bundle.name, ()), task)
        return found

    @property
    def workers(self) -> int:
        """`workers:` of bundle.yaml, or the CPUs that this process may keep busy."""
        return self.graph.file.workers or cpus.usable()

    @property
    def late(self) -> tuple[str, ...]:
        """The bundles whose images are not known yet (see `Resolved.late`)."""
        return self.graph.late

    def arrive(self, *, wait: bool) -> bool:
        """Takes in the images that have become known, and says whether there were any."""
        return self.graph.arrive(wait=wait)

    def proven(self) -> Iterator[str]:
        """The tasks of layers that were read, by their receipts, and of bundles that prove themselves current by what
        is on disk."""
        from c2wtasks.tasks.proof import is_proven  # only ever needed where all memory is lost

        for key, copies in self.graph.layers.items():
            if layer.is_proven(self.graph.store, copies):
                yield names.layer(key)
        for build in self.graph.buildable:
            try:
                proves_itself = is_proven(build)
            except Exception:  # then it is made anew, and tells what is wrong
                continue
            if proves_itself:
                yield from names.parts(build.bundle)

    def publish(self, tasks: frozenset[str]) -> dict[str, UserError]:
        """Publishes what these `bundle:` tasks have made ready; gives the errors of those for which it cannot."""
        builds = self.graph.by_task()
        staged = {task: builds[task] for task in sorted(tasks)}
        refused: dict[str, UserError] = {}
        if self.graph.strict:
            from c2wtasks.graph import strict

            refused = {task: error for task, build in staged.items() if (error := strict.refusal(build.places))}
            staged = {task: build for task, build in staged.items() if task not in refused}
        for build in staged.values():
            self._before[str(build.bundle)] = record.digest(build.places.record)
        done = publish.publish([build.places for build in staged.values()])
        self._in_place += done.in_place
        for build in staged.values():
            if build.places not in done.failed and build.has_rootfs:
                self._note(build)
        return refused | {
            task: done.failed[build.places] for task, build in staged.items() if build.places in done.failed
        }

    def _note(self, build: Build) -> None:
        standing.note(build.places)
        published = record.read(build.places.record)
        if published is not None:
            self._published[str(build.bundle)] = published

    def recover(self) -> None:
        """Removes what a run has left unfinished in the output and in the cache.

        Raises OutputError.
        """
        recover(self.graph.file.output)
        self.graph.store.recover()

    def warn_before(self, tasks: frozenset[str]) -> Iterable[str]:
        """Warns where there is not the room that the layers and roots of these tasks need."""
        from c2wtasks.tasks import room  # not needed where there is nothing to do

        jobs = room.jobs(self.graph.with_rootfs(), tasks)
        return room.warnings(jobs, self.graph.store, self.graph.file.cache, self.graph.file.output)

    def end_of_run(self, failed: Failed, current: frozenset[str]) -> Iterable[str]:
        """Gives the lines that end the run, and brings catalog.json and bundle.lock up to date.

        `failed` maps the tasks that failed, or were left out for one that did, to the tasks at fault and why;
        `current` are the tasks that are now as they should be.

        Raises OutputError.
        """
        graph = self.graph
        graph.close()
        reasons = {
            str(bundle): outcome.reasons(failed[task])
            for bundle in graph.file.bundles
            if (task := names.bundle(bundle)) in failed
        }
        good = frozenset(str(bundle) for bundle in graph.file.bundles if names.bundle(bundle) in current)
        yield from closing.notes_on_replacing(self._in_place)
        yield from closing.notes_on_folders(graph.rights, self._published, good)
        yield from closing.notes_of_published(self._published)
        if graph.note:
            yield graph.note
        yield from self._note_use(good)
        changed = bool(self._published) or bool(good and "catalog" not in current)
        if note := closing.note_on_leftovers(graph.file, closely=changed):
            yield note
        yield from (f"{bundle}: {reason}" for bundle, reason in sorted(reasons.items()))
        yield from _told_of_no_bundle(failed, reasons)
        if reasons or (good and "catalog" not in current):
            catalog.make(graph.file, reasons, good)
        if new := graph.unlocked():
            graph.lock.change(new)
            yield f"{graph.lock.path}: added {some_of(list(new))}"
        if graph.strict:
            from c2wtasks.graph import strict

            strict.check_published((str(one.bundle), one.places) for one in graph.builds if str(one.bundle) in good)

    def size_of(self, product: str) -> int | None:
        """The bytes of a bundle that this run has published, if it has a root."""
        published = self._published.get(product)
        return published.size if published is not None else None

    def totals(self) -> str:
        """The bytes of all bundles, where this run has changed any."""
        return closing.totals(self.graph.file) if self._published else ""

    def remember(self, ran: Ran) -> Iterable[str]:
        """Notes what the run did. Raises OSError, OutputError."""
        from c2wtasks.graph import remembering

        remembering.remember(self.graph.file, ran, self._before)
        return ()

    def cleaned(self, tasks: frozenset[str]) -> None:
        """Brings catalog.json up to date, if it is still there: what was removed is missing, even if it had failed.

        Raises OutputError.
        """
        file = self.graph.file
        if safely.exists(catalog.path_of(file)):
            catalog.make(file, {}, {str(bundle) for bundle in file.bundles if names.bundle(bundle) in tasks})

    def after_good_run(self) -> Iterable[str]:
        """Keeps the cache to the size that bundle.yaml allows, and gives the lines that tell of it.

        Raises OutputError.
        """
        limit = self.graph.file.cache_max_size
        if limit is None:
            return ()
        from c2wtasks.cache import upkeep

        return upkeep.keep_to_size(limit, self.cache_user, self.graph.store)

    @property
    def cache_user(self) -> upkeep.CacheUser:
        """This catalog, as one of those that use the cache."""
        from c2wtasks.cache import upkeep

        graph = self.graph
        images = {str(build.bundle): build.image for build in graph.builds}
        return upkeep.CacheUser(graph.file, images, graph.lock.entries, graph.identity)

    def looked_at(self) -> LookedAt | None:
        """What was looked at to load the graph, and at a run's end; None where the next run is to look at more."""
        from c2wtasks.graph.looking import looked_at  # only needed where a seal is left

        return looked_at(self.graph)

    @property
    def sealed_until(self) -> int:
        """Until when (ns since 1970) a run that finds nothing to do need not note its use of the cache."""
        return self.graph.memo.seals_until()

    def _note_use(self, good: Set[str]) -> Iterator[str]:
        """Notes that this catalog uses the cache. What hinders that is told, as others' `doit gc` goes by it; but
        where no bundle is good, their errors tell more."""
        identity.keep(self.graph.folder, self.graph.file.name)
        if (error := self.graph.memo.note_use()) is not None and good:
            yield f"note: {error}; while that is so, other catalogs cannot tell that this one uses the cache"


def _told_of_no_bundle(failed: Failed, reasons: Iterable[str]) -> Iterator[str]:
    """Why tasks failed that make the parts of bundles, where no bundle's line has said it: they ran alone."""
    told = {task for bundle in reasons for task in failed[f"bundle:{bundle}"]}
    yield from (
        f"{task}: {why[task]}"
        for task, why in sorted(failed.items())
        if task in why and task not in told and names.family(task) in names.PART_FAMILIES
    )
