"""A root written as a folder: with what the published one has unchanged, and of the spare one where that is good."""

from __future__ import annotations

import os
from collections.abc import Set
from contextlib import closing, nullcontext

from c2wtasks.disk import files, safely, syncing
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers import sameness
from c2wtasks.output import pool, record, spare, standing, waiting
from c2wtasks.output.places import ROOTFS, Places
from c2wtasks.output.record import RootfsFacts, Sharing, WrittenRootfs
from c2wtasks.output.spare import Stamps, Written
from c2wtasks.process.rights import LeftOut, builder
from c2wtasks.rootfs import dir as directory
from c2wtasks.rootfs.dir import Pool, Previous, Shared, Spare
from c2wtasks.tasks import changed
from c2wtasks.tasks.build import Site
from c2wtasks.telling import progress
from c2wtasks.tree import difference
from c2wtasks.tree.difference import Compared, Xattrs
from c2wtasks.tree.model import Content
from c2wtasks.tree.treefile import TreeFile

Standing = tuple[TreeFile, RootfsFacts, str]
"""As in `standing.root`."""

_MOST_CHANGES = 8  # where more than one name of so many changes, it is as well to link all that stay, by all workers
_WORTH_SYNCING = 16 << 20  # of small roots, one sync of many is enough: each ends a transaction of the file system


def write(site: Site, target: str, *, share: bool) -> WrittenRootfs:
    """Writes the root, by way of a temporary name, which it loses when it is whole. What the published one has
    unchanged is shared with it; with `share`, what other roots of the output have. Gives what is to be said of it.

    Raises LayerError, OutputError.
    """
    tree, tree_fingerprint = site.tree()
    unfinished = f"{os.path.dirname(target)}/.{ROOTFS}"
    files.remove_tree(unfinished)
    progress.step("writing", tree.size)
    try:
        with files.removed_on_failure(unfinished):
            left_out, sharing = _written(site, tree, tree_fingerprint, unfinished, share=share)
            if tree.size >= _WORTH_SYNCING:
                syncing.begin_to_sync(site.places.parts)
            files.remove_tree(target)
            safely.rename(unfinished, target)
            waiting.note(site.places, target)
    except OSError as error:
        need = f" (the whole root takes {tree.size} bytes)"
        raise OutputError(f"{target}: cannot be written: {os_reason(error)}{need}") from error
    entries = tree.entry_count - left_out.devices
    facts = RootfsFacts(tree_fingerprint, tree.size, entries, left_out, builder().ids)
    return WrittenRootfs(facts, builder(), sharing if share else None)


def _written(
    site: Site, tree: TreeFile, tree_fingerprint: str, folder: str, *, share: bool
) -> tuple[LeftOut, Sharing]:
    """Makes `folder` hold the tree: with what the published root has unchanged, and of the spare one, if there is a
    good one, by what is otherwise in it. Gives what is left out, and what came of sharing, if files are to `share`.

    Raises LayerError, OutputError.
    """
    places = site.places
    stands = standing.root(places, shares=share, new=(tree, tree_fingerprint))
    compared = _compared(site, tree, *stands[:2]) if stands is not None else None
    before = stands[0].layers if stands is not None and compared is not None else ()
    with pool.opened(places.pool, tree.layers, before) if share else nullcontext() as pooled:
        if stands is None or compared is None:
            spare.discard(places)
            left_out = directory.write(tree, site.tar, folder, pool=pooled)
            _note(places, tree, folder, Written(None, 0, {}), None)
            published = record.read(places.record) if share else None
            loose = published.rootfs.size if published is not None and published.rootfs is not None else 0
        else:
            previous = Previous(stands[2], compared.kept, stands[1].left_out.xattrs)
            noted = spare.written_last(places)
            stamps = noted.stamps if noted is not None else {}
            renewed = _renewed(site, tree, folder, stands, compared, previous, pooled, stamps)
            if renewed is not None:
                left_out = renewed
            else:
                left_out = directory.write(tree, site.tar, folder, previous, pool=pooled)
            missed = previous.missed
            loose = _note_difference(places, tree, tree_fingerprint, folder, stands, compared, missed, noted)
            if stands[0] is not tree:
                trees = stands[1].tree, tree_fingerprint
                changed.note_files(places, site.store, trees, stands[0], tree, compared)
    shared = pooled.shared if pooled is not None else Shared()
    return left_out, Sharing(shared.saved, loose, shared.cannot)


