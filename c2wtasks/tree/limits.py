"""How much a layer may ask for beyond what its entries state: of steps, of folders, of bytes."""

from __future__ import annotations

from errno import E2BIG

from c2wtasks.tree.lookup import Steps

MAX_STEPS = 20_000_000
"""Steps to look up the paths of a layer that lead through links, and to clear folders of what lower layers left."""
MAX_IMPLIED = 200_000
"""Folders that no entry of a layer names, but that lie on the way to what it names."""
MAX_PATHS = 64 << 20
"""Bytes of the paths of all folders that a layer names, and of what it writes and removes again."""
MAX_INHERITED = 64 << 20
"""Bytes of the ACLs that files of a layer inherit."""


class Spent:
    """What the application of one layer has taken so far. All its methods raise OSError where that is too much."""

    def __init__(self) -> None:
        self.steps = Steps(MAX_STEPS)
        self.implied = 0
        """Folders that no entry names."""
        self.inherited = 0
        """Bytes of ACLs."""
        self._paths = 0

    def take_path(self, path: bytes) -> None:
        """Counts a path that is kept until the layer is applied."""
        self._paths += len(path)
        if self._paths > MAX_PATHS:
            raise OSError(E2BIG, f"the paths of the layer's folders take more than {MAX_PATHS} bytes")

    def take_implied(self) -> None:
        """Counts a folder that no entry names."""
        self.implied += 1
        if self.implied > MAX_IMPLIED:
            raise OSError(E2BIG, f"the layer has more than {MAX_IMPLIED} folders that no entry names")

    def take_inherited(self, size: int) -> None:
        """Counts `size` bytes of ACLs that a file inherits."""
        self.inherited += size
        if self.inherited > MAX_INHERITED:
            raise OSError(E2BIG, f"the ACLs that the layer's files inherit take more than {MAX_INHERITED} bytes")
