"""Images of content-addressed sources: everything that follows from a top-level image index and blobs by digest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from c2wtasks.errors import SourceError, some_of
from c2wtasks.oci.choice import Choice
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import CONTAINERD_NAME, INDEXES, REF_NAME, Descriptor, ImageIndex, layer_problem
from c2wtasks.oci.imagename import full_name
from c2wtasks.oci.platform import Platform
from c2wtasks.sources import reading
from c2wtasks.sources.fitting import Candidate, Misses, NotFound, Unreadable, check_layer_count, the_one
from c2wtasks.sources.model import BlobPlace, Image, Layer, Place
from c2wtasks.sources.select import INDEX, MAX_DEPTH, Document, Found, no_image, search

T = TypeVar("T")


class Source(Protocol):
    """A content-addressed source, as its transport supplies it."""

    @property
    def path(self) -> str:
        """What messages begin with."""

    @property
    def transport(self) -> str:
        """How a reference to the source begins: `oci`."""

    @property
    def index_files(self) -> tuple[str, ...]:
        """The files that `index` read."""

    def index(self) -> ImageIndex:
        """The images there are. Raises SourceError."""

    def place(self, descriptor: Descriptor) -> BlobPlace | None:
        """Where the blob lies, unchecked; None where it does not. Raises SourceError."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a blob that was read says, and where it lies."""

    said: Any
    place: BlobPlace


class ContentImages:
    """Resolves images of one source. Its image index, manifests and configs are read once, however many images."""

    files_tell = True

    def __init__(self, source: Source) -> None:
        """Raises SourceError."""
        self._source = source
        self._top = source.index().manifests
        self._by_tag: dict[str, list[Descriptor]] = {}
        self._by_full_name: dict[str, list[Descriptor]] = {}
        for descriptor in self._top:
            tag = descriptor.annotations.get(REF_NAME, "")
            self._by_tag.setdefault(tag, []).append(descriptor)
            # containerd, and docker since it stores images there, annotate the name; podman makes it the ref.name.
            full = descriptor.annotations.get(CONTAINERD_NAME) or (tag if set(tag) & set(":/") else "")
            if full:
                self._by_full_name.setdefault(full_name(full), []).append(descriptor)
        self._read: dict[tuple[Digest, str], _Known] = {}

    def image(self, tag: str, platform: Platform) -> Image:
        """The image for `platform` that `tag` chooses; without a tag, the only one that fits.

        Raises SourceError.
        """
        visit = _Visit(self._source, self.read, dict.fromkeys(self._source.index_files))
        misses = Misses()
        seen: set[Digest] = set()
        candidates: list[Candidate[Found]] = []
        unreadable: list[Unreadable] = []
        for descriptor in self._chosen(tag, visit):
            names = _names(descriptor)
            try:
                found = search(visit, [descriptor], platform, misses, seen)
            except SourceError as error:
                rank = platform.rank(descriptor.platform) if descriptor.platform else 0
                unreadable.append(Unreadable(names, rank or 0, error))
                continue
            if found is not None:
                rank = platform.rank(found.platform)
                assert rank is not None, "search gives what serves"
                created = found.parsed.created_ns
                candidates.append(Candidate(names, found.descriptor.digest, found.platform, rank, created, found))
        one = the_one(self._source.path, f"{self._source.transport}:{self._source.path}", candidates, unreadable)
        if one is None:
            raise no_image(visit, platform, misses)
        return self._build(visit, one.value)

    def _chosen(self, tag: str, visit: _Visit) -> Sequence[Descriptor]:
        """The entries that `tag` chooses; those of a digest without what an image index says of their platform."""
        if found := self._called(tag):
            return found
        choice = Choice.parse(tag)
        if choice.position is not None:
            if choice.position >= len(self._top):
                raise self._not_there(tag)
            return [self._top[choice.position]]
        named = self._called(choice.name) if choice.name else self._top
        if not named and (choice.name or choice.digest):
            raise self._not_there(tag)
        return [self._of_digest(choice.digest, named, visit, tag)] if choice.digest else named

    def _called(self, name: str) -> Sequence[Descriptor]:
        """The entries with this ref.name as it stands; else those with this whole reference, written in any of the
        ways that docker takes."""
        if not name:
            return ()
        return self._by_tag.get(name, ()) or self._by_full_name.get(full_name(name), ())

    def _of_digest(self, digest: Digest, descriptors: Sequence[Descriptor], visit: _Visit, tag: str) -> Descriptor:
        """The manifest or image index `digest` among `descriptors` and what their image indexes list, however deep.

        Raises SourceError: it is not there, or an image index that may list it cannot be read.
        """
        seen: set[Digest] = set()
        unreadable: list[SourceError] = []
        level = list(descriptors)
        for _ in range(MAX_DEPTH):
            children: list[Descriptor] = []
            for one in level:
                if one.digest == digest:
                    return replace(one, platform=None, os_features=())
                if one.media_type in INDEXES and one.digest.is_known and one.digest not in seen:
                    seen.add(one.digest)
                    try:
                        children += visit.read(one, INDEX).manifests
                    except SourceError as error:
                        unreadable.append(error)
            level = children
        raise unreadable[0] if unreadable else self._not_there(tag)

    def _not_there(self, tag: str) -> NotFound:
        source = f"{self._source.transport}:{self._source.path}"
        names = sorted({names[-1] for descriptor in self._top if (names := _names(descriptor))})
        wrong = f"{self._source.path} has no {'image' if tag.startswith('@') else 'tag'} {tag!r}"
        if names:
            return NotFound(wrong, hint=f"there are: {some_of(names)}")
        if len(self._top) > 1:
            return NotFound(wrong, hint=f"there are {len(self._top)} without a name: {source}:@0 is the first")
        return NotFound(f"{wrong}, nor any other", hint=f"leave it out: {source}")

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
            whose = f" ({descriptor.platform})" if descriptor.platform else ""
            raise NotFound(f"{name}{whose} is not in the layout", hint="copy the image again, with all its blobs")
        _check_size(name, place, descriptor)
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
                found = f"its content is {have.short}" if place.may_be_told else reading.UNTOLD
                raise SourceError(f"{name} has another digest: {found}", hint=hint)
            known = _Known(reading.parse(name, document.parser, content), place)
            self._read[descriptor.digest, document.what] = known
        _check_size(name, known.place, descriptor)
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


def _names(descriptor: Descriptor) -> tuple[str, ...]:
    """What an entry of an image index is called: its ref.name, and containerd's name for it."""
    said = (descriptor.annotations.get(key) for key in (REF_NAME, CONTAINERD_NAME))
    return tuple(dict.fromkeys(filter(None, said)))


def _check_size(name: str, place: BlobPlace, descriptor: Descriptor) -> None:
    if place.size != descriptor.size:
        raise reading.mistaken(name, place) or SourceError(
            f"{name} is {place.size} bytes, its descriptor says {descriptor.size}",
            hint="the blob is damaged; copy the image again",
        )


@dataclass(slots=True)
class _Visit:
    """The `Blobs` of one resolution: remembers which files its result depends on."""

    source: Source
    read_blob: Callable[[Descriptor, Document[Any]], _Known]
    files: dict[str, None]  # as an ordered set
    looked_at: int = 20

    @property
    def path(self) -> str:
        return self.source.path

    def named(self, digest: Digest) -> str:
        return f"{self.source.transport}:{self.path}:@{digest}"

    def read(self, descriptor: Descriptor, document: Document[T]) -> T:
        known = self.read_blob(descriptor, document)
        self.files[known.place.path] = None
        said: T = known.said
        return said
