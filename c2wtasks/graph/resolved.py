"""The bundles of a bundle.yaml with their images, looked up by bundle.lock or anew."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Self

from doit.exceptions import InvalidDodoFile

from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.lock import Entries, LockEntry, Misfit, compare
from c2wtasks.bundlefile.lockfile import LockFile
from c2wtasks.bundlefile.model import Bundle, BundleFile
from c2wtasks.bundlefile.problems import BundleFileError
from c2wtasks.bundlefile.shards import Shard, ShardError
from c2wtasks.cachedir import identity, layout, trust
from c2wtasks.disk import abilities
from c2wtasks.errors import OutputError, UserError, one_line, program
from c2wtasks.graph.lookups import Lookups
from c2wtasks.graph.wanted import wanted
from c2wtasks.layers.store import Store
from c2wtasks.oci.access import Access
from c2wtasks.oci.digest import Digest
from c2wtasks.output import staged
from c2wtasks.output.places import Places
from c2wtasks.process import collector, runoptions
from c2wtasks.process.runoptions import RunOptions
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.sources.asking import Answer
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.locked import LockedResolver, NotAsked, entry_of
from c2wtasks.sources.memo import Memo
from c2wtasks.sources.model import Image, Layer
from c2wtasks.sources.reading import NoSuchPath
from c2wtasks.sources.resolve import Resolver
from c2wtasks.tasks import form as forms
from c2wtasks.tasks import names
from c2wtasks.tasks.build import Build, Site
from c2wtasks.tasks.folder import Rights
from c2wtasks.telling import stages

LOCK = "bundle.lock"


@dataclass(slots=True)
class Resolved:
    """The bundles of one bundle.yaml, resolved: those whose source can be read as `builds`, the others as `broken`.

    Of the `builds`, those are `buildable` that lack no tool and can be published; the others are `lacking`, with why
    each form cannot be made. `layers` maps a blob's key to the copies of it that the images of `buildable` bundles
    name. `rights` has the check of each bundle whose root is a folder, by bundle.
    """

    file: BundleFile
    store: Store
    folder: str
    identity: str
    memo: Memo
    cache_named: str  # in bundle.yaml: of it we may use a part that is our own
    note: str = ""  # on the cache, to be told once
    options: RunOptions = field(default_factory=RunOptions)
    builds: list[Build] = field(default_factory=list)
    buildable: list[Build] = field(default_factory=list)
    lacking: list[tuple[Build, Mapping[str, UserError]]] = field(default_factory=list)
    broken: list[tuple[Bundle, UserError]] = field(default_factory=list)
    layers: dict[str, list[Layer]] = field(default_factory=dict)
    rights: dict[str, Rights] = field(default_factory=dict)
    _by_size: list[Build] = field(default_factory=list)
    _by_task: dict[str, Build] = field(default_factory=dict)
    _mounts: Set[str] = frozenset()
    _held: dict[Digest, bytes] = field(default_factory=dict)
    _lookups: Lookups = field(init=False)
    remote_trouble: str = ""  # why the remote cache has failed, if it has
    lock: LockFile = field(default_factory=lambda: LockFile(LOCK, {}))

    @classmethod
    @collector.paused()
    def load(cls, path: str = "bundle.yaml", options: RunOptions | None = None) -> Self:
        """Reads bundle.yaml, bundle.lock and what they name: of each image the manifest and config, not the layers.

        `options` are those of the command that is at work, where they are not given.

        Raises InvalidDodoFile, with all mistakes of both files; or where the run is `--locked` and they do not fit in
        what it is about.
        """
        stages.begin("reading bundle.yaml")
        options = options or runoptions.current()
        file, lock = _read(path)
        folder = os.path.dirname(path)
        try:
            trusted = trust.settle(file.cache, folder, group=file.cache_shared, looks=options.looks)
        except OutputError as error:
            raise InvalidDodoFile(str(error)) from error
        cache_named, file = file.cache, replace(file, cache=trusted.folder)
        known_as = identity.of(folder, file.name)
        memo = Memo.of(file.cache, known_as, trusted.owners, afresh=options.afresh)
        store = Store(f"{file.cache}/{layout.LAYERS}", file.max_layer_size)
        graph = cls(file, store, folder, known_as, memo, cache_named, trusted.note, options, lock=lock)
        named = wanted(options.words, file)
        if options.locked:
            _refuse(graph.misfit().only(named) if options.words and named is not None else graph.misfit(), lock.path)
        if options.shard:
            graph.file, graph.lock = _of_shard(options, file, lock)
        graph._mounts = abilities.mounts_below(file.output)
        graph._lookups = Lookups(graph.resolver(lock.entries, memo), options.looks_up, named)
        graph._take(graph._lookups.begin(graph.file.bundles))
        stages.begin("making tasks")
        return graph

    # What is looked up in registries may come late.

    @property
    def late(self) -> tuple[str, ...]:
        """The bundles whose images are not known yet: there are no tasks of them, nor of the catalog. None of them is
        where the options do not allow it (`looks_up`)."""
        return tuple(self._lookups.late)

    def arrive(self, *, wait: bool) -> bool:
        """Takes in the images that have become known, and says whether there were any. If it is to `wait`, there are:
        those that come one soon after another."""
        came = self._lookups.come(wait=wait)
        if came:
            self._take(came)
        return bool(came)

    @property
    def unasked(self) -> list[Bundle]:
        """The bundles for which no registry was asked, though only that can tell what their images are. They have
        tasks that cannot but fail."""
        return [one for one, error in self.broken if isinstance(error, NotAsked)]

    def widen(self, *, needed: bool) -> bool:
        """Looks up what is `unasked`, and says whether there was anything; if it is not known to be `needed`, only
        where the words on the command line mean nothing that the graph has by itself."""
        unasked = self.unasked if needed or self._lookups.narrowed else []
        if unasked:
            self.broken = [(one, error) for one, error in self.broken if not isinstance(error, NotAsked)]
            self._take(self._lookups.widen(unasked))
        return bool(unasked)

    def close(self) -> None:
        """Ends the process that asks registries, if there is one."""
        self._lookups.close()

    def _take(self, answers: Iterable[tuple[Bundle, Answer]]) -> None:
        for one, image in sorted(answers, key=lambda answer: (answer[0].name, answer[0].platform)):
            try:
                if isinstance(image, UserError):
                    raise image
                self._add(one, image)
            except Exception as error:
                self.broken.append((one, _with_place(one, as_user_error(error))))
        for key, copies in self.layers.items():  # what is here is not fetched
            self.layers[key] = sorted(copies, key=lambda copy: not copy.place.is_local)
        for builds in (self.builds, self.buildable):
            builds.sort(key=lambda build: (build.bundle.name, build.bundle.platform))
        self._by_size.clear()
        self._by_task.clear()
        if self.options.looks_up != "not" and not self.options.looks:
            self.memo.save()

    def _add(self, one: Bundle, image: Image) -> None:
        build = Build(one, image, Site(Places.of(self.file.output, one), self.store, image.layers))
        missing: Mapping[str, UserError] = forms.missing_tools(one)
        if self._mounts and f"{one.name}/{one.platform.folder}" in self._mounts:
            missing = dict.fromkeys((form.name for form in one.forms), staged.is_mount(build.places))
        keyed = [(layer.key, layer) for layer in image.layers] if build.has_rootfs else []
        self.builds.append(build)
        if missing:
            self.lacking.append((build, missing))
            return
        self.buildable.append(build)
        for key, copy in keyed:
            copies = self.layers.get(key, [])
            if copy not in copies:  # a new list: tasks may be at work that look at the old one
                self.layers[key] = [*copies, copy]

    def breaks(self, build: Build, error: Exception) -> None:
        """Takes a build for which something went wrong that nobody expected as one that is broken."""
        self.buildable.remove(build)
        self._by_size.clear()
        self._by_task.clear()
        self.broken.append((build.bundle, as_user_error(error)))

    def resolver(self, entries: Entries, memo: Memo | None = None) -> LockedResolver:
        """What looks images up, but for those of `entries`."""
        kept = f"{self.file.cache}/{layout.BLOBS}" if self.file.keep_blobs else ""
        patient = self.options.looks_up != "briefly"
        access = Access(self.file.registries, offline=self.options.offline, kept=kept, patient=patient)
        return LockedResolver(Resolver(access, self.documents, memo), entries, self.lock.path, self._bring)

    def _bring(self, wanted: Collection[Digest]) -> None:
        """Has documents from the remote cache, as far as it has them."""
        if self.file.remote_cache is not None and not self.remote_trouble:
            from c2wtasks.graph import remotecache  # not needed where all is at hand

            found, self.remote_trouble = remotecache.documents(self.file, self.options, wanted)
            for digest, content in found.items():
                self.documents.put(digest, content)
            self._held.update(found if self.options.looks else {})

    @property
    def documents(self) -> Documents:
        """The documents in the cache. They are not written where the command only looks."""
        return Documents(f"{self.file.cache}/{layout.DOCUMENTS}", keeps=not self.options.looks, held=self._held)

    @property
    def strict(self) -> bool:
        """Whether what a run would only note of a bundle fails it."""
        return self.options.strict or self.file.strict

    # The lock.

    @property
    def lockable(self) -> tuple[Bundle, ...]:
        """The bundles that should be in the lock."""
        return tuple(one for one in self.file.bundles if self.file.lock_all or one.source.type.is_locked)

    def misfit(self) -> Misfit:
        """Where the lock, as it was read, does not fit bundle.yaml."""
        return compare(self.lock.entries, {str(one): one.source.text for one in self.lockable})

    def unlocked(self) -> dict[str, LockEntry | None]:
        """What the lock should say of the bundles that it lacks, or has with another source; nothing where it may not
        be changed."""
        if self.options.locked:
            return {}
        misfit = self.misfit()
        new = {*misfit.missing, *misfit.changed}
        return {str(one.bundle): entry_of(one.bundle, one.image) for one in self.builds if str(one.bundle) in new}

    def with_rootfs(self) -> list[Build]:
        """The builds that have a root, the largest first, so that none of them is left alone in the end while the
        other workers are idle."""
        if not self._by_size:
            rooted = (build for build in self.buildable if build.has_rootfs)
            self._by_size.extend(sorted(rooted, key=lambda build: -build.blob_bytes))
        return self._by_size

    def by_task(self) -> dict[str, Build]:
        """The builds that are `buildable`, by the tasks that publish them."""
        if not self._by_task:
            self._by_task.update((names.bundle(build.bundle), build) for build in self.buildable)
        return self._by_task


def _refuse(misfit: Misfit, path: str) -> None:
    """Raises InvalidDodoFile where the lock does not fit."""
    if misfit:
        lines = "\n".join(misfit.lines())
        how = f"to make it fit, run: {program()} lock"
        raise InvalidDodoFile(f"{path} does not fit, and may not be changed (--locked); {how}\n{lines}")


def _of_shard(options: RunOptions, file: BundleFile, lock: LockFile) -> tuple[BundleFile, LockFile]:
    """What the two files say of the bundles of one shard.

    Raises InvalidDodoFile: there is no such shard, or a word on the command line is about bundles of others alone.
    """
    try:
        mine = Shard.parse(options.shard).of(file.bundles, lock.entries)
    except ShardError as error:
        raise InvalidDodoFile(f"{runoptions.SHARD}: {error}") from error
    known = {str(bundle) for bundle in mine}
    for word in options.words:
        if (named := wanted([word], file)) and named.isdisjoint(known):
            where = f"shard {options.shard} ({runoptions.SHARD})"
            raise InvalidDodoFile(f"{one_line(word)} is not in {where}; to see what is, run: {program()} list")
    entries = {bundle: entry for bundle, entry in lock.entries.items() if bundle in known}
    return replace(file, bundles=mine), replace(lock, entries=entries)


def _with_place(bundle: Bundle, error: UserError) -> UserError:
    """`error`, with the place of the image in bundle.yaml where the path there may be wrong. Pure."""
    if not isinstance(error, NoSuchPath):
        return error
    remedy = f"put it there, or mend the source of {bundle.name} ({bundle.position})"
    return NoSuchPath(error.message, hint=f"{error.hint} ({bundle.position})" if error.hint else remedy)


def _read(path: str) -> tuple[BundleFile, LockFile]:
    """What bundle.yaml and bundle.lock say. Raises InvalidDodoFile."""
    try:
        return load(path), LockFile.read(os.path.join(os.path.dirname(path), LOCK))
    except BundleFileError as error:
        lines = "\n".join(error.lines)
        count = len(error.lines)
        raise InvalidDodoFile(lines if count == 1 else f"{count} mistakes, nothing was done:\n{lines}") from error
    except Exception as error:
        raise InvalidDodoFile(str(as_user_error(error))) from error
