"""What comes of a folder's files at some place, found by writing a few."""

from __future__ import annotations

import os
import tempfile

from c2wtasks.disk import files
from c2wtasks.process.rights import FILE_CAPABILITY, LeftOut
from c2wtasks.rootfs import dir as directory
from c2wtasks.tree.model import CHARACTER, DIRECTORY, FILE
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")  # effective; as `setcap cap_net_raw+ep` has it


def try_at(folder: str) -> LeftOut:
    """What cannot be made in `folder`, or the nearest folder above it that is there: of an owner that is not the
    builder, a set-group-id bit of another group, a mode that the umask has no say in, a device, a file capability, a
    hard link. Nothing is left there.

    Raises OSError, OutputError: nothing can be written there.
    """
    while not os.path.isdir(folder or "."):
        folder = os.path.dirname(folder)
    uid, gid = os.geteuid() + 1, os.getegid() + 1
    tree = TreeFile(
        [],
        [
            Node(ROOT, b"", DIRECTORY, mode=0o700, uid=os.geteuid(), gid=os.getegid()),
            Node(ROOT, b"capable", FILE, mode=0o755, xattrs=((FILE_CAPABILITY.encode(), _NET_RAW),)),
            Node(ROOT, b"device", CHARACTER, mode=0o666, device=(1, 3)),
            Node(ROOT, b"group", FILE, mode=0o2755, uid=uid, gid=gid),
            Node(ROOT, b"mode", FILE, mode=0o606, uid=uid, gid=gid),
            Node(ROOT, b"name", FILE, link=4),
        ],
    )
    scratch = tempfile.mkdtemp(prefix=files.TEMPORARY_PREFIX, dir=folder or ".")
    try:
        return directory.write(tree, [].__getitem__, f"{scratch}/root")
    finally:
        files.remove_tree(scratch)
