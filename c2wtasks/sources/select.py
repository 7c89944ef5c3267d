"""The choice of a manifest among the descriptors of an image index (container2wasm create-spec `unpackOCI`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from c2wtasks.errors import SourceError
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import DOCKER_SCHEMA1, INDEXES, MANIFESTS, Descriptor, ImageConfig, ImageIndex, Manifest
from c2wtasks.oci.platform import Platform
from c2wtasks.sources.fitting import Misses, image_platform, taken_for
from c2wtasks.sources.reading import MAX_CONFIG, MAX_MANIFEST

T = TypeVar("T")
MAX_DEPTH = 16  # of image indexes in image indexes; two are met in practice
MAX_READ = 1000  # entries that are read until one fits: a registry might list others without end

_ATTESTATION = "vnd.docker.reference.type"
_NO_PLATFORM = Platform("unknown", "unknown")


@dataclass(frozen=True, slots=True)
class Document(Generic[T]):
    """A kind of small blob: its name in messages, the most bytes it may have, how it is read."""

    what: str
    limit: int
    parser: Callable[[bytes], T]


def _keep_text(content: bytes) -> tuple[bytes, ImageConfig]:
    return content, ImageConfig.parse(content)


INDEX = Document("index", MAX_MANIFEST, ImageIndex.parse)
MANIFEST = Document("manifest", MAX_MANIFEST, Manifest.parse)
CONFIG = Document("config", MAX_CONFIG, _keep_text)


class Blobs(Protocol):
    """Where `find` reads manifests, image indexes and configs."""

    @property
    def path(self) -> str:
        """What messages begin with."""

    @property
    def looked_at(self) -> int:
        """How many entries for other platforms may be read to say why none is taken: few where that is dear."""

    def named(self, digest: Digest) -> str:
        """How bundle.yaml names a manifest of this source by its digest, whatever an image index says of it."""

    def read(self, descriptor: Descriptor, document: Document[T]) -> T:
        """What the blob says, its size and digest checked. Raises SourceError."""


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest and its config, read and checked; its layers are not. `platform` is what the image is for."""

    descriptor: Descriptor
    manifest: Manifest
    config: bytes
    parsed: ImageConfig
    platform: Platform


def find(blobs: Blobs, descriptors: Iterable[Descriptor], platform: Platform) -> Found:
    """The first image among `descriptors` that serves `platform`, as `search` finds it. Raises SourceError."""
    misses = Misses()
    found = search(blobs, descriptors, platform, misses, set())
    if found is None:
        raise no_image(blobs, platform, misses)
    return found


def search(
    blobs: Blobs, descriptors: Iterable[Descriptor], platform: Platform, misses: Misses, seen: set[Digest]
) -> Found | None:
    """The first image among `descriptors` that serves `platform`; None where there is none.

    Level by level: a level's manifests in their order, then the entries of all its image indexes, those for other
    platforms left out, best platform first; of several for one platform, the first (image-spec, image-index.md). As
    in the original, what cannot be read is an error only where it comes before the image that is taken. Attestations,
    artifacts that are no images and whatever has an unknown media type or a digest of an unknown algorithm are passed
    over, and so is what needs features of the operating system (containerd `platforms`, Match).

    What was not taken is noted in `misses`. `seen` are the image indexes that were looked into.

    Raises SourceError.
    """
    level = [one for one in descriptors if not _is_beyond_us(blobs, one, platform, misses)]
    left = MAX_READ
    for _ in range(MAX_DEPTH):
        children: list[Descriptor] = []
        for descriptor in level:
            if is_attestation(descriptor):
                continue
            if (left := left - 1) < 0:
                wrong = f"among the first {MAX_READ} images and indexes is none for {platform}, and no more are read"
                raise SourceError(f"{blobs.path}: {wrong}", hint="name the image by its digest")
            if descriptor.media_type in MANIFESTS:
                found = _examine(blobs, descriptor, platform, misses)
                if found is not None:
                    return found
            elif descriptor.media_type in INDEXES:
                # An image index met again holds nothing new; expanding it each time could take for ever.
                if descriptor.digest not in seen:
                    seen.add(descriptor.digest)
                    children += blobs.read(descriptor, INDEX).manifests
            else:
                misses.others.append(_unsupported(descriptor))
        if not children:
            return None
        children = [one for one in children if not _is_beyond_us(blobs, one, platform, misses)]
        level = by_preference(children, platform, misses)
    raise SourceError(f"{blobs.path}: indexes lie more than {MAX_DEPTH} deep in one another")


