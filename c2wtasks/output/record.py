"""bundle.json: what a bundle was made from and what it holds. Equal for equal inputs, on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.disk import safely
from c2wtasks.output.outputs import Output, of_bytes, sums
from c2wtasks.output.places import COPIES, RECORD, ROOTFS
from c2wtasks.process.rights import Builder, LeftOut, builder
from c2wtasks.sources.model import Image

T = TypeVar("T")

OUTPUT_VERSION = 7
"""Raised when the same inputs give other outputs than before, so that all is made again."""

MAX_SIZE = 64 << 20
"""Of a record, in bytes, and of what else is kept of a bundle in such a file: a longer one is none of ours."""


class LayerFacts(msgspec.Struct, frozen=True, rename="camel"):
    """One layer. `digest` is null where the source names none. Sizes are bytes: of the blob, and of the tar in it."""

    digest: str | None
    diff_id: str = msgspec.field(name="diffID")
    size: int
    tar_size: int | None


class RootfsFacts(msgspec.Struct, frozen=True, rename="camel"):
    """`tree` is the fingerprint of the merged tree; `size` the bytes of all its files; `entries` all its names that
    are there; `left_out` what the builder, or the file system, could not make of it. `ids` as in `Builder`."""

    tree: str
    size: int
    entries: int
    left_out: LeftOut = msgspec.field(default_factory=LeftOut)
    ids: str = ""


class Sharing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of sharing a root's files with other roots: how many bytes of disk are `saved`; how many bytes of
    files the root had that was published before, and this one has not (`loose`); and why files could not be shared,
    if they `cannot`."""

    saved: int = 0
    loose: int = 0
    cannot: str = ""


class WrittenRootfs(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of rootfs.json: what is said of a root, and who wrote it; `sharing` where it shares its files."""

    facts: RootfsFacts
    builder: Builder
    sharing: Sharing | None = None

    @property
    def may_be_improved(self) -> bool:
        """Whether whoever runs us now is to write it anew."""
        return builder().may_improve(self.builder, self.facts.left_out)


class FormFacts(msgspec.Struct, frozen=True, rename="camel"):
    """`made_of` is the fingerprint of all that the form was made from; `files` are the form's files, by their paths
    in the bundle; `left_out` is what it could not hold, in words."""

    made_of: str
    files: dict[str, Output]
    left_out: str


class Record(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The content of bundle.json. `outputs` has each file by its path, but for those of the folder `rootfs/`,
    bundle.json itself and SHA256SUMS. `notes` are sentences on what a user may not expect of it, told when it is
    built."""

    name: str
    platform: str
    source: str
    manifest_digest: str | None
    config_digest: str
    layers: tuple[LayerFacts, ...]
    options: dict[str, Any]
    image_config_verbatim: bool
    output_version: int = OUTPUT_VERSION
    outputs: dict[str, Output]
    rootfs: RootfsFacts | None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes of all files of the bundle but this one and SHA256SUMS."""
        return (self.rootfs.size if self.rootfs else 0) + sum(one.size for one in self.outputs.values())

    @property
    def folder(self) -> str:
        """Where the root lies in the bundle, if it is a folder."""
        folders = (folder for folder, copies in COPIES.items() if copies.keys() <= self.outputs.keys())
        return next(folders, ROOTFS)


class Named(msgspec.Struct, frozen=True, rename="camel"):
    """What the bundle.json of any version says of whose it is, and what else it has: another's has not all of it."""

    name: str
    platform: str
    source: str
    config_digest: str
    layers: tuple[LayerFacts, ...]
    options: dict[str, Any]
    output_version: int
    outputs: dict[str, Any]


# Made here, and not with the first text: msgspec looks into a type when it first decodes to it, and crashes where two
# threads do so at once.
_RECORDS = msgspec.json.Decoder(Record)
_NAMED = msgspec.json.Decoder(Named)
_WRITTEN_ROOTFS = msgspec.json.Decoder(WrittenRootfs)
_FORM_FACTS = msgspec.json.Decoder(FormFacts)


def options(bundle: Bundle) -> dict[str, Any]:
    """All settings of the bundle, as bundle.yaml writes them."""
    process = msgspec.to_builtins(bundle.process)
    return {
        "profile": bundle.profile,
        "rootfs": [{"form": form.kind, **dict(form.options)} if form.options else form.kind for form in bundle.forms],
        "boot": msgspec.to_builtins(bundle.boot),
        "process": process | {"env": dict(bundle.process.env)},
        "same_owner": bundle.same_owner,
        **({"sbom": list(bundle.sbom)} if bundle.sbom else {}),  # records that have none are as they always were
    }


def layer_facts(image: Image, tar_sizes: Sequence[int | None]) -> tuple[LayerFacts, ...]:
    """What bundle.json says of the layers of an image; `tar_sizes` are the bytes of their tars, where known."""
    return tuple(
        LayerFacts(
            digest=str(layer.digest) if layer.digest else None,
            diff_id=str(layer.diff_id),
            size=layer.place.size,
            tar_size=tar_size,
        )
        for layer, tar_size in zip(image.layers, tar_sizes, strict=True)
    )


def encode(record: Record) -> bytes:
    """The text of bundle.json: indented, keys in a fixed order."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def encode_sums(record: Record, text: bytes) -> bytes:
    """The text of SHA256SUMS, which has bundle.json, too, of which the `text` is that of `record`."""
    return sums({**record.outputs, RECORD: of_bytes(text)})


def read(path: str) -> Record | None:
    """The record at `path`; None where there is none, or none of ours of this version."""
    try:
        return decode(safely.read(path, MAX_SIZE))
    except OSError:
        return None


def decode(text: bytes) -> Record | None:
    """What a bundle.json says; None where it is none of ours of this version."""
    try:
        record = _RECORDS.decode(text)
    except (ValueError, RecursionError):
        return None
    return record if record.output_version == OUTPUT_VERSION else None


def with_digest(path: str) -> tuple[Record | None, str]:
    """What `read` and `digest` give, of the same text."""
    try:
        text = safely.read(path, MAX_SIZE)
    except OSError:
        return None, ""
    return decode(text), of_bytes(text).sha256


def digest(path: str) -> str:
    """The SHA-256 of the bundle.json at `path`; "" where there is none."""
    try:
        return of_bytes(safely.read(path, MAX_SIZE)).sha256
    except OSError:
        return ""


def named(text: bytes) -> Named | None:
    """Whose a bundle.json of any version is; None where it does not look like one."""
    try:
        return _NAMED.decode(text)
    except (ValueError, RecursionError):
        return None


def read_rootfs(path: str) -> WrittenRootfs | None:
    """What a rootfs.json says; None where it cannot be read."""
    return _read(path, _WRITTEN_ROOTFS)


def encode_rootfs(root: WrittenRootfs) -> bytes:
    """The text of a rootfs.json."""
    return msgspec.json.encode(root) + b"\n"


def read_form(path: str) -> FormFacts | None:
    """What a form-NAME.json says; None where it cannot be read."""
    return _read(path, _FORM_FACTS)


def encode_form(facts: FormFacts) -> bytes:
    """The text of a form-NAME.json."""
    return msgspec.json.encode(facts) + b"\n"


def _read(path: str, decoder: msgspec.json.Decoder[T]) -> T | None:
    try:
        return decoder.decode(safely.read(path, MAX_SIZE))
    except (OSError, ValueError, RecursionError):
        return None
