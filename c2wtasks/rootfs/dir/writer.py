"""Writes a tree as a folder: in parts, which all workers of the run that have nothing else to do help to write."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing

from c2wtasks.disk import files, safely
from c2wtasks.process.helping import Helpers
from c2wtasks.process.rights import LeftOut
from c2wtasks.rootfs.dir.attributes import Attributes
from c2wtasks.rootfs.dir.entries import Entries, Remainder
from c2wtasks.rootfs.dir.folders import FEW, FOLDER, allow_descriptors, made
from c2wtasks.rootfs.dir.parts import Part, crossed, cut
from c2wtasks.rootfs.dir.pool import Pool
from c2wtasks.rootfs.dir.previous import Previous, Spare
from c2wtasks.rootfs.dir.refusal import explained
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.telling import progress
from c2wtasks.tree.treefile import ROOT, TreeFile

_SCRATCH = "-scratch"


def write(
    tree: TreeFile,
    tars: TarByNumber,
    folder: str,
    previous: Previous | None = None,
    spare: Spare | None = None,
    pool: Pool | None = None,
) -> LeftOut:
    """Makes `folder`, which must not exist, hold the tree. Gives what could not be made so.

    Whatever the builder may not do, or the file system cannot, is left out: an owner, who is the builder then; bits
    of a mode; a device; an xattr; a hard link, which is a copy then. All else is exact: mode, links, content, mtime
    in nanoseconds (atime is the same). Where a file has more names than the file system allows (65,000 on ext4),
    copies of it take the rest.

    What `previous` holds unchanged becomes a hard link to the file there, unless that is seen to be another one by
    now; nothing is ever written into it.

    With a `spare`, `folder` is one that holds another tree, and what is otherwise in it is changed, as far as it is
    seen to be. Its files may have other names elsewhere: none is changed, but its name is given to another one.

    With a `pool`, files that it has are linked to, and those that are made are put there; none is changed.

    Raises OutputError, and what `tars` raises.
    """
    with closing(_Root(tree, folder)) as root:
        try:
            return root.write(tars, previous, pool) if spare is None else root.renew(tars, previous, spare, pool)
        except OSError as error:
            raise explained(error, folder, root.at, tree) from error


class _Root:
    """The root that is written: made, its parts shared out, and finished when they are all there."""

    def __init__(self, tree: TreeFile, folder: str) -> None:
        self.tree = tree
        self.nodes = tree.nodes
        self.folder = folder
        self.at = ROOT
        self.descriptor = -1

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def write(self, tars: TarByNumber, previous: Previous | None, pool: Pool | None) -> LeftOut:
        self.descriptor = made(self.folder)
        given = Attributes(self.descriptor, {node.uid for node in self.nodes})
        parts = cut(self.nodes, previous.kept if previous is not None else None)
        entries = Entries(self.nodes, self.descriptor, given, tars, previous, pool, crossed(self.nodes, parts))

        def fill() -> None:
            for index in sorted(entries.crossed):
                self.make_crossed(index, entries)
            self.share_out(parts, entries.part, entries)

        return self.filled(entries, fill, previous)

    def renew(self, tars: TarByNumber, previous: Previous | None, spare: Spare, pool: Pool | None) -> LeftOut:
        from c2wtasks.rootfs.dir import whole  # most runs have nothing to renew
        from c2wtasks.rootfs.dir.renewal import Renewal

        with safely.entry(self.folder) as (here, name):
            self.descriptor = os.open(name, FOLDER, dir_fd=here)
        if len(self.nodes) < FEW and pool is None and whole.is_whole(self.nodes, self.descriptor, spare):
            progress.advance(self.tree.size)
            return LeftOut()
        scratch = f"{self.folder}{_SCRATCH}"
        files.remove_tree(scratch)
        try:
            tried = made(scratch)
            try:
                given = Attributes(tried, {node.uid for node in self.nodes})
                fixed = self.nodes, self.descriptor, given, tars, previous, pool
                renewal = Renewal(*fixed, spare=spare, scratch=tried)

                def fill() -> None:
                    self.share_out(cut(self.nodes, spare.was.kept), renewal.look, renewal)
                    renewal.change()

                return self.filled(renewal, fill, previous)
            finally:
                os.close(tried)
        finally:
            files.remove_tree(scratch)

    def filled(self, entries: Entries, fill: Callable[[], None], previous: Previous | None) -> LeftOut:
        """Fills the root, and does what that has left to be done."""
        allow_descriptors(self.nodes)
        with closing(entries):
            try:
                fill()
                self.finish(entries)
            except OSError:
                self.at = entries.at
                raise
        if previous is not None:
            previous.missed.update(entries.left.missed)
        if entries.pooled is not None:
            entries.pooled.pool.shared.add(entries.left.shared)
        return entries.left.lacking.left_out(self.nodes)

    def make_crossed(self, index: int, entries: Entries) -> None:
        entries.at = index
        with entries.folder_of(index) as parent:
            entries.make_folder(self.nodes[index], parent)

    def share_out(self, parts: list[Part], do: Callable[[Part], None], entries: Entries) -> None:
        """Does all parts, here and where there is somebody to help."""

        def help_out() -> Remainder:
            entries.left.shared.saved = 0  # what was counted before it was forked is counted here
            try:
                for number in helpers.work():
                    do(parts[number])
            except OSError as error:
                raise explained(error, self.folder, entries.at, self.tree) from error
            return entries.left

        with closing(Helpers(len(parts), help_out)) as helpers:
            for number in helpers.work():
                do(parts[number])
            for left in helpers.results():
                entries.left.add(left)

    def finish(self, entries: Entries) -> None:
        """Does what parts have left to be done: in one order, however many have written them."""
        left = entries.left
        for index in sorted(left.links):
            entries.at = index
            with entries.folder_of(index) as parent:
                entries.put_late(index, parent)
        for index in sorted(left.folders - {ROOT}, reverse=True):
            self.finish_folder(index, entries)
        for index in sorted(left.locked, reverse=True):  # inner ones first
            self.lock(index, entries)
        # The root last: until now nobody else came into it, whatever the modes in it.
        left.locked.clear()
        self.finish_folder(ROOT, entries)
        for index in left.locked:
            self.lock(index, entries)

    def finish_folder(self, index: int, entries: Entries) -> None:
        entries.at, name = index, self.nodes[index].name if index != ROOT else b"."
        with entries.folder_of(index) as parent:
            descriptor = os.open(name, FOLDER, dir_fd=parent)
        try:
            entries.finish_late(index, descriptor)
        finally:
            os.close(descriptor)

    def lock(self, index: int, entries: Entries) -> None:
        """Sets the mode of a directory after all its names have been linked to."""
        entries.at, node = index, self.nodes[index]
        with entries.folder_of(index) as parent:
            entries.given.give_last_mode(index, node, node.name if index != ROOT else b".", parent)
