"""How a remote cache is reached: a row and a module for each scheme of its URL.

What is kept has names (of claims and indexes), or is known by its SHA-256:

    claims/<kind>/<aa>/<key>-<key id>    a claim in its envelope
    indexes/<catalog>                    the claims of a catalog, packed (zstd)
    documents/<catalog>                  the documents of its images, packed
    blobs/<aa>/<SHA-256>                 an output

In a registry names are tags, and what has a SHA-256 is a blob. Blobs are written before the claims that name them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import BinaryIO, Protocol

from c2wtasks.oci.access import Access
from c2wtasks.registry.limits import Limits


class RemoteFailure(Exception):
    """A remote cache does not answer, or not as it should. `reason` says why, in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Blob:
    """An output, as it is kept: so many bytes of this SHA-256."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Name:
    """What is kept under a name: a claim, of a kind, for a key, by a signer; or the index or the documents of a
    catalog, which is the key."""

    kind: str
    key: str
    signer: str = ""

    @property
    def tag(self) -> str:
        """The name as one word: a registry's tag."""
        return f"{self.kind}-{self.key}" + (f"-{self.signer[:16]}" if self.signer else "")

    @property
    def path(self) -> str:
        """The name as a path."""
        if not self.signer:
            return f"{_FOLDERS[self.kind]}/{self.key}"
        return f"claims/{self.kind}/{self.key[:2]}/{self.key}-{self.signer[:16]}"


INDEX, DOCUMENTS = "index", "documents"
_FOLDERS = {INDEX: "indexes", DOCUMENTS: "documents"}
_KINDS = {folder: kind for kind, folder in _FOLDERS.items()}
_PATH = re.compile(r"claims/([a-z]+)/[0-9a-f]{2}/([0-9a-f]{64})-([0-9a-f]{16})|([a-z]+)/([A-Za-z0-9._-]+)")
_TAG = re.compile(r"([a-z]+)-([0-9a-f]{64})-([0-9a-f]{16})|([a-z]+)-([A-Za-z0-9._-]+)")


def name_of(text: str) -> Name | None:
    """The name that is written as a path or a tag; None where it is none of ours."""
    found = _PATH.fullmatch(text) or _TAG.fullmatch(text)
    if found is None:
        return None
    kind, key, signer, of, catalog = found.groups()
    if not catalog:
        return Name(kind, key, signer)
    known = _KINDS.get(of, of)
    return Name(known, catalog) if known in _FOLDERS else None


def blob_path(sha256: str) -> str:
    """Where a blob lies, where names are paths."""
    return f"blobs/{sha256[:2]}/{sha256}"


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that is kept: its name, or of a blob its SHA-256; its bytes, and for how many seconds. What is not
    told is -1."""

    name: Name | None
    sha256: str = ""
    size: int = -1
    age: float = -1

    @property
    def path(self) -> str:
        """Where it lies, where names are paths."""
        return self.name.path if self.name else blob_path(self.sha256)


def kept_at(path: str, size: int, age: float) -> Kept | None:
    """What lies at a path, where names are paths; None where it is none of ours."""
    name = name_of(path)
    sha256 = path.rpartition("/")[2] if path.startswith("blobs/") else ""
    return Kept(name, sha256, size, age) if name or sha256 else None


class Incoming(Protocol):
    """The bytes of a blob as they come, unchecked."""

    def read(self, size: int, /) -> bytes:
        """Some of the bytes, `size` at most; none at the end. Raises RemoteFailure."""

    def close(self) -> None:
        """Ends the reading."""


class Transport(Protocol):
    """One remote cache. All raise RemoteFailure where it does not answer as it should."""

    def get(self, name: Name, limit: int) -> bytes | None:
        """What has this name, of at most `limit` bytes; None where there is none."""

    def put(self, name: Name, content: bytes, blobs: Sequence[Blob]) -> None:
        """Gives a content its name. It names these blobs, which are there."""

    def open(self, blob: Blob) -> Incoming | None:
        """A blob; None where it is not there."""

    def has(self, blob: Blob) -> bool:
        """Whether a blob is there."""

    def send(self, blob: Blob, content: BinaryIO) -> None:
        """Puts a blob there: what `content` gives from its first byte on."""

    def kept(self) -> Iterator[Kept] | None:
        """All that is there, as far as it can be told; None where nothing can."""

    def remove(self, what: Kept) -> None:
        """Removes something that `kept` gave."""


Opener = Callable[[str, Access, Limits], Transport]
_MODULES = {"file": "folder", "http": "web", "https": "web", "oci": "repository", "s3": "s3"}


def opener(scheme: str) -> Opener:
    """What opens a remote cache whose URL begins so."""
    module = import_module(f"c2wtasks.remote.{_MODULES[scheme]}")
    found: Opener = module.opened
    return found
