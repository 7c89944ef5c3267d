"""What the engine asks of the graph that it runs, and the lines that a run says at its beginning and its end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.cachedir import identity
from c2wtasks.disk import safely
from c2wtasks.disk.holding import held_if_there
from c2wtasks.engine import outcome
from c2wtasks.engine.outcome import Failed, Ran
from c2wtasks.engine.settled import LookedAt
from c2wtasks.errors import UserError, some_of
from c2wtasks.graph import closing
from c2wtasks.graph.published import Published
from c2wtasks.graph.resolved import Resolved
from c2wtasks.output.places import PAGE, Places
from c2wtasks.process import cpus
from c2wtasks.tasks import catalog, layer, names
from c2wtasks.telling import stages
from c2wtasks.telling.notices import tell

if TYPE_CHECKING:
    from c2wtasks.cache import upkeep
    from c2wtasks.graph.sharing import Sharing


class GraphHooks:
    """The engine's `Hooks` of our graph."""

    families = names.FAMILIES

    def __init__(self, graph: Resolved) -> None:
        self.graph = graph
        self._in_place: list[Places] = []
        self._published = Published()
        self._sharing: Sharing | None = None
        self._listed_anew = False  # whether catalog.json says something else than before

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """`web` and `web@linux/amd64`, for the tasks that they stand for."""
        return names.aliases(self.graph.file.bundles)

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

    def widen(self, *, needed: bool) -> bool:
        """Looks up the images that were not, and says whether there were any (see `Resolved.widen`)."""
        return self.graph.widen(needed=needed)

    def proven(self) -> Iterator[str]:
        """The tasks of layers that were read, by their receipts, and of bundles that prove themselves current by what
        is on disk."""
        return _proven(self.graph)

    def publish(self, tasks: frozenset[str]) -> dict[str, UserError]:
        """Publishes what these `bundle:` tasks have made ready; gives the errors of those for which it cannot."""
        from c2wtasks.output import publish

        builds = self.graph.by_task()
        staged = {task: builds[task] for task in sorted(tasks)}
        refused: dict[str, UserError] = {}
        if self.graph.strict:
            from c2wtasks.graph import strict

            refused = {task: error for task, build in staged.items() if (error := strict.refusal(build.places))}
            staged = {task: build for task, build in staged.items() if task not in refused}
        all_places = [build.places for build in staged.values()]
        folders = [path for places in all_places for path in (places.parts, os.path.dirname(places.published))]
        with held_if_there(*folders):
            self._published.are_to_be(staged.values(), self.graph.file.output)
            done = publish.publish(all_places)
            self._in_place += done.in_place
            for build in staged.values():
                if build.places not in done.failed and build.has_rootfs:
                    self._published.has_been(build)
        return refused | {
            task: done.failed[build.places] for task, build in staged.items() if build.places in done.failed
        }

    def recover(self) -> None:
        """Removes what a run has left unfinished in the output and in the cache.

        Raises OutputError.
        """
        from c2wtasks.output.recover import recover

        recover(self.graph.file.output)
        self.graph.store.recover()

    def before_work(self) -> None:
        """Loads the modules that the actions of tasks need, and begins to use the remote cache, if there is one."""
        from c2wtasks.tasks import needed  # noqa: F401 (all that is wanted)

        if self.graph.file.remote_cache is not None and self._sharing is None:
            from c2wtasks.graph import sharing  # not needed where there is nothing to do

            self._sharing = sharing.begin(self.graph)

    def warn_before(self, tasks: frozenset[str]) -> Iterable[str]:
        """Warns where there is not the room that the layers and roots of these tasks need."""
        from c2wtasks.tasks import room  # not needed where there is nothing to do

        if self._sharing is not None:
            self._sharing.plan(self.graph.with_rootfs(), tasks)
        jobs = room.jobs(self.graph.with_rootfs(), tasks)
        return room.warnings(jobs, self.graph.store, self.graph.file.cache, self.graph.file.output)

    def end_of_run(self, failed: Failed, current: frozenset[str]) -> Iterable[str]:
        """Gives the lines that end the run, and brings catalog.json and bundle.lock up to date.

        `failed` maps the tasks that failed, or were left out for one that did, to the tasks at fault and why;
        `current` are the tasks that are now as they should be.

        Raises OutputError.
        """
        graph, published = self.graph, self._published
        graph.close()
        reasons = _reasons(graph.file.bundles, failed)
        good = frozenset(str(bundle) for bundle in graph.file.bundles if names.bundle(bundle) in current)
        stand = good | (published.standing(graph.file) - reasons.keys())
        yield from closing.notes_on_replacing(self._in_place)
        yield from closing.notes_on_folders(graph.rights, published.records, good)
        yield from closing.notes_of_published(published.records)
        if published.changing is not None and published.changing.note:
            yield published.changing.note
        if graph.note:
            yield graph.note
        yield from _note_use(self.graph, good)
        closely = bool(published.records)
        if not graph.options.shard and (note := closing.note_on_leftovers(graph.file, closely=closely)):
            yield note
        yield from (f"{bundle}: {reason}" for bundle, reason in sorted(reasons.items()))
        yield from _told_of_no_bundle(failed, reasons)
        if reasons or (stand and "catalog" not in current):
            self._listed_anew = catalog.update(graph.file, reasons, stand)
        if published.records:
            from c2wtasks.graph import pooled  # what was published was made, so there is nothing new to load

            yield from pooled.notes(published.sharing)
            yield from pooled.tidy(graph.file, graph.builds, pooled.loose(published.sharing.values()))[1]
        if new := graph.unlocked():
            graph.lock.change(new)
            yield f"{graph.lock.path}: added {some_of(list(new))}"
        if graph.strict:
            from c2wtasks.graph import strict

            strict.check_published((str(one.bundle), one.places) for one in graph.builds if str(one.bundle) in good)

    def size_of(self, product: str) -> int | None:
        """The bytes of a bundle that this run has published, if it has a root."""
        published = self._published.records.get(product)
        return published.size if published is not None else None

    def totals(self) -> str:
        """The bytes of all bundles, where this run has changed any."""
        return closing.totals(self.graph.file) if self._published.records else ""

    def remember(self, ran: Ran) -> Iterable[str]:
        """Notes what the run did, and shows it. Raises OSError, OutputError."""
        from c2wtasks.graph import remembering

        noted = remembering.remember(self.graph.file, ran, self._published)
        yield from _shown(self.graph, anew=noted or self._listed_anew)
        if self._sharing is not None:
            yield from self._sharing.end(patiently=ran.status <= 1)

    def cleaned(self, tasks: frozenset[str]) -> None:
        """Brings catalog.json up to date, if it is still there: what was removed is missing, even if it had failed.

        Raises OutputError.
        """
        file = self.graph.file
        if safely.exists(catalog.path_of(file)):
            catalog.update(file, {}, {str(bundle) for bundle in file.bundles if names.bundle(bundle) in tasks})
        from c2wtasks.graph import pooled  # nothing else that is cleaned needs it

        pooled.tidy(file, self.graph.builds)
        tell(*_shown(self.graph, anew=True))

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


