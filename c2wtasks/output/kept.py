"""The text of packages.json as it is kept between runs: no run compares it with what is recorded of it, so it proves
itself, as a power loss may leave a part of it."""

from __future__ import annotations

import msgspec

from c2wtasks.disk import files, safely
from c2wtasks.disk.sealed import seal, unseal
from c2wtasks.output import record
from c2wtasks.output.places import Places

_MAGIC = b"c2wpkgs\x01"
_DECODER = msgspec.msgpack.Decoder(bytes)


def keep(places: Places, text: bytes) -> None:
    """Keeps the text of packages.json. Raises OutputError."""
    files.write(places.packages, seal(_MAGIC, text))


def packages(places: Places) -> bytes | None:
    """The text of packages.json that is kept; None where none is, or not all of it."""
    try:
        return unseal(_MAGIC, safely.read(places.packages, record.MAX_SIZE), _DECODER)
    except (OSError, ValueError):
        return None
