"""What reads the sources of a transport: the module of its name (`oci-archive`: `sources/oci_archive.py`).

It is loaded when it is needed, and has `open_source`; where its sources are no paths, also `PLACE`, the type of the
places that their layers have.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Protocol

from c2wtasks.oci.access import Access
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.oci.transport import TRANSPORTS
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.model import BlobPlace, Image, Place


class Images(Protocol):
    """The source at a path, opened: where blobs are named by digests, a `ContentImages` of a `content.Source`."""

    @property
    def files_tell(self) -> bool:
        """Whether an image stays the same while the files that it names, `Image.files`, do."""

    def image(self, tag: str, platform: Platform) -> Image:
        """The image for `platform` that `tag` chooses (`Choice`). Raises SourceError."""


class Remote(Protocol):
    """An image that has a name, and must be asked for. Threads may share it."""

    @property
    def name(self) -> object:
        """The name of the image; its text is the same for all ways to write it."""

    def image(self, platform: Platform) -> Image:
        """The image that the name stands for now, for `platform`. Raises SourceError."""

    def locked(self, manifest: Digest, *, fetched: bool = True) -> Image:
        """The image of a manifest that was chosen before; with what is in the cache alone, if it may not be
        `fetched`. Raises SourceError."""

    def reached(self, image: Image) -> Image:
        """The image, which was remembered from a run that may have reached it in another way."""


def open_path(transport: str, path: str) -> Images:
    """The source of that transport at `path`. Raises SourceError."""
    opened: Callable[[str], Images] = _module(transport).open_source
    return opened(path)


def open_remote(reference: Reference, access: Access, documents: Documents) -> Remote:
    """The image that a reference names, for which nobody is asked yet."""
    opened: Callable[[Reference, Access, Documents], Remote] = _module(reference.transport).open_source
    return opened(reference, access, documents)


def place_type(transport: str) -> type[Place]:
    """The type of the places of layers. Raises KeyError where there is no such transport."""
    if TRANSPORTS[transport].is_path:
        return BlobPlace
    place: type[Place] = _module(transport).PLACE
    return place


def _module(transport: str) -> ModuleType:
    return import_module(f"{__package__}.{transport.replace('-', '_')}")
