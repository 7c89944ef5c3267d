"""Images of content-addressed sources: everything that follows from a top-level index and blobs by digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from c2wtasks.errors import SourceError
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import REF_NAME, Descriptor, Index, layer_problem
from c2wtasks.oci.platform import Platform
from c2wtasks.sources import reading
from c2wtasks.sources.fitting import ask_for_one, check_layer_count, some_of
from c2wtasks.sources.model import BlobPlace, Image, Layer, Place
from c2wtasks.sources.select import Document, Found, find

T = TypeVar("T")


class Source(Protocol):
    """What a transport supplies. A remote one fetches a blob into a cache of its own to give its place."""

    @property
    def path(self) -> str:
        """What messages begin with."""

    @property
    def transport(self) -> str:
        """How a reference to it begins: `oci`."""

    @property
    def index_files(self) -> tuple[str, ...]:
        """The files that `index` read."""

    def index(self) -> Index:
        """The images there are. Raises SourceError."""

    def place(self, descriptor: Descriptor) -> BlobPlace | None:
        """Where the blob lies, unchecked; None where it does not. Raises SourceError."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a blob that was read says, and where it lies."""

    said: Any
    place: BlobPlace


class ContentImages:
    """Resolves images of one source. Its index, manifests and configs are read once, however many images."""

    def __init__(self, source: Source) -> None:
        """Raises SourceError."""
        self._source = source
        self._top = source.index().manifests
        self._by_tag: dict[str, list[Descriptor]] = {}
        for descriptor in self._top:
            self._by_tag.setdefault(descriptor.annotations.get(REF_NAME, ""), []).append(descriptor)
        self._read: dict[tuple[Digest, str], _Known] = {}

    def image(self, tag: str, platform: Platform) -> Image:
        """The image `tag` for `platform`; without a tag, the first that fits, if only one name does.

        Raises SourceError.
        """
        visit = _Visit(self._source.path, self.read, dict.fromkeys(self._source.index_files))
        if tag:
            found = find(visit, self._tagged(tag), platform)
        else:
            found = find(visit, self._top, platform)
            self._refuse_ambiguous(visit, platform)
        return self._build(visit, found)

    def _tagged(self, tag: str) -> list[Descriptor]:
        found = self._by_tag.get(tag)
        if found is None:
            path = self._source.path
            tags = self._tags()
            if not tags:
                hint = f"leave it out: {self._source.transport}:{path}"
                raise SourceError(f"{path} has no tag {tag!r}, nor any other", hint=hint)
            raise SourceError(f"{path} has no tag {tag!r}", hint=f"there are: {some_of(tags)}")
        return found

    def _tags(self) -> list[str]:
        return sorted(tag for tag in self._by_tag if tag)

    def _refuse_ambiguous(self, visit: _Visit, platform: Platform) -> None:
        """Raises SourceError where images of several tags fit.

        That two tags now name the same image does not help: they can part any day.
        """
        tags = self._tags()
        if len(tags) < 2:
            return
        fitting = [tag for tag in tags if self._fits(visit, self._by_tag[tag], platform)]
        if len(fitting) > 1:
            source = self._source
            raise ask_for_one(source.path, fitting, f"{source.transport}:{source.path}:{fitting[0]}")

    @staticmethod
    def _fits(visit: _Visit, descriptors: list[Descriptor], platform: Platform) -> bool:
        try:
            find(visit, descriptors, platform)
        except SourceError:
            return False  # what cannot be read is not in the way of the image that can
        return True

    def _build(self, visit: _Visit, found: Found) -> Image:
        return image_of(self._source.path, found, lambda layer: self.place(layer, "layer"), tuple(visit.files))

    def place(self, descriptor: Descriptor, what: str) -> BlobPlace:
        """Where the blob lies, its size checked. `what` names it in messages. Raises SourceError."""
        name = f"{self._source.path}: {what} {descriptor.digest.short}"
        place = self._source.place(descriptor)
        if place is None:
            if descriptor.urls:
                where = f"fetch {descriptor.urls[0]} and put it beside the image's other blobs"
                hint = f"{where}, as {descriptor.digest.algorithm}/{descriptor.digest.hex}"
                raise SourceError(f"{name} is not in the layout (remote reference)", hint=hint)
            raise SourceError(f"{name} is not in the layout", hint="copy the image again, with all its blobs")
        _check_size(name, place.size, descriptor)
        return place

    def read(self, descriptor: Descriptor, document: Document[Any]) -> _Known:
        """What a small blob says, its size and digest checked. Raises SourceError."""
        name = f"{self._source.path}: {document.what} {descriptor.digest.short}"
        known = self._read.get((descriptor.digest, document.what))
        if known is None:
            place = self.place(descriptor, document.what)
            content = reading.read_place(place, name, document.limit)
            have = Digest.of(content, descriptor.digest.algorithm)
            if have != descriptor.digest:
                hint = "the blob is damaged; copy the image again"
                raise SourceError(f"{name} has another digest: its content is {have.short}", hint=hint)
            known = _Known(reading.parse(name, document.parser, content), place)
            self._read[descriptor.digest, document.what] = known
        _check_size(name, known.place.size, descriptor)
        return known


def image_of(path: str, found: Found, place: Callable[[Descriptor], Place], files: tuple[str, ...]) -> Image:
    """The image that was found, its layers where `place` says. `path` begins messages.

    Raises SourceError: a layer cannot be used, or manifest and config do not fit each other.
    """
    for layer in found.manifest.layers:
        if (problem := layer_problem(layer.media_type)) is not None:
            raise SourceError(f"{path}: layer {layer.digest.short} {problem}")
    check_layer_count(f"{path}: manifest {found.descriptor.digest.short}", len(found.manifest.layers), found.parsed)
    return Image(
        manifest_digest=found.descriptor.digest,
        config_digest=found.manifest.config.digest,
        config=found.config,
        parsed=found.parsed,
        layers=tuple(
            Layer(layer.digest, diff_id, place(layer))
            for layer, diff_id in zip(found.manifest.layers, found.parsed.diff_ids, strict=True)
        ),
        files=files,
    )


def _check_size(name: str, have: int, descriptor: Descriptor) -> None:
    if have != descriptor.size:
        raise SourceError(
            f"{name} is {have} bytes, its descriptor says {descriptor.size}",
            hint="the blob is damaged; copy the image again",
        )


@dataclass(slots=True)
class _Visit:
    """The `Blobs` of one resolution: remembers which files its result depends on."""

    path: str
    read_blob: Callable[[Descriptor, Document[Any]], _Known]
    files: dict[str, None]  # as an ordered set

    def read(self, descriptor: Descriptor, document: Document[T]) -> T:
        known = self.read_blob(descriptor, document)
        self.files[known.place.path] = None
        said: T = known.said
        return said
