"""From a reference and a platform to an image: which transport reads what, and reading nothing twice."""

from __future__ import annotations

import os

from c2wtasks.errors import SourceError
from c2wtasks.oci.access import Access
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.fitting import NotFound
from c2wtasks.sources.memo import Memo
from c2wtasks.sources.model import Image
from c2wtasks.sources.reading import NoSuchPath
from c2wtasks.sources.transports import Images, Remote, open_path, open_remote


class Resolver:
    """Resolves many images: a source is opened once, and its small files are read once, while this lives.

    What `memo` recalls is not read at all. `access` says how registries are reached, `documents` keeps what comes
    from there.
    """

    def __init__(self, access: Access, documents: Documents, memo: Memo | None = None) -> None:
        self.memo = memo
        self._access = access
        self._documents = documents
        self._opened: dict[tuple[str, str], Images | SourceError] = {}
        self._named: dict[str, Remote] = {}

    def resolve(self, reference: Reference, path: str, platform: Platform) -> Image:
        """The image that `reference` names, for `platform`. `path` is its path as seen from the current folder.

        Its layers are there (in a registry: should be) and have the right size; their content has not been read.

        Raises SourceError.
        """
        if not reference.type.is_path:
            return self._remote(reference).image(platform)
        if not _is_utf8(path):  # of a folder that a pattern of `include` met
            raise SourceError(f"{path}: a name in this path is not UTF-8", hint="give that folder another name")
        if self.memo is not None and (known := self.memo.recall(reference, path, platform)) is not None:
            return known
        opened, image = self._read(reference, path, platform)
        if self.memo is not None and opened.files_tell:
            self.memo.remember(reference, path, platform, image)
        return image

    def locked(self, reference: Reference, manifest: Digest) -> Image:
        """The image whose manifest was chosen before, of a source that is no path. Raises SourceError."""
        return self._at_hand(reference, manifest) or self._remote(reference).locked(manifest)

    def has(self, reference: Reference, manifest: Digest) -> bool:
        """Whether the image of that manifest can be told without asking for it."""
        recalled = self.memo is not None and self.memo.recall_fixed(_key(reference, manifest)) is not None
        return recalled or self._at_hand(reference, manifest) is not None

    def _at_hand(self, reference: Reference, manifest: Digest) -> Image | None:
        key = _key(reference, manifest)
        remote = self._remote(reference)
        if self.memo is not None and (known := self.memo.recall_fixed(key)) is not None:
            return remote.reached(known)
        try:
            image = remote.locked(manifest, fetched=False)
        except SourceError:  # what is wrong, or not here, is told by whoever asks for it
            return None
        if self.memo is not None:
            self.memo.remember_fixed(key, image)
        return image

    def _remote(self, reference: Reference) -> Remote:
        remote = open_remote(reference, self._access, self._documents)
        return self._named.setdefault(f"{reference.transport}:{remote.name}", remote)

    def _read(self, reference: Reference, path: str, platform: Platform) -> tuple[Images, Image]:
        opened = self._open(reference.transport, path)
        if isinstance(opened, SourceError):
            if isinstance(opened, NoSuchPath):
                raise NoSuchPath(opened.message, hint=_path_hint(reference, path)) from opened
            hint = opened.hint or self._other_hint(reference, path, platform)
            raise SourceError(opened.message, hint=hint) from opened
        try:
            return opened, opened.image(reference.tag, platform)
        except NotFound as error:
            if (hint := self._other_hint(reference, path, platform)) is None:
                raise
            raise NotFound(error.message, hint=hint) from error

    def _open(self, transport: str, path: str) -> Images | SourceError:
        key = (transport, path)
        if key not in self._opened:
            self._opened[key] = _open(transport, path)
        return self._opened[key]

    def _other_hint(self, reference: Reference, path: str, platform: Platform) -> str | None:
        """Names the source that has what was asked for, where another transport finds it at the same path."""
        for transport in reference.type.also:
            opened = self._open(transport, path)
            if isinstance(opened, SourceError):
                continue
            try:
                opened.image(reference.tag, platform)
            except SourceError:
                continue
            other = f"{transport}:{path}" + (f":{reference.tag}" if reference.tag else "")
            return f"use {other}, which has it"
        return None


def _key(reference: Reference, manifest: Digest) -> str:
    return f"{reference.transport}:{reference.path}@{manifest}"


def _path_hint(reference: Reference, path: str) -> str | None:
    """A hint on what was meant, perhaps, by a path that is not there."""
    if reference.tag and not reference.tag.startswith("@"):
        return f"a path ends at the first colon; what follows, {reference.tag!r}, was taken as the tag"
    if ":" in reference.path and os.path.isdir(folder := path.rpartition(":")[0]):
        return f"such a folder has no tag: use {reference.transport}:{folder}"
    return None


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _open(transport: str, path: str) -> Images | SourceError:
    try:
        return open_path(transport, path)
    except SourceError as error:
        return error
