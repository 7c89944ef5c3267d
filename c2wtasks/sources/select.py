"""The choice of a manifest among the descriptors of an index (container2wasm create-spec `unpackOCI`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from c2wtasks.errors import SourceError
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import (
    CONFIGS,
    DOCKER_SCHEMA1,
    INDEXES,
    MANIFESTS,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    is_layer_type,
)
from c2wtasks.oci.platform import Platform
from c2wtasks.sources.fitting import Misses, image_platform
from c2wtasks.sources.reading import MAX_CONFIG, MAX_MANIFEST

T = TypeVar("T")
MAX_DEPTH = 16  # of indexes in indexes; two are met in practice

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


INDEX = Document("index", MAX_MANIFEST, Index.parse)
MANIFEST = Document("manifest", MAX_MANIFEST, Manifest.parse)
CONFIG = Document("config", MAX_CONFIG, _keep_text)


class Blobs(Protocol):
    """Where `find` reads manifests, indexes and configs."""

    @property
    def path(self) -> str:
        """What messages begin with."""

    def read(self, descriptor: Descriptor, document: Document[T]) -> T:
        """What the blob says, its size and digest checked. Raises SourceError."""


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest and its config, read and checked; its layers are not."""

    descriptor: Descriptor
    manifest: Manifest
    config: bytes
    parsed: ImageConfig


def find(blobs: Blobs, descriptors: Iterable[Descriptor], platform: Platform) -> Found:
    """The first image among `descriptors` that serves `platform`.

    Level by level: a level's manifests in their order, then the entries of all its indexes, those for other
    platforms left out, best platform first. As in the original, what cannot be read is an error only where it
    comes before the image that is taken. Attestations and artifacts that are no images are passed over.

    Raises SourceError.
    """
    misses = Misses()
    seen: set[Digest] = set()
    level = list(descriptors)
    for _ in range(MAX_DEPTH):
        children: list[Descriptor] = []
        for descriptor in level:
            if is_attestation(descriptor):
                continue
            if descriptor.media_type in MANIFESTS:
                found = _examine(blobs, descriptor, platform, misses)
                if found is not None:
                    return found
            elif descriptor.media_type in INDEXES:
                # An index met again holds nothing new; expanding it each time could take for ever.
                if descriptor.digest not in seen:
                    seen.add(descriptor.digest)
                    children += blobs.read(descriptor, INDEX).manifests
            else:
                raise _unsupported(blobs.path, descriptor)
        if not children:
            raise misses.error(blobs.path, platform)
        level = by_preference(children, platform, misses)
    raise SourceError(f"{blobs.path}: indexes lie more than {MAX_DEPTH} deep in one another")


def is_attestation(descriptor: Descriptor) -> bool:
    """Whether BuildKit's provenance or the like: a manifest in form, but no image."""
    return descriptor.platform == _NO_PLATFORM or _ATTESTATION in descriptor.annotations


def by_preference(children: Iterable[Descriptor], platform: Platform, misses: Misses) -> list[Descriptor]:
    """Those that may serve `platform`, best first, those without a platform last; else in their order.

    The platforms of the others are added to `misses`.
    """
    ranked = []
    for child in children:
        if child.platform is None:
            ranked.append((1, 0, child))
        elif (rank := platform.rank(child.platform)) is not None:
            ranked.append((0, rank, child))
        elif not is_attestation(child):
            misses.offered.append(child.platform)
    return [child for *_, child in sorted(ranked, key=lambda entry: entry[:2])]


def _examine(blobs: Blobs, descriptor: Descriptor, platform: Platform, misses: Misses) -> Found | None:
    """The image of a manifest's descriptor, or None and a line in `misses`. Raises SourceError."""
    if descriptor.platform is not None and platform.rank(descriptor.platform) is None:
        misses.offered.append(descriptor.platform)
        return None
    manifest = blobs.read(descriptor, MANIFEST)
    if (other := _not_an_image(manifest)) is not None:
        misses.others.append(f"manifest {descriptor.digest.short} has {other}")
        return None
    config, parsed = blobs.read(manifest.config, CONFIG)
    offered = image_platform(parsed, descriptor.platform)
    if offered is None or platform.rank(offered) is None:
        misses.offered.append(offered)
        return None
    return Found(descriptor, manifest, config, parsed)


def _not_an_image(manifest: Manifest) -> str | None:
    """What shows that the manifest is of something else (`isContainerManifest`); None if nothing does."""
    if manifest.config.media_type not in CONFIGS:
        return f"a config of type {manifest.config.media_type or 'none'}"
    for layer in manifest.layers:
        if not is_layer_type(layer.media_type):
            return f"a layer of type {layer.media_type or 'none'}"
    return None


def _unsupported(path: str, descriptor: Descriptor) -> SourceError:
    if descriptor.media_type in DOCKER_SCHEMA1:
        return SourceError(
            f"{path}: manifest {descriptor.digest.short} is of Docker schema 1, which is not supported",
            hint="push the image again with a newer docker",
        )
    return SourceError(
        f"{path}: {descriptor.digest.short} has an unsupported media type ({descriptor.media_type or 'none'})"
    )
