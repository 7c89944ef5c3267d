"""One entry of a layer's tar: what its header says, and where its content lies in the tar."""

from __future__ import annotations

import msgspec

from c2wtasks.layers.fragments import Fragments

UNCHANGED_ID = 0xFFFF_FFFF


class TarEntry(msgspec.Struct, array_like=True, gc=False):
    """One entry. `kind` is the header's type flag, in the meaning of Go's `archive/tar`, which containerd reads with:
    "0" file, "1" hard link, "2" symlink, "3" character and "4" block device, "5" directory, "6" fifo,
    "g" global PAX header; any other as it stands.

    Numbers are as a kernel takes them: ids 32 bits (UNCHANGED_ID is chown's "leave it"), mode 12 bits, device
    numbers 12 and 20 bits; `mtime_ns` is bounded as containerd's `boundTime` does. `size` is the file's
    logical size in bytes. `header` and `offset` are bytes from the start of the tar: to the entry's own header, and
    to its content. `sparse` are the `fragments` that lie there one after the other; all else of the file is a hole.
    """

    kind: str
    name: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    header: int
    size: int = 0
    offset: int = 0
    target: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] | None = None
    sparse: Fragments | None = None
