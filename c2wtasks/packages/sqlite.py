"""The blobs in a table of an SQLite database (https://sqlite.org/fileformat2.html), and no more of it.

SQLite itself is no program for files of strangers: a schema may hold views that never end. Here each page is looked
at once at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import error, unpack_from

from c2wtasks.packages.model import Unread

_MAGIC = b"SQLite format 3\0"
_HEAD = 100  # bytes, at the beginning of the first page
_INTERIOR, _LEAF = 5, 13
_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)
"""The bytes of values of the serial types that are numbers."""
_MAX_COLUMNS = 64
_MAX_ROWS = 1 << 17


def blobs(content: bytes, table: bytes) -> Iterator[bytes]:
    """The first blob of each row of a table, in the order of the rows.

    Raises Unread.
    """
    if content[: len(_MAGIC)] != _MAGIC or len(content) < 512:
        raise Unread("it is no SQLite database")
    try:
        pages = _Pages(content)
        for kind, name, root in _schema(pages):
            if kind == b"table" and name.lower() == table.lower():
                for payload in pages.payloads(root):
                    blob = next((value for kind, value in _values(payload) if kind >= 12 and not kind % 2), None)
                    if blob is not None:
                        yield blob
                return
    except (error, IndexError):
        raise Unread("it is damaged") from None
    raise Unread(f"it has no table {table.decode()}")


def _schema(pages: _Pages) -> Iterator[tuple[bytes, bytes, int]]:
    """What kinds of things the database has, how they are called, and where they begin."""
    for payload in pages.payloads(1):
        columns = [value for _, value in _values(payload)]
        if len(columns) < 4:
            raise Unread("it is damaged: a row is too short")
        yield columns[0], columns[1], int.from_bytes(columns[3], "big")


@dataclass
class _Pages:
    """The pages of a database. Each is given once: a tree that leads back into itself is refused."""

    content: bytes
    size: int = 0
    usable: int = 0
    seen: set[int] = field(default_factory=set)
    left: int = 0  # bytes that rows may still have: those of a page may be said to overlap
    rows: int = 0

    def __post_init__(self) -> None:
        (size,) = unpack_from(">H", self.content, 16)
        self.size = 1 << 16 if size == 1 else size
        if not 512 <= self.size <= 1 << 16 or self.size & (self.size - 1):
            raise Unread("it is damaged: pages of no size that SQLite knows")
        self.left = 2 * len(self.content)
        self.usable = self.size - self.content[20]
        if self.usable < 480:
            raise Unread("it is damaged: pages of no size that SQLite knows")

    def take(self, number: int) -> bytes:
        """Page number `number`, from 1 on. Raises Unread."""
        start = (number - 1) * self.size
        if number < 1 or start + self.size > len(self.content):
            raise Unread("it is damaged: a page lies behind its end")
        if number in self.seen:
            raise Unread("it is damaged: a page belongs to two others")
        self.seen.add(number)
        return self.content[start : start + self.size]

    def payloads(self, root: int) -> Iterator[bytes]:
        """What the rows hold of the table that begins on the page `root`. Raises Unread."""
        left = [root]
        while left:
            number = left.pop()
            page = self.take(number)
            head = _HEAD if number == 1 else 0
            kind, (count,) = page[head], unpack_from(">H", page, head + 3)
            if kind not in (_INTERIOR, _LEAF):
                raise Unread("it is damaged: a page is none of a table")
            cells = unpack_from(f">{count}H", page, head + (12 if kind == _INTERIOR else 8))
            if kind == _LEAF:
                for cell in cells:
                    yield self._payload(page, cell)
            else:
                below = [unpack_from(">I", page, cell)[0] for cell in cells] + [*unpack_from(">I", page, head + 8)]
                left += reversed(below)

    def _payload(self, page: bytes, at: int) -> bytes:
        """What a row holds, of which a part may lie on pages of its own. Raises Unread."""
        size, at = _varint(page, at)
        _, at = _varint(page, at)
        self.left -= size
        self.rows += 1
        if self.left < 0 or self.rows > _MAX_ROWS:
            raise Unread("its rows are more than it can have")
        most = self.usable - 35
        if size <= most:
            return page[at : at + size]
        least = (self.usable - 12) * 32 // 255 - 23
        kept = least + (size - least) % (self.usable - 4)
        here = kept if kept <= most else least
        found = [page[at : at + here]]
        (following,) = unpack_from(">I", page, at + here)
        missing = size - here
        while missing:
            more = self.take(following)
            (following,) = unpack_from(">I", more)
            found.append(more[4 : 4 + min(missing, self.usable - 4)])
            missing -= len(found[-1])
        return b"".join(found)


def _values(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """The columns of a row: each with its serial type."""
    end, at = _varint(payload, 0)
    kinds: list[int] = []
    while at < min(end, len(payload)) and len(kinds) < _MAX_COLUMNS:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    at = end
    for kind in kinds:
        size = _SIZES[kind] if kind < 10 else (kind - 12) // 2
        if at + size > len(payload):
            raise Unread("it is damaged: a row is too short")
        yield kind, payload[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends. Raises IndexError."""
    number = 0
    for count in range(9):
        byte = content[at + count]
        if count == 8:
            return number << 8 | byte, at + 9
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, at + count + 1
    raise IndexError
