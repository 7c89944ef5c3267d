"""The form `squashfs`: a SquashFS 4.0 image, made by `tar2sqfs` (Debian's package squashfs-tools-ng) from the form
`tar`, which is piped into it.

Its bytes depend on the tree, the compression and the versions of tar2sqfs and its compressor: the image's own time is
0, and any number of processors gives the same. tar2sqfs takes time that grows with the square of the names in one
directory, or of one file: 1.3 s of one core for 20,000, 15 s for 66,000. So does sqfstar of squashfs-tools (12 s for
66,000), which drops the root's own owner and mode beside. Holes are read out to it, and stay holes.

What a SquashFS cannot hold: times are whole seconds from 1970 to 2106, those before or after become the first or the
last one. Xattrs other than `user.`, `trusted.`, `security.` (ACLs, then) are left out, as by all its tools. More than
65,535 different owners and groups are refused, and so is what a tar cannot hold.
"""

from __future__ import annotations

import os
import subprocess
from typing import BinaryIO, Literal, cast

import msgspec

from c2wtasks.bundlefile.model import Form
from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.rootfs import tar
from c2wtasks.rootfs.forms import Maker, Making
from c2wtasks.rootfs.holding import XATTRS_BUT_ACLS, FormLimits
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.tree.treefile import TreeFile, of_nodes

Compression = Literal["gzip", "lz4", "xz", "zstd"]
_TOOL = "tar2sqfs"
_MOST_IDS = 2**16 - 1
_LAST_WORDS = 1 << 16  # bytes


def write(tree: TreeFile, tars: TarByNumber, path: str, *, compression: Compression = "gzip") -> None:
    """Makes the file `path`, 0644, hold the tree. All kernels with SquashFS read gzip; most read the others.

    Raises UserError: there are no more processes; OutputError, also where tar2sqfs is not there or fails; and what
    `tars` raises.
    """
    ids = {number for node in tree.nodes for number in (node.uid, node.gid)}
    if len(ids) > _MOST_IDS:
        raise OutputError(
            f"{path}: a SquashFS holds {_MOST_IDS} different owners and groups, and this root has {len(ids)}",
            hint="write another form of the root",
        )
    options = ["--quiet", "--force", "--no-skip", "--compressor", compression]
    # Not a pipe: it could fill while we fill the other one. Nor a file: there may be no folder, or no room for it.
    with _new(path) as made, open(os.memfd_create("messages"), "rb") as messages:
        try:
            tool = subprocess.Popen(
                [_TOOL, *options, "--", f"/proc/self/fd/{made.fileno()}"],
                pass_fds=[made.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                env={**os.environ, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"},
            )
        except BlockingIOError as error:  # no more processes
            raise as_user_error(error) from error
        except OSError as error:
            raise OutputError(
                f"{path}: {_TOOL}, which makes it, cannot be run: {os_reason(error)}",
                hint="install it (Debian's package squashfs-tools-ng)"
                if isinstance(error, FileNotFoundError)
                else None,
            ) from error
        if not _fed(tool, tree, tars):
            raise OutputError(f"{path}: {_TOOL} failed: {_why(messages, tool.returncode, tree)}")


def _new(path: str) -> BinaryIO:
    """The new file `path`, 0644. The tool gets it open: it would follow links."""
    try:
        descriptor = safely.create(path)
        files.set_mode(descriptor, 0o644)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made: {os_reason(error)}") from error
    return open(descriptor, "wb")


def _fed(tool: subprocess.Popen[bytes], tree: TreeFile, tars: TarByNumber) -> bool:
    """Whether the tool took the whole tar and was content. It takes a tar that ends early for a whole one, so it is
    killed where we fail."""
    assert tool.stdin is not None
    took_all = True
    try:
        tar.stream(_as_held(tree), tars, tool.stdin.fileno())
    except BrokenPipeError:  # it gave up, and says why
        took_all = False
    except BaseException:
        tool.kill()
        raise
    finally:
        tool.stdin.close()
        tool.wait()
    return took_all and tool.returncode == 0


def _as_held(tree: TreeFile) -> TreeFile:
    """The tree without the xattrs that a SquashFS has no place for, over which the tool would fail."""
    nodes = (
        msgspec.structs.replace(
            node, xattrs=tuple(pair for pair in node.xattrs if pair[0].startswith(XATTRS_BUT_ACLS))
        )
        if any(not name.startswith(XATTRS_BUT_ACLS) for name, _ in node.xattrs)
        else node
        for node in tree.nodes
    )
    return of_nodes(tree.layers, nodes, len(tree.nodes))


def _why(messages: BinaryIO, code: int, tree: TreeFile) -> str:
    messages.seek(max(0, messages.seek(0, os.SEEK_END) - _LAST_WORDS))
    lines = messages.read().decode("utf-8", "backslashreplace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), f"it ended with {code}")
    # All that it says of a full disk (which is not full any more, since it has removed its output), and of threads.
    if last.endswith("I/O error."):
        return f"{last} (is there room? The root takes {tree.size} bytes before compression)"
    if last.endswith("block processor: internal error."):
        return f"{last} (may it start threads? Their number is limited: ulimit -u, pids.max); run with -n 1"
    return last


def _make(making: Making, form: Form, folder: str) -> None:
    compression = cast("Compression", form.option("compression") or "gzip")
    write(making.tree, making.tars, f"{folder}/rootfs.squashfs", compression=compression)


MAKER = Maker(
    _make, FormLimits(XATTRS_BUT_ACLS, whole_seconds=True, first=0, last=2**32 - 1), holes=lambda _form: False
)
