"""Tars for tests, from dicts: `tar({"etc/": None, "etc/motd": "hi\\n", "bin/sh": File("x", mode=0o755)})`."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import zstandard

Compression = Literal["gzip", "zstd", "none"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a tar entry has whatever its kind. `mtime` may have a fraction; `pax` holds more PAX records."""

    mode: int | None = None
    uid: int = 0
    gid: int = 0
    mtime: float = 0
    xattrs: Mapping[str, str] = field(default_factory=dict)
    pax: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class File(Entry):
    content: bytes | str = b""


@dataclass(frozen=True)
class Dir(Entry):
    pass


@dataclass(frozen=True)
class Symlink(Entry):
    target: str


@dataclass(frozen=True)
class Hardlink(Entry):
    target: str


@dataclass(frozen=True)
class Fifo(Entry):
    pass


@dataclass(frozen=True)
class Device(Entry):
    major: int
    minor: int
    block: bool = False


Node = Entry | bytes | str | None
Tree = Mapping[str, Node] | Sequence[tuple[str, Node]]
"""Name -> entry: bytes or text for a file, None for a folder (as is any name that ends in `/`).

A sequence of pairs serves where a name comes twice.
"""


def tar(tree: Tree, *, format: int = tarfile.PAX_FORMAT) -> bytes:
    """The tar of `tree`, its entries in the order given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, node in tree.items() if isinstance(tree, Mapping) else tree:
            _add(archive, name, node)
    return out.getvalue()


def _add(archive: tarfile.TarFile, name: str, node: Node) -> None:
    if isinstance(node, (bytes, str)):
        node = File(node)
    elif node is None:
        node = Dir()
    info = tarfile.TarInfo(name.rstrip("/") or ".")
    info.mode = node.mode if node.mode is not None else 0o755 if isinstance(node, Dir) else 0o644
    info.uid, info.gid, info.mtime = node.uid, node.gid, node.mtime
    info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in node.xattrs.items()} | dict(node.pax)
    content = None
    match node:
        case File():
            content = node.content.encode() if isinstance(node.content, str) else node.content
            info.size = len(content)
        case Dir():
            info.type = tarfile.DIRTYPE
        case Symlink():
            info.type, info.linkname = tarfile.SYMTYPE, node.target
        case Hardlink():
            info.type, info.linkname = tarfile.LNKTYPE, node.target
        case Fifo():
            info.type = tarfile.FIFOTYPE
        case Device():
            info.type = tarfile.BLKTYPE if node.block else tarfile.CHRTYPE
            info.devmajor, info.devminor = node.major, node.minor
    archive.addfile(info, None if content is None else io.BytesIO(content))


def compress(content: bytes, compression: Compression) -> bytes:
    match compression:
        case "gzip":
            return gzip.compress(content, mtime=0)
        case "zstd":
            return zstandard.ZstdCompressor().compress(content)
        case "none":
            return content
