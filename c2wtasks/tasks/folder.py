"""`rootfs:<bundle>:dir` (or `:9p`): the root as a folder, which waits to be published."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import msgspec

from c2wtasks.bundlefile.model import Form
from c2wtasks.disk import files
from c2wtasks.engine.checks import AnyExists, Check, Inputs, Values
from c2wtasks.engine.meta import Meta
from c2wtasks.errors import OutputError
from c2wtasks.output import record, waiting
from c2wtasks.output.places import ROOTFS
from c2wtasks.output.record import OUTPUT_VERSION, RootfsFacts, WrittenRootfs
from c2wtasks.process.rights import LeftOut, builder
from c2wtasks.tasks.build import Build, Site, Task, of_layers


class FolderInputs(msgspec.Struct, frozen=True):
    """All that a folder is made from, beside the tree. `share` changes no byte, but which files others have, too."""

    output_version: int = OUTPUT_VERSION
    share: bool | msgspec.UnsetType = msgspec.UNSET


@of_layers
def make(site: Site, given: FolderInputs) -> None:
    """Writes the root where it waits to be published, and what is to be said of it.

    Raises LayerError, OutputError.
    """
    files.remove_tree(site.places.rootfs_facts_file)  # it must never lie beside another root than its own
    from c2wtasks.tasks import root as roots  # most runs write none

    root = roots.write(site, site.places.part(ROOTFS), share=bool(given.share))
    files.write(site.places.rootfs_facts_file, record.encode_rootfs(root))


def ready(site: Site, new: str, *, share: bool, moves: bool) -> tuple[str, RootfsFacts]:
    """Sees to it that a root waits from where one rename takes it into the folder `new`, in which the bundle is put
    together. Gives its path, and what is to be said of it.

    As a rule that is the one which `make` has left. None waits where that one is published, and only what is beside
    it has changed; and what waits cannot be moved to another disk, or, where `moves` says no, from a lower layer of
    an overlay, which only a rename tells. Then the root is written again: by links to the published one, as far as
    nobody has touched that. Whoever does so may have fewer rights than whoever made it first.

    Raises LayerError, OutputError.
    """
    places = site.places
    facts_file, usual = places.rootfs_facts_file, places.part(ROOTFS)
    root = record.read_rootfs(facts_file)
    if root is None:
        raise OutputError(f"{facts_file}: cannot be read", hint="run again")
    waits = waiting.waits(places)
    if moves and waits and os.path.dirname(new) == places.parts:
        return usual, root.facts
    target = f"{os.path.dirname(new)}/{ROOTFS}"
    from c2wtasks.tasks import root as roots

    written = roots.write(site, target, share=share)
    if not waits and written.facts != root.facts:
        files.write(facts_file, record.encode_rootfs(written))
    if target != usual:
        files.remove_tree(usual)
    return target, written.facts


class Rights(Check):
    """Holds if whoever wrote the root had all the rights that it takes, or as many as there are now. One who has less
    leaves a better root alone."""

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
    """The task that writes the root as a folder. `rights` is its check, which also knows what the root lacks."""
    places = build.places
    given = FolderInputs(share=build.bundle.share or msgspec.UNSET)
    return {
        "name": f"{build.bundle}:{form.name}",
        "doc": f"writes the rootfs folder of {build.bundle}",
        "actions": [(make, [build.site, given])],
        "meta": Meta(blob_bytes=build.blob_bytes, brief=build.is_small, product=""),
        "file_dep": [places.tree],
        "targets": [places.rootfs_facts_file],
        "uptodate": [
            Inputs(given),
            rights,
            AnyExists(places.part(ROOTFS), places.output(places.rootfs)),
        ],
    }