def _renewed(
    site: Site,
    tree: TreeFile,
    folder: str,
    stands: Standing,
    compared: Compared,
    previous: Previous,
    pooled: Pool | None,
    stamps: Stamps,
) -> LeftOut | None:
    """Makes `folder` of the spare root; None where there is none of which nearly all can stay: then nothing is called
    so."""
    places, (old, facts, _) = site.places, stands
    if os.path.dirname(folder) != places.parts:  # on another disk
        spare.discard(places)
        return None
    found = spare.take(places, facts, folder, stamps)
    if found is None:
        return None
    delta = found.delta
    of_spare = difference.with_before(delta, old, tree, compared)
    if found.facts.ids == facts.ids and _MOST_CHANGES * of_spare.kept.count(difference.NONE) <= len(tree.nodes):

        def xattrs(at: int) -> Xattrs:
            return delta.xattrs.get(at, old.nodes[at].xattrs)

        was = Previous(folder, of_spare.kept, found.facts.left_out.xattrs)
        before = Spare(was, of_spare.fuller, found.stamps, xattrs)
        try:
            return directory.write(tree, site.tar, folder, previous, before, pooled)
        except OutputError:  # whatever has come of the spare
            pass
    files.remove_tree(folder)
    return None


def _note_difference(
    places: Places,
    tree: TreeFile,
    tree_fingerprint: str,
    folder: str,
    stands: Standing,
    compared: Compared,
    missed: Set[int],
    noted: Written | None,
) -> int:
    """Notes what the root in `folder`, which was just written, has otherwise than the published one, of which files
    are `missed`. Gives how many bytes of files that one has, and the new one has not. `noted` is what was last.

    Raises OSError, OutputError.
    """
    old, facts, path = stands
    shared = sum(
        node.size
        for index, (node, at) in enumerate(zip(tree.nodes, compared.kept, strict=True))
        if at != difference.NONE and index not in missed
    )
    delta = difference.delta(old, tree, (facts.tree, tree_fingerprint), compared, missed)
    top, stamps = safely.lstat(path).st_ino, noted.stamps if noted is not None else {}
    before = {top: stamps[top]} if top in stamps else {}
    _note(places, tree, folder, Written(delta, old.size - shared, before), noted)
    return old.size - shared


def _note(places: Places, tree: TreeFile, folder: str, written: Written, noted: Written | None) -> None:
    """Notes what was written in `folder`, with its stamps, unless that is `noted`. Raises OSError, OutputError."""
    written.stamps[safely.lstat(folder).st_ino] = directory.stamps(tree.nodes, folder, written.young)
    if written != noted:  # two roots that take turns have nothing new
        spare.note_written(places, written)


def _compared(site: Site, tree: TreeFile, old: TreeFile, facts: RootfsFacts) -> Compared | None:
    """The tree, held against that of the published root; None where its owners mean others than here."""
    if facts.ids != builder().ids:
        return None
    if old is tree:
        return difference.compare(tree, tree, lambda *_: True)
    old_tars, tars = ([site.store.tar(one) for one in each.diff_ids()] for each in (old, tree))
    with closing(sameness.MappedTars()) as layers:

        def same(before: Content, now: Content, length: int) -> bool:
            one, other = (old_tars[before.layer], before.offset), (tars[now.layer], now.offset)
            return one == other or layers.same(*one, *other, length)

        return difference.compare(old, tree, same)
