"""Claims: "of these inputs came these outputs", signed by whoever made them. Pure.

A claim travels in an envelope (DSSE 1.0, `github.com/secure-systems-lab/dsse`): its text as it was signed, and a
signature of ECDSA on P-256 with SHA-256. Its key stands for the inputs: the SHA-256 of their canonical JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from c2wtasks.bundlefile.remote import SCOPE_PATTERN

PAYLOAD_TYPE = "application/vnd.c2wtasks.claim.v1+json"
MAX_ENVELOPE = 1 << 18
"""Bytes of the text of an envelope: a longer one is none of ours."""
MAX_INLINE = 4096
"""Bytes of an output that a claim may hold itself."""
MAX_CLAIMS = 20_000
"""Claims that a catalog's index may list."""
MAX_INDEX = 64 << 20
"""Bytes of an index, unpacked."""

Kind = Literal["layer", "user", "packages", "form"]
"""What is kept: a layer's receipt and index; who a container runs as; which packages a root has; a form's files."""

_Hex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_Count = Annotated[int, Meta(ge=0, le=1 << 50)]


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One output: `size` bytes of this SHA-256, as they are stored. They unpack to `unpacked` bytes (zstd), if that
    is not 0. A small one is in the claim itself: its `content`."""

    name: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$", max_length=200)
    ]
    sha256: _Hex
    size: _Count
    unpacked: _Count = 0
    content: Annotated[bytes, Meta(max_length=MAX_INLINE)] | None = None


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What whoever signs it says: of the inputs that `key` stands for came these `outputs`, in `seconds` of work. It
    counts for those who read `scope`. `version` is that of c2wtasks, `made` is when (seconds since 1970)."""

    kind: Kind
    key: _Hex
    outputs: Annotated[tuple[Output, ...], Meta(min_length=1, max_length=256)]
    scope: Annotated[str, Meta(pattern=f"^{SCOPE_PATTERN}$")]
    version: Annotated[str, Meta(max_length=64)]
    made: _Count
    seconds: Annotated[float, Meta(ge=0)]

    def output(self, name: str) -> Output | None:
        """The output of this name."""
        return next((one for one in self.outputs if one.name == name), None)

    @property
    def says(self) -> tuple[tuple[str, str, int, int], ...]:
        """What has to be the same where several are to agree."""
        return tuple(sorted((one.name, one.sha256, one.size, one.unpacked) for one in self.outputs))


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signature, and the id of the key that made it, in hex."""

    keyid: _Hex
    sig: Annotated[bytes, Meta(max_length=256)]


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A claim's text as it was signed, with the signature."""

    payload_type: str
    payload: Annotated[bytes, Meta(max_length=MAX_ENVELOPE)]
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1, max_length=1)]

    @property
    def signed(self) -> bytes:
        """The bytes that are signed: DSSE's "pre-authentication encoding"."""
        kind = self.payload_type.encode()
        return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(self.payload), self.payload)


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The claims that a catalog used or made: one question tells all hits. It is not signed, as each of them is."""

    format: Literal[1]
    claims: Annotated[tuple[Envelope, ...], Meta(max_length=MAX_CLAIMS)]


_CLAIMS = msgspec.json.Decoder(Claim)
_ENVELOPES = msgspec.json.Decoder(Envelope)
_INDEXES = msgspec.json.Decoder(Index)


def key_of(kind: Kind, inputs: Mapping[str, Any]) -> str:
    """What stands for the inputs of a result: all that can change a byte of it."""
    return hashlib.sha256(msgspec.json.encode({"kind": kind, **inputs}, order="sorted")).hexdigest()


def decode_claim(envelope: Envelope) -> Claim:
    """The claim in an envelope, whoever signed it.

    Raises ValueError: it is none, or says of its own content what is not so.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValueError("it is of another type")
    claim: Claim = _decoded(_CLAIMS, envelope.payload)
    for one in claim.outputs:
        if one.content is not None and (len(one.content), hashlib.sha256(one.content).hexdigest()) != (
            one.size,
            one.sha256,
        ):
            raise ValueError(f"its {one.name} is not what it says of it")
    if len({one.name for one in claim.outputs}) != len(claim.outputs):
        raise ValueError("it names an output twice")
    return claim


def decode_envelope(text: bytes) -> Envelope:
    """The envelope that a text is. Raises ValueError."""
    if len(text) > MAX_ENVELOPE:
        raise ValueError("it is too long")
    envelope: Envelope = _decoded(_ENVELOPES, text)
    return envelope


def decode_index(text: bytes) -> tuple[Envelope, ...]:
    """The claims that an index lists. Raises ValueError."""
    index: Index = _decoded(_INDEXES, text)
    return index.claims


def encode(one: Claim | Envelope) -> bytes:
    """The text of a claim or an envelope."""
    return msgspec.json.encode(one)


def encode_index(claims: Iterable[Envelope]) -> bytes:
    """The text of an index."""
    return msgspec.json.encode(Index(1, tuple(claims)))


def _decoded(decoder: msgspec.json.Decoder[Any], text: bytes) -> Any:
    try:
        return decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it cannot be read ({error})") from error
    except RecursionError:
        raise ValueError("it cannot be read (nested too deep)") from None
