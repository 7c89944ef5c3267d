"""From a reference and a platform to an image: which transport reads what, and reading nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from c2wtasks.errors import SourceError
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.sources.docker_archive import open_docker
from c2wtasks.sources.layout import open_archive, open_folder
from c2wtasks.sources.memo import Memo
from c2wtasks.sources.model import Image
from c2wtasks.sources.reading import NoSuchPath


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
}


class Resolver:
    """Resolves many images: a source is opened once, and its small files are read once, while this lives.

    What `memo` recalls is not read at all.
    """

    def __init__(self, memo: Memo | None = None) -> None:
        self.memo = memo
        self._opened: dict[tuple[str, str], Images | SourceError] = {}

    def resolve(self, reference: Reference, path: str, platform: Platform) -> Image:
        """The image that `reference` names, for `platform`. `path` is where its place lies.

        Its layers are there and have the right size; their content has not been read.

        Raises SourceError.
        """
        if self.memo is not None and (known := self.memo.recall(reference, path, platform)) is not None:
            return known
        image = self._read(reference, path, platform)
        if self.memo is not None:
            self.memo.remember(reference, path, platform, image)
        return image

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
    opener = OPENERS.get(transport)
    if opener is None:
        return SourceError(f"{transport}: sources are not supported yet")
    try:
        return opener(path)
    except SourceError as error:
        return error


def resolve(reference: Reference, path: str, platform: Platform) -> Image:
    """`Resolver.resolve`, for one image. Raises SourceError."""
    return Resolver().resolve(reference, path, platform)
