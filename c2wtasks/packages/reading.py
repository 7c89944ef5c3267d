"""What readers of databases may ask: the content of files, within limits, and what was found before.

Catalogs have many roots over the same layers. What a file in a layer says is the same whenever it is read, so it is
kept by where its bytes lie: the layer's diffID, and the place in its tar.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from c2wtasks.layers.entry import TarEntry
from c2wtasks.packages.model import Unread
from c2wtasks.tree.model import FILE, Content, Inode

T = TypeVar("T")

MAX_DATABASE = 128 << 20
"""Bytes of one database."""
MAX_SMALL = 4 << 20
"""Bytes of a file that tells of one package."""
MAX_ALL = 256 << 20
"""Bytes of all that is read for one root."""
_MAX_REMEMBERED = 1 << 14


class Layers(Protocol):
    """The layers of a root, by their numbers, the lowest first."""

    @property
    def diff_ids(self) -> Sequence[str]:
        """What names them."""

    def read(self, content: Content, size: int) -> bytes:
        """The first `size` bytes of a file. Raises LayerError, OutputError."""

    def entries(self, layer: int) -> Iterator[TarEntry]:
        """The entries of a layer. Raises LayerError."""


class Remembered:
    """What was found before, the latest of it."""

    def __init__(self, most: int = _MAX_REMEMBERED) -> None:
        self._most = most
        self._found: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, or gave for this key. Raises what it raises, of which Unread is remembered, too."""
        found = self._found.get(key)
        if found is None:
            try:
                found = make()
            except Unread as refusal:
                found = refusal
            self._found[key] = found
            if len(self._found) > self._most:
                self._found.popitem(last=False)
        if isinstance(found, Unread):
            raise Unread(*found.args)
        return found


class Reading:
    """The content of files of one root, as far as the limits allow.

    What is remembered must not count less than what is read, or a report would tell what was built before.
    """

    def __init__(self, root: Inode, layers: Layers) -> None:
        self.root = root
        self.layers = layers
        self._left = MAX_ALL

    def anew(self) -> Reading:
        """Another, with all of the limits left: for what is remembered as a whole."""
        return Reading(self.root, self.layers)

    @property
    def counted(self) -> int:
        """How many bytes were counted: more than MAX_ALL where there were more than may be."""
        return MAX_ALL - self._left

    def count(self, size: int) -> None:
        """Counts what is to be read, or was once. Raises Unread: it is too much."""
        self._left -= size
        if self._left < 0:
            raise Unread(f"it and all before have more bytes than are read ({MAX_ALL})")

    def content(self, inode: Inode, most: int) -> bytes:
        """The content of a file. Raises Unread, LayerError, OutputError."""
        if inode.kind != FILE:
            raise Unread("it is no regular file")
        if inode.size > most:
            raise Unread(f"it has {inode.size} bytes, more than are read ({most})")
        self.count(inode.size)
        return self.layers.read(inode.content, inode.size) if inode.content is not None else b""

    def key(self, inode: Inode) -> Hashable:
        """What tells the content of a regular file from all others; sizes count where files have no content."""
        content = inode.content
        if content is None:
            return inode.kind, inode.size
        return self.layers.diff_ids[content.layer], content.offset, content.sparse, inode.size
