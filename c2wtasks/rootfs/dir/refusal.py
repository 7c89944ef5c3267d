"""Why a root cannot be written to some file system, in words."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from c2wtasks.errors import OutputError, os_reason
from c2wtasks.rootfs.dir.attributes import NO_SUCH_KIND
from c2wtasks.tree.model import FIFO, SYMLINK
from c2wtasks.tree.paths import shown_path
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

_SPECIAL = {SYMLINK: "a symbolic link", FIFO: "a FIFO"}
_NO_SUCH_NAME = (errno.EILSEQ, errno.EINVAL)  # no UTF-8, or a character that Windows does not have in names
_ELSEWHERE = "name an 'output' on another file system, or a form of the root that is a file, such as ext4 or tar"


def explained(error: OSError, folder: str, at: int, tree: TreeFile) -> OutputError:
    """What is wrong with node `at` of the tree, as far as an error of the file system of `folder` tells."""
    where, kind = shown_path(tree.nodes, at), tree.nodes[at].kind
    if error.errno == errno.EEXIST and at != ROOT:
        twin = _twin(tree.nodes, at)
        same = f"{twin}, whose name differs in case alone," if twin else "another name that the image has"
        return OutputError(f"{folder}: {where}: this file system takes it for {same}", hint=_ELSEWHERE)
    if kind in _SPECIAL and error.errno in NO_SUCH_KIND:
        wrong = f"{_SPECIAL[kind]} cannot be made on this file system"
        return OutputError(f"{folder}: {where}: {wrong}: {os_reason(error)}", hint=_ELSEWHERE)
    if error.errno in _NO_SUCH_NAME:
        return OutputError(f"{folder}: {where}: {os_reason(error)}", hint=_ELSEWHERE)
    need = f" (the whole root takes {tree.size} bytes)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return OutputError(f"{folder}: {where}: {os_reason(error)}{need}")


def _twin(nodes: Sequence[Node], at: int) -> str:
    """The path of the node beside node `at` whose name differs in case alone; "" where there is none."""
    node = nodes[at]
    folded = node.name.decode("utf-8", "surrogateescape").casefold()
    for index, other in enumerate(nodes[1:], 1):
        beside = other.parent == node.parent and index != at
        if beside and other.name.decode("utf-8", "surrogateescape").casefold() == folded:
            return shown_path(nodes, index)
    return ""
