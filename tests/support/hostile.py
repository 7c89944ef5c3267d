"""What somebody who may write in a folder of ours puts in the place of our files, and the canary that it leads to."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

STRANGER = 1000
KINDS = (
    "link to a file",
    "link to a folder",
    "dangling link",
    "FIFO",
    "socket",
    "device",
    "folder",
    "huge",
    "foreign",
)
_HUGE = 3 << 40
_LARGE = 64 << 20  # where `verify` reads files whole, however long they are


@dataclass(frozen=True)
class Canary:
    """`folder/secret` and what else nobody may read, write, remove or make."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Canary:
        """In the folders and files are the names that ours have, for whoever goes on from there by name."""
        for name in ("", "linux-amd64", "linux-amd64/rootfs", "rootfs", "rootfs/etc", "context", "9p"):
            (folder / name).mkdir(mode=0o711)
            for file in (
                "secret",
                "tree",
                "bundle.json",
                "image.json",
                "rootfs.tar",
                "rootfs.json",
                "standing",
                "boot",
            ):
                (folder / name / file).write_bytes(b'{"root": "only"}\n')
                (folder / name / file).chmod(0o640)
        return cls(folder)

    def state(self) -> dict[str, tuple[object, ...]]:
        """All that can be told of it, but for when it was last read."""
        found: dict[str, tuple[object, ...]] = {}
        for path in (self.folder, *self.folder.rglob("*")):
            at = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(at.st_mode) else b""
            found[str(path)] = (
                content,
                at.st_mode,
                at.st_uid,
                at.st_gid,
                at.st_nlink,
                at.st_mtime_ns,
                at.st_ctime_ns,
            )
        return found


def plant(path: Path, kind: str, canary: Canary) -> None:
    """Puts something of a stranger's in the place of `path`, whatever lies there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    match kind:
        case "link to a file":
            path.symlink_to(canary.folder / "secret")
        case "link to a folder":
            path.symlink_to(canary.folder)
        case "dangling link":
            path.symlink_to(canary.folder / "new")
        case "FIFO":
            os.mkfifo(path)
        case "socket":
            at = os.open(path.parent, os.O_PATH)
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(f"/proc/self/fd/{at}/{path.name}")  # the name of a socket is short
            os.close(at)
        case "device":
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero, which never ends
        case "folder":
            path.mkdir()
            (path / "in").write_text("a stranger's")
        case "huge":
            path.touch()
            os.truncate(path, _HUGE if path.suffix == ".json" or not path.suffix else _LARGE)
        case "foreign":
            path.write_text("a stranger's")
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