def _proven(graph: Resolved) -> Iterator[str]:
    from c2wtasks.tasks.proof import is_proven  # only ever needed where all memory is lost

    for key, copies in graph.layers.items():
        if layer.is_proven(graph.store, copies):
            yield names.layer(key)
    stages.begin("checking bundles, as no memory of them is left", len(graph.buildable))
    for build in stages.counted(graph.buildable):
        try:
            proves_itself = is_proven(build)
        except Exception:  # then it is made anew, and tells what is wrong
            continue
        if proves_itself:
            yield from names.parts(build.bundle)


def _shown(graph: Resolved, *, anew: bool) -> Iterable[str]:
    """Brings the page up to date, where something is to be shown `anew`, or there is none. A shard's output has none:
    it is to be joined with others."""
    if graph.options.shard or not (anew or not safely.exists(f"{graph.file.output}/{PAGE}")):
        return ()
    from c2wtasks.graph import showing  # not needed where there is nothing to do

    lines = showing.show(graph)
    return lines if anew else ()  # one who may only read the output has nothing to be told


def _note_use(graph: Resolved, good: Set[str]) -> Iterator[str]:
    """Notes that this catalog uses the cache. What hinders that is told, as others' `doit gc` goes by it; but where
    no bundle is good, their errors tell more."""
    identity.keep(graph.folder, graph.file.name)
    if (error := graph.memo.note_use()) is not None and good:
        yield f"note: {error}; while that is so, other catalogs cannot tell that this one uses the cache"


def _reasons(bundles: Iterable[Bundle], failed: Failed) -> dict[str, str]:
    """Why bundles failed, by name."""
    by_task = {names.bundle(bundle): str(bundle) for bundle in bundles}
    return {bundle: outcome.reasons(failed[task]) for task, bundle in by_task.items() if task in failed}


def _told_of_no_bundle(failed: Failed, reasons: Iterable[str]) -> Iterator[str]:
    """Why tasks failed that make the parts of bundles, where no bundle's line has said it: they ran alone."""
    told = {task for bundle in reasons for task in failed[f"bundle:{bundle}"]}
    yield from (
        f"{task}: {why[task]}"
        for task, why in sorted(failed.items())
        if task in why and task not in told and names.family(task) in names.PART_FAMILIES
    )
