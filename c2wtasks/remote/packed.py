"""What is kept packed (zstd): outputs, and the indexes of catalogs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import zstandard

from c2wtasks.remote import claim as claims
from c2wtasks.remote.claim import Envelope, Kind
from c2wtasks.remote.transport import Name, Transport

_WINDOW = 128 << 20


def index_of(to: Transport, name: Name) -> Mapping[tuple[Kind, str, str], Envelope]:
    """The claims of an index by kind, key and signer; none where it is not there, or cannot be read.

    Raises RemoteFailure.
    """
    packed = to.get(name, claims.MAX_INDEX)
    try:
        return keyed(claims.decode_index(unpack(packed or b"", claims.MAX_INDEX)))
    except ValueError:  # a new one takes its place
        return {}


def put_index(to: Transport, name: Name, envelopes: Iterable[Envelope]) -> None:
    """Writes an index. Raises RemoteFailure."""
    to.put(name, zstandard.ZstdCompressor().compress(claims.encode_index(envelopes)), ())


def keyed(envelopes: Iterable[Envelope]) -> Mapping[tuple[Kind, str, str], Envelope]:
    """Envelopes by kind, key and signer, as they claim to be; without those that hold no claim."""
    found: dict[tuple[Kind, str, str], Envelope] = {}
    for envelope in envelopes:
        try:
            claim = claims.decode_claim(envelope)
        except ValueError:
            continue
        found[claim.kind, claim.key, envelope.signatures[0].keyid] = envelope
    return found


def unpack(packed: bytes, limit: int) -> bytes:
    """What is packed (zstd), `limit` bytes at most. Raises ValueError."""
    try:
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(packed) as reader:
            content: bytes = reader.read(limit + 1)
    except (zstandard.ZstdError, MemoryError) as error:
        raise ValueError(f"it cannot be unpacked ({error})") from error
    if len(content) > limit:
        raise ValueError("it unpacks to more than it should")
    return content
