"""What a form cannot hold of a tree and leaves out or changes, so that it can be told and recorded. (What a form
refuses, its module says.)"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from c2wtasks.errors import OutputError
from c2wtasks.layers.fragments import stored
from c2wtasks.tree import acl
from c2wtasks.tree.model import DIRECTORY
from c2wtasks.tree.treefile import TreeFile

XATTRS_BUT_ACLS = (b"user.", b"trusted.", b"security.")
_ACLS = (acl.ACCESS, acl.DEFAULT)
_CAPABILITY = b"security.capability"


MAX_HOLES = 16 << 30
"""Bytes of the holes of sparse files, where a form has no holes: a kilobyte of an image may state any number."""


def check_holes(tree: TreeFile, form: str) -> None:
    """Raises OutputError: to write out the holes of the tree's files takes too much."""
    holes = sum(
        node.size - stored(node.content.sparse)
        for node in tree.nodes
        if node.content is not None and node.content.sparse is not None
    )
    if holes > MAX_HOLES:
        raise OutputError(
            f"form {form}: sparse files have holes of {holes} bytes, which it writes out ({MAX_HOLES} at most)",
            hint="write the root as dir, tar, ext4 or erofs",
        )


class FormLimits(NamedTuple):
    """`xattrs` are the beginnings of the names that are held. `first` and `last` bound the times, in seconds since
    1970; those beyond become the nearest. Of one file there are `most_names`, and further ones are of a copy."""

    xattrs: tuple[bytes, ...] = (b"",)
    whole_seconds: bool = False
    first: int = -(2**63)
    last: int = 2**63
    most_names: int = 2**63


EVERYTHING = FormLimits()


def left_out(tree: TreeFile, limits: FormLimits) -> str:
    """What of the tree these limits leave out, in words: "2 ACLs, 1 file capability"; "" is nothing."""
    if limits == EVERYTHING:
        return ""
    found: Counter[str] = Counter()
    names = Counter(node.link if node.link >= 0 else at for at, node in enumerate(tree.nodes))
    for at, node in enumerate(tree.nodes):
        if node.link >= 0:
            continue
        seconds, fraction = divmod(node.mtime_ns, 10**9)
        if not limits.first <= seconds <= limits.last:
            found["time out of its range"] += 1
        elif fraction and limits.whole_seconds:
            found["fraction of a second"] += 1
        if node.kind != DIRECTORY and names[at] > limits.most_names:
            found["hard link"] += (names[at] - 1) // limits.most_names
        for name, _ in node.xattrs:
            if not name.startswith(limits.xattrs):
                found["ACL" if name in _ACLS else "file capability" if name == _CAPABILITY else "xattr"] += 1
    return ", ".join(f"{found[one]} {one if found[one] == 1 else many}" for one, many in _WORDS.items() if found[one])


_WORDS = {
    "ACL": "ACLs",
    "file capability": "file capabilities",
    "xattr": "xattrs",
    "hard link": "hard links",
    "time out of its range": "times out of its range",
    "fraction of a second": "fractions of seconds",
}
