"""What a bundle that is made ready has otherwise in its root than the one that stands, while both trees are at hand.

Where that cannot be told, nothing is left, and what tells of the change says that this is not known.
"""

from __future__ import annotations

from contextlib import closing

import msgspec

from c2wtasks.changes import installed, roots, stored
from c2wtasks.changes import records as bundles
from c2wtasks.changes.model import Details, Files
from c2wtasks.disk import files, fingerprint, safely
from c2wtasks.disk.sealed import seal, unseal
from c2wtasks.errors import OutputError
from c2wtasks.layers import fragments
from c2wtasks.layers.sameness import MappedTars
from c2wtasks.layers.store import Store
from c2wtasks.output import record, standing
from c2wtasks.output.places import PACKAGES, Places
from c2wtasks.tree import alike, difference, treefile
from c2wtasks.tree.difference import Compared
from c2wtasks.tree.model import Content
from c2wtasks.tree.treefile import TreeFile

Trees = tuple[str, str]
"""The fingerprints of two trees, the old one first."""


class _OfTrees(msgspec.Struct, frozen=True, array_like=True):
    trees: Trees
    files: Files


class Changed(msgspec.Struct, frozen=True, array_like=True):
    """What changes in the root from the bundle.json `before` to that `after`, by their SHA-256: the document, and its
    ID (`changes.stored`)."""

    before: str
    after: str
    details: str
    document: bytes


_MAGIC = b"c2wchgd\x01"
_OF_TREES = msgspec.msgpack.Decoder(_OfTrees)
_CHANGED = msgspec.msgpack.Decoder(Changed)


class _Stored:
    """What the layer store has of two trees: no layer is read again for it."""

    def __init__(self, store: Store, old: TreeFile, new: TreeFile) -> None:
        self._old, self._new = ([store.tar(one) for one in tree.diff_ids()] for tree in (old, new))
        self._tars = MappedTars()

    def same(self, old: Content, new: Content, size: int) -> bool | None:
        """Raises OSError."""
        one, other = (self._old[old.layer], old.offset), (self._new[new.layer], new.offset)
        if old.sparse == new.sparse and one == other:
            return True
        if not self._tars.is_there(one[0]) or not self._tars.is_there(other[0]):
            return None
        return old.sparse == new.sparse and self._tars.same(*one, *other, _stored(new, size))

    def of_old(self, content: Content, size: int) -> str:
        """Raises OSError."""
        return self._fingerprint(self._old, content, size)

    def of_new(self, content: Content, size: int) -> str:
        """Raises OSError."""
        return self._fingerprint(self._new, content, size)

    def _fingerprint(self, tars: list[str], content: Content, size: int) -> str:
        if not size:
            return ""
        more = content.sparse or b""  # two files that have their holes elsewhere are not the same
        return self._tars.fingerprint(tars[content.layer], content.offset, _stored(content, size), more)

    def close(self) -> None:
        """Lets go of the layers."""
        self._tars.close()


def _stored(content: Content, size: int) -> int:
    return size if content.sparse is None else fragments.stored(content.sparse)


def _files_between(store: Store, contents: tuple[bytes, bytes]) -> Files:
    """Which files the second of two tree files has otherwise than the first.

    Raises OSError: a layer cannot be read. ValueError: a tree file is damaged.
    """
    found = alike.alike(*contents)
    if found is not None:
        with closing(_Stored(store, found.old, found.new)) as stored:
            return roots.compare(found.old, found.new, zip(found.others, found.others, strict=True), stored)
    old, new = map(treefile.decode, contents)
    with closing(_Stored(store, old, new)) as stored:
        compared = difference.compare(old, new, lambda *given: stored.same(*given) or False)
        return roots.compare(old, new, roots.others(old, new, compared), stored)


def note_files(places: Places, store: Store, trees: Trees, old: TreeFile, new: TreeFile, compared: Compared) -> None:
    """Notes which files the root has otherwise that was just written, in whose place `old` stands."""
    try:
        with closing(_Stored(store, old, new)) as contents:
            found = roots.compare(old, new, roots.others(old, new, compared), contents)
        files.write(places.changed_files, seal(_MAGIC, _OfTrees(trees, found)))
    except (OSError, OutputError):
        pass


def note(places: Places, store: Store, text: bytes, packages: bytes) -> None:
    """Notes what the bundle that is made ready, with these texts of bundle.json and packages.json, has otherwise in
    its root."""
    if standing.has_tree(places):
        return
    try:
        before = safely.read(places.record, record.MAX_SIZE)
        if not standing.is_noted(places):
            return
        old, new = (safely.read(path, treefile.MAX_SIZE) for path in (places.standing_tree, places.tree))
        trees = fingerprint.of_bytes(old), fingerprint.of_bytes(new)
        if trees[0] == trees[1]:
            return
        had = safely.read(places.output(PACKAGES), record.MAX_SIZE)
        keep(places, (before, text), between(store, (old, new), (had, packages), _known(places, trees)))
        files.remove_tree(places.changed_files)
    except (OSError, ValueError, OutputError):
        pass


def small(folder: str, name: str) -> bytes:
    """A small file of the bundle in a folder. Raises OSError."""
    return safely.read(f"{folder}/{name}", record.MAX_SIZE)


def standing_tree(places: Places) -> bytes:
    """The tree file of the bundle that stands.

    Raises OSError, ValueError: it is not known which that is.
    """
    if not standing.is_noted(places):
        raise ValueError(f"{places.published}: is not as it was left")
    return safely.read(places.standing_tree, treefile.MAX_SIZE)


def between(store: Store, trees: tuple[bytes, bytes], packages: tuple[bytes, bytes], known: Files | None) -> Details:
    """What changes from one root to another, by their tree files and the texts of packages.json; `known` are the
    files, if they are.

    Raises OSError, ValueError.
    """
    layers = [treefile.packed(content)[2] for content in trees]
    found = known if known is not None else _files_between(store, trees)
    return Details(installed.compare(*packages, (layers[0], layers[1])), found)


def _known(places: Places, trees: Trees) -> Files | None:
    """The files that `note_files` has noted for these trees."""
    try:
        noted = unseal(_MAGIC, safely.read(places.changed_files, record.MAX_SIZE), _OF_TREES)
    except (OSError, ValueError):
        return None
    return noted.files if noted.trees == trees else None


def keep(places: Places, records: tuple[bytes, bytes], details: Details) -> None:
    """Keeps what changes from one text of bundle.json to another until that is published. Raises OutputError."""
    before, after = map(bundles.digest, records)
    files.write(places.changed, seal(_MAGIC, Changed(before, after, *stored.encode_details(details))))


def take(places: Places, before: str, after: str) -> Changed | None:
    """What was kept of the change between these two, which is forgotten; None where nothing was, or of another."""
    try:
        noted = unseal(_MAGIC, safely.read(places.changed, record.MAX_SIZE), _CHANGED)
        files.remove_tree(places.changed)
    except (OSError, ValueError, OutputError):
        return None
    return noted if (noted.before, noted.after) == (before, after) else None
