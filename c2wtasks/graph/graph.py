"""bundle.yaml as a graph of doit tasks. Creators yield doit's task dicts; what these do is in `steps`, `forming` and
`staging`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from doit.exceptions import InvalidDodoFile

import c2wtasks
from c2wtasks import AFRESH, LOCKED, OFFLINE, READING
from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.lock import Entries, Entry, Misfit, compare
from c2wtasks.bundlefile.lockfile import LockFile
from c2wtasks.bundlefile.model import Bundle, BundleFile, Form
from c2wtasks.bundlefile.problems import BundleFileError
from c2wtasks.cachedir import identity, trust
from c2wtasks.disk import abilities, files, safely
from c2wtasks.engine.checks import AnyExists, Fails, Inputs
from c2wtasks.engine.meta import Meta
from c2wtasks.engine.outcome import Failed
from c2wtasks.errors import OutputError, UserError, some_of
from c2wtasks.layers.store import Store
from c2wtasks.output import listing, publish, record, standing
from c2wtasks.output.places import RECORD, ROOTFS, Places
from c2wtasks.output.record import OUTPUT_VERSION, Record
from c2wtasks.process import cpus
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.registry.hosts import Access
from c2wtasks.rootfs.rights import LeftOut, builder
from c2wtasks.sources.asking import Answer, Asking
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.locked import LockedResolver, entry_of
from c2wtasks.sources.memo import Memo
from c2wtasks.sources.model import BlobPlace, Image, Layer
from c2wtasks.sources.resolve import Resolver
from c2wtasks.tasks import form as forming
from c2wtasks.tasks.build import Work
from c2wtasks.tasks.bundle import stage
from c2wtasks.tasks.checks import Published, Rights

if TYPE_CHECKING:
    from c2wtasks.cache import upkeep

Task = dict[str, Any]
LOCK = "bundle.lock"
_TOLD_ALONE = 20  # notes of one sort on bundles; of more there is one line
_GRACE = 1.0  # seconds without any answer from a registry, after which a run begins with what it has
_PARTS = ("layer", "tree", "rootfs", "spec", "boot")  # the families of tasks that make what bundles are made of


@dataclass(slots=True)
class Graph:
    """The bundles of one bundle.yaml, resolved: those whose source can be read as `works`, the others as `broken`.

    Of the `works`, those are `buildable` that lack no tool and can be published; the others are `lacking`, with why
    each form cannot be made. `layers` maps a blob's key to the copies of it that the images of `buildable` bundles
    name.
    """

    file: BundleFile
    store: Store
    folder: str
    identity: str
    memo: Memo
    note: str = ""  # on the cache, to be told once
    works: list[Work] = field(default_factory=list)
    buildable: list[Work] = field(default_factory=list)
    lacking: list[tuple[Work, Mapping[str, UserError]]] = field(default_factory=list)
    broken: list[tuple[Bundle, UserError]] = field(default_factory=list)
    layers: dict[str, list[Layer]] = field(default_factory=dict)
    _by_task: dict[str, Work] = field(default_factory=dict)
    _by_size: list[Work] = field(default_factory=list)
    _copied: set[str] = field(default_factory=set)
    _in_place: list[Places] = field(default_factory=list)
    _rights: dict[str, Rights] = field(default_factory=dict)  # of the bundles whose root is a folder
    _published: dict[str, Record] = field(default_factory=dict)  # the bundles that this run published
    _mounts: Set[str] = frozenset()
    _resolver: LockedResolver = field(init=False)
    _asking: Asking = field(init=False)
    lock: LockFile = field(default_factory=lambda: LockFile(LOCK, {}))

    @classmethod
    def load(cls, path: str = "bundle.yaml") -> Graph:
        """Reads bundle.yaml, bundle.lock and what they name: of each image the manifest and config, not the layers.

        Raises InvalidDodoFile, with all mistakes of both files; or where the run is `--locked` and they do not fit.
        """
        try:
            file = load(path)
            lock = LockFile.read(os.path.join(os.path.dirname(path), LOCK))
        except BundleFileError as error:
            lines = "\n".join(error.lines)
            count = len(error.lines)
            raise InvalidDodoFile(lines if count == 1 else f"{count} mistakes, nothing was done:\n{lines}") from error
        except Exception as error:
            raise InvalidDodoFile(str(as_user_error(error))) from error
        folder = os.path.dirname(path)
        try:
            trusted = trust.settle(file.cache, folder, group=file.cache_shared, looks=_is_set(READING))
        except OutputError as error:
            raise InvalidDodoFile(str(error)) from error
        file = replace(file, cache=trusted.folder)
        known_as = identity.of(folder, file.name)
        memo = Memo.of(file.cache, known_as, trusted.owners, afresh=_is_set(AFRESH))
        store = Store(f"{file.cache}/layers", file.max_layer_size)
        graph = cls(file, store, folder, known_as, memo, trusted.note, lock=lock)
        if _is_set(LOCKED) and (misfit := graph.misfit()):
            lines = "\n".join(misfit.lines())
            how = "to make it fit, run: doit lock"
            raise InvalidDodoFile(f"{lock.path} does not fit, and may not be changed (--locked); {how}\n{lines}")
        graph._mounts = abilities.mounts_below(file.output)
        graph._resolver = graph.resolver(lock.entries, memo)
        graph._asking, at_hand = graph._resolver.begin(file.bundles)
        patience = _GRACE if c2wtasks.may_be_late else None
        graph._take(at_hand + graph._resolver.come(graph._asking, patience, patience))
        return graph

    # What is looked up in registries may come late.

    @property
    def late(self) -> tuple[str, ...]:
        """The bundles whose images are not known yet: there are no tasks of them, nor of the catalog. None of them is
        where `may_be_late` was not set."""
        return tuple(self._asking.left)

    def arrive(self, *, wait: bool) -> bool:
        """Takes in the images that have become known, and says whether there were any. If it is to `wait`, there are:
        those that come one soon after another."""
        came = self._resolver.come(self._asking, *((None, _GRACE) if wait else (0, 0)))
        if came:
            self._take(came)
        return bool(came)

    def _take(self, answers: Iterable[tuple[Bundle, Answer]]) -> None:
        self._copied = set(self._copied)  # tasks may be at work that look at the old one, and at the lists of layers
        for bundle, image in sorted(answers, key=lambda one: (one[0].name, one[0].platform)):
            try:
                if isinstance(image, UserError):
                    raise image
                self._add(bundle, image)
            except Exception as error:
                self.broken.append((bundle, as_user_error(error)))
        for key, copies in self.layers.items():  # what is here is not fetched
            self.layers[key] = sorted(copies, key=lambda copy: not isinstance(copy.place, BlobPlace))
        for works in (self.works, self.buildable):
            works.sort(key=lambda work: (work.bundle.name, work.bundle.platform))
        self._by_size.clear()
        self._by_task.clear()
        if not _is_set(READING):
            self.memo.save()

    def _add(self, bundle: Bundle, image: Image) -> None:
        work = Work(bundle, image, Places.of(self.file.output, bundle), self.store, self._copied)
        missing: Mapping[str, UserError] = forming.missing_tools(bundle)
        if self._mounts and f"{bundle.name}/{bundle.platform.folder}" in self._mounts:
            missing = dict.fromkeys((form.name for form in bundle.forms), publish.is_mount(work.places))
        keyed = [(layer.key, layer) for layer in image.layers] if work.has_rootfs else []
        self.works.append(work)
        if missing:
            self.lacking.append((work, missing))
            return
        self.buildable.append(work)
        for key, layer in keyed:
            copies = self.layers.get(key, [])
            if layer not in copies:
                self.layers[key] = copies = [*copies, layer]
            if copies[0].place != layer.place:
                self._copied.add(key)

    def _made(self, works: Iterable[Work], make: Callable[[Work], Iterable[Task]]) -> Iterator[Task]:
        """The tasks that `make` makes for each of `works`. One for which it cannot is broken from then on."""
        for work in list(works):
            try:
                tasks = list(make(work))
            except Exception as error:
                self._breaks(work, error)
            else:
                yield from tasks

    def _breaks(self, work: Work, error: Exception) -> None:
        self.buildable.remove(work)
        self._by_size.clear()
        self.broken.append((work.bundle, as_user_error(error)))

    def resolver(self, entries: Entries, memo: Memo | None = None) -> LockedResolver:
        """What looks images up, but for those of `entries`."""
        kept = f"{self.file.cache}/blobs" if self.file.keep_blobs else ""
        access = Access(self.file.registries, offline=_is_set(OFFLINE), kept=kept)
        return LockedResolver(Resolver(access, self.documents, memo), entries, self.lock.path)

    @property
    def documents(self) -> Documents:
        return Documents(f"{self.file.cache}/documents", keeps=not _is_set(READING))

    # The lock.

    @property
    def lockable(self) -> tuple[Bundle, ...]:
        """The bundles that should be in the lock."""
        return tuple(bundle for bundle in self.file.bundles if self.file.lock_all or bundle.source.is_remote)

    def misfit(self) -> Misfit:
        """Where the lock, as it was read, does not fit bundle.yaml."""
        return compare(self.lock.entries, {str(bundle): bundle.source.text for bundle in self.lockable})

    def unlocked(self) -> dict[str, Entry | None]:
        """What the lock should say of the bundles that it lacks, or has with another source."""
        misfit = self.misfit()
        new = {*misfit.missing, *misfit.changed}
        return {str(work.bundle): entry_of(work.bundle, work.image) for work in self.works if str(work.bundle) in new}

    # Creators, one for each family of tasks.

    def layer_tasks(self) -> Iterator[Task]:
        """A task for each distinct blob: `layer:<64 hex digits>`.

        A digest stands for its bytes, so the receipt is all that shows whether it was read: it is the target, and
        the blob's file is no dependency. Only where no digest is known is the file itself looked at.
        """
        largest: dict[str, int] = {}  # of the bundles that have the layer
        for work in self._with_rootfs():
            for layer in work.image.layers:
                largest.setdefault(layer.key, work.blobs_size)
        for key in sorted(largest, key=lambda key: (-largest[key], -self.layers[key][0].place.size)):
            try:
                task = self._layer_task(key, self.layers[key], largest[key])
            except Exception as error:
                for work in self._with_rootfs()[:]:
                    if key in {layer.key for layer in work.image.layers}:
                        self._breaks(work, error)
            else:
                yield task

    def _layer_task(self, key: str, copies: list[Layer], largest: int) -> Task:
        digest = copies[0].digest
        claims = sorted({copy.diff_id for copy in copies})
        return {
            "name": key,
            "title": _titled(f"layer {copies[0].short}"),
            "doc": f"reads, checks and stores the layer {copies[0].short}",
            "actions": [(_store_layer, [self.store, copies])],
            "meta": Meta(blob_bytes=copies[0].place.size, waiting_bytes=largest),
            "file_dep": [] if digest else sorted({copy.place.where for copy in copies}),
            "targets": [self.store.receipt_file(digest)] if digest else [],
            "uptodate": [
                Inputs(output_version=OUTPUT_VERSION, claims=[str(diff_id) for diff_id in claims]),
                AnyExists(*(self.store.index(diff_id) for diff_id in claims)),
            ],
        }

    def tree_tasks(self) -> Iterator[Task]:
        """`tree:<bundle>`: the layers applied, in memory."""
        # Where images disagree on a blob's diffID, no index is made for a wrong one: it is no dependency, and the
        # tree of its image fails with the two diffIDs (`wrong_diff_id`).
        disputed = {key for key, copies in self.layers.items() if len({copy.diff_id for copy in copies}) > 1}
        return self._made(self._with_rootfs(), lambda work: self._tree_task(work, disputed))

    def _tree_task(self, work: Work, disputed: Set[str]) -> Iterator[Task]:
        layers = work.image.layers
        indexes = {self.store.index(layer.diff_id) for layer in layers if layer.key not in disputed}
        yield {
            "name": str(work.bundle),
            "doc": f"applies the {len(layers)} layers of {work.bundle}",
            "actions": [work.make_tree],
            "meta": Meta(blob_bytes=work.blobs_size),
            "file_dep": sorted(indexes),
            "task_dep": list(dict.fromkeys(f"layer:{layer.key}" for layer in layers)),
            "targets": [work.places.tree],
            "uptodate": [
                Inputs(
                    output_version=OUTPUT_VERSION,
                    layers=[str(layer.diff_id) for layer in layers],
                    blobs=[layer.key for layer in layers],
                    same_owner=work.bundle.same_owner,
                    created_ns=work.default_mtime_ns,
                )
            ],
        }

    def rootfs_tasks(self) -> Iterator[Task]:
        """`rootfs:<bundle>:<form>`: the root, written."""
        yield from self._made(self._with_rootfs(), self._root_tasks)
        for work, missing in self.lacking:
            yield from (
                _failing(f"{work.bundle}:{form}", error) | {"actions": [(_fail, [error])]}
                for form, error in missing.items()
            )

    def _root_tasks(self, work: Work) -> Iterator[Task]:
        yield from (self._form_task(work, form) for form in work.bundle.file_forms)
        if folder := work.bundle.folder_form:
            yield self._folder_task(work, folder)

    def _folder_task(self, work: Work, form: Form) -> Task:
        rights = self._rights[str(work.bundle)] = Rights(work.places.rootfs_facts_file)
        return {
            "name": f"{work.bundle}:{form.name}",
            "doc": f"writes the rootfs folder of {work.bundle}",
            "actions": [work.make_rootfs],
            "meta": Meta(blob_bytes=work.blobs_size),
            "file_dep": [work.places.tree],
            "targets": [work.places.rootfs_facts_file],
            "uptodate": [
                Inputs(output_version=OUTPUT_VERSION),
                rights,
                AnyExists(work.places.part(ROOTFS), work.places.output(work.places.rootfs)),
            ],
        }

    def _form_task(self, work: Work, form: Form) -> Task:
        name = form.name
        return {
            "name": f"{work.bundle}:{name}",
            "doc": f"makes the form {name} of {work.bundle}",
            "actions": [(forming.make, [work, form])],
            "meta": Meta(blob_bytes=work.blobs_size),
            "file_dep": [work.places.tree, *forming.json_in(work, form).values()],
            "targets": [work.places.form_facts_file(name)],
            "uptodate": [
                Inputs(**forming.inputs(work, form)),
                AnyExists(work.places.form(name)),
            ],
        }

    def spec_tasks(self) -> Iterator[Task]:
        """`spec:<bundle>`: image.json and spec.json."""
        return self._made(self._with_rootfs(), self._spec_task)

    @staticmethod
    def _spec_task(work: Work) -> Iterator[Task]:
        yield {
            "name": str(work.bundle),
            "doc": f"writes image.json and spec.json of {work.bundle}",
            "actions": [work.make_spec],
            "file_dep": [work.places.tree],
            "targets": [work.places.part(name) for name in work.part_names[:2]],
            "uptodate": [
                Inputs(
                    output_version=OUTPUT_VERSION,
                    image_config=str(work.image.config_digest),
                    process=work.bundle.process,
                    profile=work.bundle.profile,
                )
            ],
        }

    def boot_tasks(self) -> Iterator[Task]:
        """`boot:<bundle>`: initconfig.json."""
        return self._made(self.buildable, self._boot_task)

    @staticmethod
    def _boot_task(work: Work) -> Iterator[Task]:
        bundle = work.bundle
        yield {
            "name": str(bundle),
            "doc": f"writes initconfig.json of {bundle}",
            "actions": [work.make_boot],
            "targets": [work.places.part(work.part_names[-1])],
            "uptodate": [
                Inputs(
                    output_version=OUTPUT_VERSION,
                    architecture=work.image.parsed.architecture,
                    boot=bundle.boot,
                    profile=bundle.profile,
                )
            ],
        }

    def bundle_tasks(self) -> Iterator[Task]:
        """`bundle:<name>@<platform>`: bundle.json, and the whole bundle published."""
        yield from self._made(self.buildable, self._publishing_task)
        for bundle, error in self.broken:
            yield self._bundle_task(bundle, (_fail, [error])) | _failing(str(bundle), error)
        for work, missing in self.lacking:
            first = next(iter(missing.values()))
            yield (
                self._bundle_task(work.bundle, (_fail, [first]))
                | _failing(str(work.bundle), first)
                | {"task_dep": [f"rootfs:{work.bundle}:{form}" for form in missing]}
            )

    def _publishing_task(self, work: Work) -> Iterator[Task]:
        of_forms = [work.places.form_facts_file(form.name) for form in work.bundle.file_forms]
        of_folder = [work.places.rootfs_facts_file] if work.bundle.folder_form else []
        yield self._bundle_task(work.bundle, (stage, [work])) | {
            "doc": f"publishes {work.bundle} in {work.places.published}",
            "meta": Meta(blob_bytes=work.blobs_size, published_later=True, mends=of_forms),
            "file_dep": [*(work.places.part(name) for name in work.part_names), *of_forms, *of_folder],
            "targets": [work.places.output(name) for name in (*work.part_names, *work.places.copies, RECORD)],
            "uptodate": [Inputs(output_version=OUTPUT_VERSION, **work.facts()), Published(work.places.published)],
        }

    def _bundle_task(self, bundle: Bundle, action: object) -> Task:
        places = Places.of(self.file.output, bundle)
        return {
            "name": str(bundle),
            "actions": [action],
            "clean": [(publish.remove, [places, self.file.output])],
        }

    def catalog_task(self) -> Task | None:
        """`catalog`: catalog.json. Every run also brings it up to date at its end, whatever failed."""
        if self.late:
            return None
        return {
            "actions": [(self._write_catalog, [{}, frozenset(map(str, self.file.bundles))])],
            "file_dep": [work.places.record for work in self.buildable],
            "task_dep": [
                *(f"bundle:{bundle}" for bundle, _ in self.broken),
                *(f"bundle:{work.bundle}" for work, _ in self.lacking),
            ],
            "targets": [self._catalog],
            "uptodate": [Inputs(bundles=[str(bundle) for bundle in self.file.bundles])],
            "clean": True,
        }

    def _with_rootfs(self) -> list[Work]:
        """The largest first, so that none of them is left alone in the end while the other workers are idle."""
        if not self._by_size:
            rooted = (work for work in self.buildable if work.has_rootfs)
            self._by_size.extend(sorted(rooted, key=lambda work: -work.blobs_size))
        return self._by_size

    # What the engine asks.

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """`web` and `web@linux/amd64`, for the tasks that they stand for."""
        names: dict[str, tuple[str, ...]] = {}
        for bundle in self.file.bundles:
            task = f"bundle:{bundle}"
            names[str(bundle)] = (task,)
            names[bundle.name] = (*names.get(bundle.name, ()), task)
        return names

    @property
    def workers(self) -> int:
        """`workers:` of bundle.yaml, or the CPUs that this process may keep busy."""
        return self.file.workers or cpus.usable()

    def proven(self) -> Iterator[str]:
        """The tasks of layers that were read, by their receipts, and of bundles that prove themselves current by what
        is on disk."""
        from c2wtasks.tasks.proof import is_proven  # only ever needed where all memory is lost

        for key, copies in self.layers.items():
            receipt = self.store.receipt(copies[0].digest) if copies[0].digest else None
            if receipt is not None and receipt.diff_id in {str(copy.diff_id) for copy in copies}:
                yield f"layer:{key}"
        for work in self.buildable:
            try:
                proves_itself = is_proven(work)
            except Exception:  # then it is made anew, and tells what is wrong
                continue
            if proves_itself:
                bundle = work.bundle
                yield from (f"{family}:{bundle}" for family in ("tree", "spec", "boot", "bundle"))
                yield from (f"rootfs:{bundle}:{form.name}" for form in bundle.forms)

    def publish(self, tasks: frozenset[str]) -> dict[str, UserError]:
        """Publishes what these `bundle:` tasks have made ready; gives the errors of those for which it cannot."""
        if not self._by_task:
            self._by_task.update({f"bundle:{work.bundle}": work for work in self.buildable})
        places = {task: self._by_task[task].places for task in sorted(tasks)}
        outcome = publish.publish(list(places.values()))
        self._in_place += outcome.in_place
        for task, place in places.items():
            if place not in outcome.failed and self._by_task[task].has_rootfs:
                standing.note(place)
                published = record.read(place.record)
                if published is not None:
                    self._published[str(self._by_task[task].bundle)] = published
        return {task: outcome.failed[place] for task, place in places.items() if place in outcome.failed}

    def recover(self) -> None:
        """Removes what a run has left unfinished in the output and in the cache.

        Raises OutputError.
        """
        publish.recover(self.file.output)
        self.store.recover()

    def end_of_run(self, failed: Failed, current: frozenset[str]) -> Iterable[str]:
        """Gives the lines that end the run, and brings catalog.json and bundle.lock up to date.

        `failed` maps the tasks that failed, or were left out for one that did, to the tasks at fault and why;
        `current` are the tasks that are now as they should be.

        Raises OutputError.
        """
        self._asking.close()
        reasons = {
            str(bundle): " / ".join(dict.fromkeys(why for _, why in sorted(failed[f"bundle:{bundle}"].items())))
            for bundle in self.file.bundles
            if f"bundle:{bundle}" in failed
        }
        good = frozenset(str(bundle) for bundle in self.file.bundles if f"bundle:{bundle}" in current)
        yield from self._notes(good)
        yield from self._notes_of_published()
        if self.note:
            yield self.note
        yield from self._note_use(good)
        yield from (f"{bundle}: {reason}" for bundle, reason in sorted(reasons.items()))
        told = {task for bundle in reasons for task in failed[f"bundle:{bundle}"]}
        yield from (
            f"{task}: {why[task]}"
            for task, why in sorted(failed.items())
            if task in why and task not in told and task.partition(":")[0] in _PARTS
        )
        if reasons or (good and "catalog" not in current):
            self._write_catalog(reasons, good)
        if new := self.unlocked():
            self.lock.change(new)
            yield f"{self.lock.path}: added {some_of(list(new))}"

    def warn_before(self, tasks: frozenset[str]) -> Iterable[str]:
        """Warns where there is not the room that the layers and roots of these tasks need."""
        from c2wtasks.tasks import room  # not needed where there is nothing to do

        jobs: list[room.Job] = []
        for work in self._with_rootfs():
            forms = [form for form in work.bundle.forms if f"rootfs:{work.bundle}:{form.name}" in tasks]
            roots = len(work.bundle.forms if f"tree:{work.bundle}" in tasks else forms)
            layers = tuple(layer for layer in work.image.layers if roots or f"layer:{layer.key}" in tasks)
            if layers:
                jobs.append(room.Job(work, layers, roots))
        return room.warnings(jobs, self.store, self.file.cache, self.file.output)

    def cleaned(self) -> None:
        """Brings catalog.json up to date, if it is still there.

        Raises OutputError.
        """
        if safely.exists(self._catalog):
            self._write_catalog({}, frozenset())

    def after_good_run(self) -> Iterable[str]:
        """Keeps the cache to the size that bundle.yaml allows, and gives the lines that tell of it.

        Raises OutputError.
        """
        limit = self.file.cache_max_size
        if limit is None:
            return ()
        from c2wtasks.cache import upkeep

        return upkeep.keep_to_size(limit, self.cache_user, self.store)

    @property
    def cache_user(self) -> upkeep.Catalog:
        """This catalog, as one of those that use the cache."""
        from c2wtasks.cache import upkeep

        images = {str(work.bundle): work.image for work in self.works}
        return upkeep.Catalog(self.file, images, self.lock.entries, self.identity)

    def _notes(self, built: frozenset[str]) -> Iterator[str]:
        """What the folders of roots lack, and what the file system kept from being done as it should be."""
        if self._in_place:
            yield (
                f"note: {some_of([places.published for places in self._in_place])}: replaced in place, not in one "
                "step, as the file system does not rename folders that lie in a lower layer of an overlay"
            )
        known = {bundle: rights.left_out for bundle, rights in self._rights.items()}
        known |= {bundle: one.rootfs.left_out for bundle, one in self._published.items() if one.rootfs}
        lacking = {bundle: left_out for bundle, left_out in sorted(known.items()) if left_out and bundle in built}
        more = "" if builder().complete else ", and a run with more rights makes it anew"
        if len(lacking) > _TOLD_ALONE:
            lacking = {f"{len(lacking)} bundles ({some_of(list(lacking))})": sum(lacking.values(), LeftOut())}
        for bundle, left_out in lacking.items():
            yield f"note: {bundle}: the folder of the root lacks {left_out}; bundle.json says so{more}"

    def _note_use(self, good: frozenset[str]) -> Iterator[str]:
        """Notes that this catalog uses the cache. What hinders that is told, as others' `doit gc` goes by it; but
        where no bundle is good, their errors tell more."""
        identity.keep(self.folder, self.file.name)
        if (error := self.memo.note_use()) is not None and good:
            yield f"note: {error}; while that is so, other catalogs cannot tell that this one uses the cache"

    def _notes_of_published(self) -> Iterator[str]:
        """What the records of the bundles that were published now have to tell."""
        notes = sorted((bundle, note) for bundle, one in self._published.items() for note in one.notes)
        if len(notes) <= _TOLD_ALONE:
            yield from (f"note: {bundle}: {note}" for bundle, note in notes)
        else:
            bundles = list(dict.fromkeys(bundle for bundle, _ in notes))
            yield f"note: {len(bundles)} bundles have notes in their bundle.json: {some_of(bundles)}"

    @property
    def _catalog(self) -> str:
        return f"{self.file.output}/{listing.CATALOG}"

    def _write_catalog(self, failed: dict[str, str], good: frozenset[str]) -> None:
        path = self._catalog
        try:
            previous = safely.read(path, listing.MAX_SIZE)
        except OSError:  # none, or something else in its place
            previous = None
        text = listing.update(self.file.output, self.file.bundles, failed, good, previous)
        files.write_if_changed(path, text, sync=True)


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


def _store_layer(store: Store, copies: list[Layer]) -> None:
    store.ensure(copies)


def _titled(text: str) -> Callable[[Any], str]:
    return lambda _task: text


def _failing(name: str, error: UserError) -> Task:
    """What a task has in common with others that cannot but fail."""
    return {"name": name, "doc": f"fails: {error}", "uptodate": [Fails(str(error))]}


def _fail(error: UserError) -> None:
    raise error