def no_image(blobs: Blobs, platform: Platform, misses: Misses) -> SourceError:
    """The SourceError where nothing was taken.

    Where an image index offers little else, the configs of that are looked at: to name a platform that, asked for,
    would turn out to be another by the config, would send the user in a circle.
    """
    if len(misses.passed) <= blobs.looked_at:
        for descriptor in list(misses.passed):
            if descriptor.media_type not in MANIFESTS:
                continue
            try:
                own = blobs.read(blobs.read(descriptor, MANIFEST).config, CONFIG)[1]
            except SourceError:
                continue  # asked for, it is told
            if own.architecture and platform.rank(own.platform) is not None:
                misses.passed.remove(descriptor)
                misses.disagree(descriptor, own.platform, blobs.named(descriptor.digest))
    return misses.error(blobs.path, platform)


def is_attestation(descriptor: Descriptor) -> bool:
    """Whether an entry is BuildKit's provenance or the like: a manifest by its media type, but no image."""
    return descriptor.platform == _NO_PLATFORM or _ATTESTATION in descriptor.annotations


def _is_beyond_us(blobs: Blobs, descriptor: Descriptor, platform: Platform, misses: Misses) -> bool:
    """Whether an entry needs features of the operating system that nobody can promise, or has a digest of an unknown
    algorithm. If it would serve, that is noted in `misses`."""
    is_known = descriptor.digest.is_known
    if is_attestation(descriptor) or (is_known and not descriptor.os_features):
        return not is_known
    serves = descriptor.platform is not None and platform.rank(descriptor.platform) is not None
    if not is_known:
        misses.not_know(descriptor, serves=serves)
    elif serves:
        misses.need(descriptor, blobs.named(descriptor.digest))
    return True


def by_preference(children: Iterable[Descriptor], platform: Platform, misses: Misses) -> list[Descriptor]:
    """The entries that may serve `platform`, best first, those without a platform last; else in their order. The
    others are noted in `misses`."""
    ranked = []
    for child in children:
        if child.platform is None:
            ranked.append((1, 0, child))
        elif (rank := platform.rank(child.platform)) is not None:
            ranked.append((0, rank, child))
        elif child.media_type in (*MANIFESTS, *INDEXES) and not is_attestation(child):
            misses.passed.append(child)
    return [child for *_, child in sorted(ranked, key=lambda entry: entry[:2])]


def _examine(blobs: Blobs, descriptor: Descriptor, platform: Platform, misses: Misses) -> Found | None:
    """The image of a manifest's descriptor, or None and a note in `misses`. Raises SourceError."""
    if descriptor.platform is not None and platform.rank(descriptor.platform) is None:
        misses.passed.append(descriptor)
        return None
    manifest = blobs.read(descriptor, MANIFEST)
    if (other := manifest.other_content) is not None:
        misses.others.append(f"manifest {descriptor.digest.short} has {other}")
        return None
    config, parsed = blobs.read(manifest.config, CONFIG)
    offered = image_platform(parsed, descriptor.platform)
    if offered is not None and platform.rank(offered) is not None:
        return Found(descriptor, manifest, config, taken_for(parsed, offered), offered)
    if offered is not None and descriptor.platform is not None:
        misses.disagree(descriptor, offered, blobs.named(descriptor.digest))
    else:
        misses.offered.append(offered)
    return None


def _unsupported(descriptor: Descriptor) -> str:
    """Why what a descriptor points at is no image."""
    if descriptor.media_type in DOCKER_SCHEMA1:
        return (
            f"manifest {descriptor.digest.short} is of Docker schema 1, which is not supported; "
            "push the image again with a newer docker"
        )
    return f"{descriptor.digest.short} has an unsupported media type ({descriptor.media_type or 'none'})"
