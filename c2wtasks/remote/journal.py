"""What the processes of a run tell each other of the remote cache: a file in memory that each adds to, and whether
the cache is still asked. They are forked from the one that made it."""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import Literal

import msgspec

from c2wtasks.remote.claim import Claim, Envelope, Kind

What = Literal["hit", "refused", "wrong", "gone", "off", "made", "written", "lost", "end"]
"""What happened: a result was taken; a claim was not believed; an output was not what its claim says, or not there;
the cache failed while it was read; a result was made here; it was written; it could not be; the run ends."""


class Product(msgspec.Struct, frozen=True, omit_defaults=True):
    """An output that was made here: in the file `path`, or its `content`. It is `packed` (zstd) before it is sent."""

    name: str
    path: str = ""
    content: bytes | None = None
    packed: bool = False


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened. `why` is for people, `size` in bytes, `seconds` what making took, or are left."""

    what: What
    why: str = ""
    size: int = 0
    envelopes: tuple[Envelope, ...] = ()
    kind: Kind = "layer"
    key: str = ""
    products: tuple[Product, ...] = ()
    seconds: float = 0


_DECODER = msgspec.json.Decoder(Event)


class Journal:
    """The events of one run, in the order in which they happened."""

    def __init__(self) -> None:
        self._file = os.memfd_create("c2wtasks-remote", os.MFD_CLOEXEC)
        fcntl.fcntl(self._file, fcntl.F_SETFL, os.O_APPEND)  # each line as a whole, whoever writes at once
        self._flag = mmap.mmap(-1, 1)

    def note(self, event: Event) -> None:
        """Adds an event."""
        try:
            os.write(self._file, msgspec.json.encode(event) + b"\n")
        except OSError:  # no memory is left: the run has other worries
            pass

    def since(self, at: int = 0) -> tuple[list[Event], int]:
        """The events from the offset `at` on, and the offset of those to come."""
        text = os.pread(self._file, max(0, os.fstat(self._file).st_size - at), at)
        whole = text[: text.rfind(b"\n") + 1]
        return [_DECODER.decode(line) for line in whole.splitlines()], at + len(whole)

    @property
    def is_off(self) -> bool:
        """Whether the cache is asked no more."""
        return self._flag[0] != 0

    def switch_off(self, why: str) -> None:
        """Has nobody ask from now on."""
        self._flag[0] = 1
        self.note(Event("off", why))

    def close(self) -> None:
        """Gives its memory back."""
        os.close(self._file)
        self._flag.close()


def hit(claim: Claim, envelopes: tuple[Envelope, ...]) -> Event:
    """That the outputs of a claim were taken."""
    return Event("hit", "", sum(one.size for one in claim.outputs), envelopes, claim.kind, claim.key)
