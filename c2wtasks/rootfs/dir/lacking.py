"""What the files of a root, once they are made, have otherwise than the tree says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from c2wtasks.process.rights import SET_IDS, LeftOut, mode_and_owner, xattr_name
from c2wtasks.tree.treefile import Node

Owner = tuple[int, int]
State = tuple[int, int, int]
"""A mode, and an owner."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """By the numbers of their nodes: the `states` of files that have another mode or owner, the names of the `xattrs`
    that could not be given, the `devices` that are not there, and the names that are `copies` of the file which they
    should be a name of."""

    states: dict[int, State] = field(default_factory=dict)
    xattrs: dict[int, list[bytes]] = field(default_factory=dict)
    devices: set[int] = field(default_factory=set)
    copies: set[int] = field(default_factory=set)

    def add(self, other: Lacking) -> None:
        """Takes in what was found in another part of the same root."""
        self.states.update(other.states)
        self.xattrs.update(other.xattrs)
        self.devices.update(other.devices)
        self.copies.update(other.copies)

    def left_out(self, nodes: Sequence[Node]) -> LeftOut:
        """The same, counted by what it is."""
        owners, set_ids, xattrs, modes = Counter[str](), Counter[str](), Counter[str](), 0
        for index, (mode, *owner) in sorted(self.states.items()):
            node = nodes[nodes[index].link if nodes[index].link >= 0 else index]
            wanted = f"{node.uid}:{node.gid}"
            if owner != [node.uid, node.gid]:
                owners[wanted] += 1
            if (mode ^ node.mode) & ~SET_IDS:
                modes += 1
            elif mode != node.mode:
                set_ids[mode_and_owner(node.mode, node.uid, node.gid)] += 1
        for names in self.xattrs.values():
            xattrs.update(map(xattr_name, names))
        by_name = [dict(sorted(counts.items())) for counts in (owners, set_ids, xattrs)]
        copies = len(self.copies) or msgspec.UNSET
        return LeftOut(by_name[0], by_name[1], modes, len(self.devices), by_name[2], copies)
