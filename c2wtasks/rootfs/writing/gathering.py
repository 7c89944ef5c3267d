"""Moving bytes into an image: small pieces gathered into large writes."""

from __future__ import annotations

from c2wtasks.rootfs.writing import copying

_FULL = 1 << 20


class Gathered:
    """Writes to a file what is put at ascending offsets, in large pieces. Less than a `block` between two is filled
    with zeros; more stays as it is in the file, as what others write into whole blocks may lie there."""

    def __init__(self, descriptor: int, block: int) -> None:
        self.descriptor = descriptor
        self.block = block
        self.start = 0
        self.pending = bytearray()

    def put(self, offset: int, content: bytes) -> None:
        """Takes `content`, which is to stand at `offset` (bytes).

        Raises OSError.
        """
        pending = self.pending
        gap = offset - self.start - len(pending)
        if 0 <= gap < self.block and len(pending) < _FULL:
            if gap:
                pending += bytes(gap)
        else:
            self.flush()
            self.start = offset
        pending += content

    def flush(self) -> None:
        """Writes what was taken and is not written yet.

        Raises OSError.
        """
        copying.write(self.descriptor, self.pending, self.start)
        self.start += len(self.pending)
        self.pending.clear()
