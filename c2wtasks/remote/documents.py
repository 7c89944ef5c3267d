"""The documents of a catalog's images, kept as one: whoever has its bundle.lock then asks no registry what they are.
Each proves itself by its digest, so nobody signs them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Literal

import msgspec
import zstandard
from msgspec import Meta

from c2wtasks.oci.digest import Digest
from c2wtasks.remote.packed import unpack
from c2wtasks.remote.transport import DOCUMENTS, Name, Transport

_MAX_SIZE = 64 << 20  # bytes, unpacked
_MAX_COUNT = 20_000


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal[1]
    documents: Annotated[tuple[bytes, ...], Meta(max_length=_MAX_COUNT)]


_DECODER = msgspec.msgpack.Decoder(_Kept)


def documents_of(to: Transport, catalog: str, wanted: Collection[Digest]) -> dict[Digest, bytes]:
    """Those of the `wanted` documents that are kept of a catalog; none where what is kept cannot be read.

    Raises RemoteFailure.
    """
    packed = to.get(Name(DOCUMENTS, catalog), _MAX_SIZE)
    try:
        kept = _DECODER.decode(unpack(packed or b"", _MAX_SIZE))
    except (ValueError, msgspec.MsgspecError):
        return {}
    algorithms = {digest.algorithm for digest in wanted}
    found = {Digest.of(content, one): content for content in kept.documents for one in algorithms}
    return {digest: found[digest] for digest in wanted if digest in found}


def put_documents(to: Transport, catalog: str, documents: Mapping[Digest, bytes]) -> None:
    """Keeps the documents of a catalog, as far as there is room. Raises RemoteFailure."""
    text = msgspec.msgpack.encode(_Kept(1, tuple(_fitting(documents.values()))))
    to.put(Name(DOCUMENTS, catalog), zstandard.ZstdCompressor().compress(text), ())


def _fitting(contents: Iterable[bytes]) -> Iterable[bytes]:
    left = _MAX_SIZE // 2
    for content in sorted(contents, key=len)[:_MAX_COUNT]:
        left -= len(content)
        if left < 0:
            return
        yield content
