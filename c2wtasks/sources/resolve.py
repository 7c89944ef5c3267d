"""From a reference and a platform to an image: which transport reads what, and reading nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from c2wtasks.errors import SourceError
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.registry.hosts import Access
from c2wtasks.sources import skopeo_dir
from c2wtasks.sources.docker_archive import open_docker
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.layout import open_archive, open_folder
from c2wtasks.sources.memo import Memo
from c2wtasks.sources.model import Image
from c2wtasks.sources.reading import NoSuchPath
from c2wtasks.sources.registry import RegistryImage, locked_image, reached_by


class Images(Protocol):
    """An opened source."""

    def image(self, tag: str, platform: Platform) -> Image:
        """The image `tag` (empty: any) for `platform`. Raises SourceError."""


# How each transport opens a path. A new one is a module and a line here; one whose blobs are named by digests
# needs no more than a `content.Source`.
OPENERS: dict[str, Callable[[str], Images]] = {
    "oci": open_folder,
    "oci-archive": open_archive,
    "docker-archive": open_docker,
    "dir": skopeo_dir.open_folder,
}


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
        self._named: dict[str, RegistryImage] = {}

    def resolve(self, reference: Reference, path: str, platform: Platform) -> Image:
        """The image that `reference` names, for `platform`. `path` is where its place lies.

        Its layers are there (in a registry: should be) and have the right size; their content has not been read.

        Raises SourceError.
        """
        if reference.is_remote:
            return self._registry_image(reference).image(platform)
        if self.memo is not None and (known := self.memo.recall(reference, path, platform)) is not None:
            return known
        image = self._read(reference, path, platform)
        if self.memo is not None:
            self.memo.remember(reference, path, platform, image)
        return image

    def locked(self, reference: Reference, manifest: Digest) -> Image:
        """The image in the registry of `reference` whose manifest was chosen before. Raises SourceError."""
        key = f"{reference.transport}:{reference.place}@{manifest}"
        if self.memo is not None and (known := self.memo.recall_fixed(key)) is not None:
            return reached_by(known, self._access)
        image = locked_image(reference.image_name, manifest, self._access, self._documents)
        if self.memo is not None:
            self.memo.remember_fixed(key, image)
        return image

    def _registry_image(self, reference: Reference) -> RegistryImage:
        name = reference.image_name
        return self._named.setdefault(str(name), RegistryImage(name, self._access, self._documents))

    def _read(self, reference: Reference, path: str, platform: Platform) -> Image:
        key = (reference.transport, path)
        if key not in self._opened:
            self._opened[key] = _open(reference.transport, path)
        opened = self._opened[key]
        if not isinstance(opened, SourceError):
            return opened.image(reference.tag, platform)
        hint = opened.hint
        if isinstance(opened, NoSuchPath) and reference.tag:
            hint = f"a path ends at the first colon; what follows, {reference.tag!r}, was taken as the tag"
        raise SourceError(opened.message, hint=hint) from opened


def _open(transport: str, path: str) -> Images | SourceError:
    try:
        return OPENERS[transport](path)
    except SourceError as error:
        return error
