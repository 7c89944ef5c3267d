"""`rootfs:<bundle>:dir` (or `:9p`): the root as a folder, which waits to be published."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import msgspec

from c2wtasks import progress
from c2wtasks.bundlefile.model import Form
from c2wtasks.disk import files, safely, syncing
from c2wtasks.engine.checks import AnyExists, Check, Inputs, Values
from c2wtasks.engine.meta import Meta
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers import sameness
from c2wtasks.output import record, standing, waiting
from c2wtasks.output.places import ROOTFS
from c2wtasks.output.record import OUTPUT_VERSION, RootfsFacts, WrittenRootfs
from c2wtasks.rootfs import dir as directory
from c2wtasks.rootfs.dir import Previous
from c2wtasks.rootfs.rights import LeftOut, builder
from c2wtasks.tasks.build import Build, Site, Task
from c2wtasks.tree import difference
from c2wtasks.tree.model import Content
from c2wtasks.tree.treefile import TreeFile

_WORTH_SYNCING = 16 << 20  # of small roots, one sync of many is enough: each ends a transaction of the file system


class FolderInputs(msgspec.Struct, frozen=True):
    """All that a folder is made from, beside the tree."""

    output_version: int = OUTPUT_VERSION


def make(site: Site, _given: FolderInputs) -> None:
    """Writes the root where it waits to be published, and what is to be said of it.

    Raises LayerError, OutputError.
    """
    files.remove_tree(site.places.rootfs_facts_file)  # it must never lie beside another root than its own
    root = write(site, site.places.part(ROOTFS))
    files.write(site.places.rootfs_facts_file, record.encode_rootfs(root))


def write(site: Site, target: str) -> WrittenRootfs:
    """Writes the root, by way of a temporary name, which it loses when it is whole. What the published one has
    unchanged is shared with it. Gives what is to be said of it.

    Raises LayerError, OutputError.
    """
    tree, tree_fingerprint = site.tree()
    unfinished = f"{os.path.dirname(target)}/.{ROOTFS}"
    files.remove_tree(unfinished)
    progress.step("writing", tree.size)
    try:
        with files.removed_on_failure(unfinished):
            left_out = directory.write(tree, site.tar, unfinished, _previous(site, tree))
            if tree.size >= _WORTH_SYNCING:
                syncing.begin_to_sync(site.places.parts)
            files.remove_tree(target)
            safely.rename(unfinished, target)
            waiting.note(site.places, target)
    except OSError as error:
        need = f" (the whole root takes {tree.size} bytes)"
        raise OutputError(f"{target}: cannot be written: {os_reason(error)}{need}") from error
    entries = tree.entry_count - left_out.devices
    return WrittenRootfs(RootfsFacts(tree_fingerprint, tree.size, entries, left_out, builder().ids), builder())


def _previous(site: Site, tree: TreeFile) -> Previous | None:
    """The published root, with what of it is as in `tree`; None unless it can be trusted."""
    stands = standing.root(site.places)
    if stands is None:
        return None
    old, facts, path = stands
    if facts.ids != builder().ids:
        return None
    old_tars, tars = ([site.store.tar(one) for one in each.diff_ids()] for each in (old, tree))
    with closing(sameness.MappedTars()) as layers:

        def same(before: Content, now: Content, length: int) -> bool:
            one, other = (old_tars[before.layer], before.offset), (tars[now.layer], now.offset)
            return one == other or layers.same(*one, *other, length)

        return Previous(path, difference.kept(old, tree, same), facts.left_out.xattrs)


def ready(site: Site, new: str) -> tuple[str, RootfsFacts]:
    """Sees to it that a root waits from where one rename takes it into the folder `new`, in which the bundle is put
    together. Gives its path, and what is to be said of it.

    As a rule that is the one which `make` has left. None waits where that one is published, and only what is beside
    it has changed; and what waits cannot be moved to another disk, or from a lower layer of an overlay. Then the root
    is written again: by links to the published one, as far as nobody has touched that. Whoever does so may have fewer
    rights than whoever made it first.

    Raises LayerError, OutputError.
    """
    places = site.places
    facts_file, usual = places.rootfs_facts_file, places.part(ROOTFS)
    root = record.read_rootfs(facts_file)
    if root is None:
        raise OutputError(f"{facts_file}: cannot be read", hint="run again")
    waits = waiting.waits(places)
    try:
        if waiting.can_be_moved(places, new):
            return usual, root.facts
    except OSError as error:
        raise OutputError(f"{usual}: cannot be moved: {os_reason(error)}") from error
    target = f"{os.path.dirname(new)}/{ROOTFS}"
    written = write(site, target)
    if not waits and written.facts != root.facts:
        files.write(facts_file, record.encode_rootfs(written))
    if target != usual:
        files.remove_tree(usual)
    return target, written.facts


class Rights(Check):
    """Whoever wrote the root had all the rights that it takes, or as many as there are now. One who has less leaves a
    better root alone."""

    def __init__(self, facts_file: str) -> None:
        self.facts_file = facts_file
        self.root: WrittenRootfs | None = None  # where it lacks something

    def paths(self) -> Iterable[str]:
        return (self.facts_file,)

    @property
    def left_out(self) -> LeftOut | None:
        """What the root lacks, as far as it was looked at."""
        return self.root.facts.left_out if self.root is not None else None

    def configure_task(self, task: Any) -> None:
        """Has what the root lacks saved when the task ran: doit calls this when it makes the task."""
        task.value_savers.append(self._saved)

    def _saved(self) -> Values:
        root = record.read_rootfs(self.facts_file)
        self.root = root if root is not None and (root.facts.left_out or root.facts.ids) else None
        return {"root": msgspec.to_builtins(self.root)}

    def holds(self, values: Values) -> bool:
        saved = values.get("root")
        self.root = msgspec.convert(saved, WrittenRootfs) if saved else None
        return self.root is None or not self.root.may_be_improved

    def explain(self, values: Values) -> list[str]:
        if self.holds(values) or self.root is None:
            return []
        if gained := builder().gained(self.root.builder):
            return [f"it was written without the rights {', '.join(gained)}"]
        return ["its owners are those of another user namespace"]


def task(build: Build, form: Form, rights: Rights) -> Task:
    """`rights` is the check of this task: it also knows what the root lacks."""
    places = build.places
    given = FolderInputs()
    return {
        "name": f"{build.bundle}:{form.name}",
        "doc": f"writes the rootfs folder of {build.bundle}",
        "actions": [(make, [build.site, given])],
        "meta": Meta(blob_bytes=build.blob_bytes, product=""),
        "file_dep": [places.tree],
        "targets": [places.rootfs_facts_file],
        "uptodate": [
            Inputs(given),
            rights,
            AnyExists(places.part(ROOTFS), places.output(places.rootfs)),
        ],
    }
