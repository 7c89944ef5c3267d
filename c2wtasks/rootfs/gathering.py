"""Moving bytes into an image: small pieces gathered into large writes."""

from __future__ import annotations

from c2wtasks.rootfs import copying

_FULL = 1 << 20
_GAP = 1 << 12


class Gathered:
    """Writes to a file what is put at ascending offsets, in large pieces. Less than 4 KiB between two is filled
    with zeros; more stays as it is in the file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.start = 0
        self.pending = bytearray()

    def put(self, offset: int, content: bytes) -> None:
        pending = self.pending
        gap = offset - self.start - len(pending)
        if 0 <= gap < _GAP and len(pending) < _FULL:
            if gap:
                pending += bytes(gap)
        else:
            self.flush()
            self.start = offset
        pending += content

    def flush(self) -> None:
        copying.write(self.descriptor, self.pending, self.start)
        self.start += len(self.pending)
        self.pending.clear()
