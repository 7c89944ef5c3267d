"""`docker://`, images in registries: manifests and configs are fetched here, layers only where they are read."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from c2wtasks.errors import SourceError
from c2wtasks.oci.access import Access
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import OCI_MANIFEST, Descriptor
from c2wtasks.oci.imagename import ImageName, Repository
from c2wtasks.oci.mediatype import media_type_of
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.sources import reading
from c2wtasks.sources.content import image_of
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.fitting import Unfit
from c2wtasks.sources.model import Image
from c2wtasks.sources.reading import MAX_MANIFEST
from c2wtasks.sources.remote import RemotePlace
from c2wtasks.sources.select import CONFIG, MANIFEST, Document, Found, find

if TYPE_CHECKING:
    from c2wtasks.registry.client import Client

T = TypeVar("T")
PLACE = RemotePlace


@dataclass(frozen=True, slots=True)
class Reader:
    """The small documents of one repository: from the cache, or, if it `fetches`, fetched into it. It is the `Blobs`
    of `find`."""

    path: str
    repository: Repository
    access: Access
    documents: Documents
    looked_at: int = 1
    fetches: bool = True

    def named(self, digest: Digest) -> str:
        """The reference of a document, as messages have it."""
        return f"docker://{self.repository}@{digest}"

    @property
    def client(self) -> Client:
        """The client of the repository's registry."""
        from c2wtasks.registry.client import client  # most runs fetch nothing, and are spared loading this

        return client(self.access)

    def read(self, descriptor: Descriptor, document: Document[T]) -> T:
        """The document of a descriptor, read and parsed.

        Raises SourceError: it is too large, not as long as the descriptor says, or cannot be read.
        """
        name = f"{self.path}: {document.what} {descriptor.digest.short}"
        if descriptor.size > document.limit:
            raise SourceError(
                f"{name} is {descriptor.size} bytes, more than the {document.limit} that are read of it"
            )
        content = self.content(descriptor.digest, document.limit, is_config=document.what == CONFIG.what)
        if len(content) != descriptor.size:
            raise SourceError(
                f"{name} is {len(content)} bytes, its descriptor says {descriptor.size}", hint="push the image again"
            )
        return reading.parse(name, document.parser, content)

    def content(self, digest: Digest, limit: int, *, is_config: bool = False, tag: str = "") -> bytes:
        """The document with this digest, of at most `limit` bytes; where it is a manifest, `tag` may stand for it.

        Raises SourceError.
        """
        content = self.documents.get(digest, limit)
        if content is None:
            if not self.fetches:
                raise SourceError(f"{self.path}: {digest.short} is not in the cache")
            if is_config:
                content = self.client.document(self.repository, digest, limit)
            else:
                content, announced = self.client.manifest(self.repository, digest, limit, tag)
                self.media_type(digest, content, announced)
            self.documents.put(digest, content)
        return content

    def media_type(self, digest: Digest, content: bytes, announced: str = "") -> str:
        """The media type of a manifest or image index, which the registry `announced` as this one, if not as none.

        Raises SourceError: they differ, or it is neither.
        """
        return reading.parse(
            f"{self.path}: manifest {digest.short}", lambda text: media_type_of(text, announced), content
        )


@dataclass(slots=True)
class RegistryImage:
    """Resolves one name, for any platform or to a manifest. The tag is asked for once. Threads may share it."""

    name: ImageName
    access: Access
    documents: Documents
    _top: Descriptor | SourceError | None = None
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def image(self, platform: Platform) -> Image:
        """The image for `platform`. Raises SourceError; where it is not there, the hint names the others."""
        reader = Reader(str(self.name), self.name.repository, self.access, self.documents)
        with self._asking:
            if self._top is None:
                self._top = _top(reader, self.name)
            top = self._top
        if isinstance(top, SourceError):
            raise SourceError(top.message, hint=top.hint) from top
        try:
            found = find(reader, [top], platform)
        except Unfit as error:
            raise SourceError(error.message, hint=f"ask for {error.instead}") from error
        return _image(reader, found)

    def locked(self, manifest: Digest, *, fetched: bool = True) -> Image:
        """The image of a manifest that was chosen before; with what is in the cache alone, if it may not be
        `fetched`.

        Raises SourceError.
        """
        name = self.name
        path = f"{name.repository}@{manifest.short}"
        reader = Reader(path, name.repository, self.access, self.documents, fetches=fetched)
        content = reader.content(manifest, MAX_MANIFEST, tag=name.tag)
        parsed = reading.parse(f"{reader.path}: manifest", MANIFEST.parser, content)
        config, said = reader.read(parsed.config, CONFIG)
        return _image(
            reader, Found(Descriptor(OCI_MANIFEST, manifest, len(content)), parsed, config, said, said.platform)
        )

    def reached(self, image: Image) -> Image:
        """The image, remembered from a run that may have reached its registry in another way."""
        layers = []
        for layer in image.layers:
            place = layer.place
            assert isinstance(place, RemotePlace), place
            is_same = place.access == self.access
            layers.append(layer if is_same else replace(layer, place=replace(place, access=self.access)))
        return replace(image, layers=tuple(layers))


def open_source(reference: Reference, access: Access, documents: Documents) -> RegistryImage:
    """The image that a reference names, for which no registry is asked yet."""
    return RegistryImage(ImageName.parse(reference.text.partition("//")[2]), access, documents)


def _image(reader: Reader, found: Found) -> Image:
    def place(layer: Descriptor) -> RemotePlace:
        return RemotePlace(reader.repository, layer.digest, layer.size, reader.access)

    return image_of(reader.path, found, place, ())


def _top(reader: Reader, name: ImageName) -> Descriptor | SourceError:
    """What the name stands for now, or why that cannot be found out."""
    try:
        if name.digest is not None:
            digest = name.digest
            content, announced = reader.content(digest, MAX_MANIFEST, tag=name.tag), ""
        else:
            documents, client = reader.documents, reader.client
            digest, content, announced = client.tagged(name.repository, name.tag, MAX_MANIFEST, documents.get)
            documents.put(digest, content)
        kind = reader.media_type(digest, content, announced)
        return Descriptor(kind, digest, len(content))
    except SourceError as error:
        return error
