"""`oci:`, an image layout (OCI image-spec, image-layout.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from c2wtasks.errors import SourceError
from c2wtasks.oci import godecode
from c2wtasks.oci.image import Descriptor, ImageIndex
from c2wtasks.sources.content import ContentImages
from c2wtasks.sources.model import BlobPlace
from c2wtasks.sources.opening import open_files
from c2wtasks.sources.reading import MAX_INDEX_FILE, Files, parse_at, read_place

T = TypeVar("T")


class Layout:
    """A `Source` over the files of an image layout."""

    def __init__(self, files: Files, transport: str) -> None:
        self.path = files.path
        self.transport = transport
        self.index_files: tuple[str, ...] = ()
        self._files = files

    def index(self) -> ImageIndex:
        """The index of the layout, an empty one where there is no index.json.

        Raises SourceError: it cannot be read, or the layout is of another version than 1.
        """
        version = self._parse("oci-layout", _version)
        if version and version.partition(".")[0] != "1":
            raise SourceError(f"{self.path}: oci-layout says version {version}; only 1.x is supported")
        return self._parse("index.json", ImageIndex.parse) or ImageIndex(())

    def place(self, descriptor: Descriptor) -> BlobPlace | None:
        """Where the blob of a descriptor lies; None where there is none.

        Raises SourceError.
        """
        return self._files.place(f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}")

    def _parse(self, name: str, parser: Callable[[bytes], T]) -> T | None:
        """What `parser` makes of a file; None where it is absent, as oci-layout may be for the original."""
        place = self._files.place(name)
        if place is None:
            return None
        self.index_files += (place.path,)
        what = f"{self.path}: {name}"
        return parse_at(place, what, parser, read_place(place, what, MAX_INDEX_FILE))


def _version(content: bytes) -> str:
    return godecode.load_object(content).string("imageLayoutVersion")


def open_source(path: str) -> ContentImages:
    """The images of the layout in the folder `path`. Raises SourceError."""
    return ContentImages(Layout(open_files("oci", path), "oci"))
