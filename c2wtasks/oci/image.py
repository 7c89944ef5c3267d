"""Descriptors, manifests, image indexes, image configs (OCI image-spec v1.1; Docker image manifest v2, schema 2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from c2wtasks.oci import godecode
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.godecode import Object, as_integer, as_object, as_string
from c2wtasks.oci.platform import Platform

_LATEST_NS = 2**63 - 1  # in 2262
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_LIST)
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

# What old versions of docker and registries called an image's config (moby `distribution`, imageTypes).
_OLD_CONFIGS = ("application/octet-stream", "application/json", "text/html", "")

_OCI_LAYER_PREFIX = "application/vnd.oci.image.layer."
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_DOCKER_LAYERS = (
    _DOCKER_LAYER,
    f"{_DOCKER_LAYER}.gzip",
    f"{_DOCKER_LAYER}.zstd",  # as BuildKit writes; containerd 1.7 does not know it, 2.x does
    _DOCKER_FOREIGN,
    f"{_DOCKER_FOREIGN}.gzip",
)
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What points at a blob. `platform` is None where the image index names none; `os_features` are those that the
    image cannot do without; `urls` are other places to find the blob."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] = field(default_factory=dict, hash=False)
    urls: tuple[str, ...] = ()
    os_features: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: Any, key: str, digest_of: Callable[[str], Digest] = Digest.parse) -> Descriptor:
        """The descriptor in a document's field `key`. Raises ValueError."""
        fields = as_object(value, key)
        try:
            digest = digest_of(fields.string("digest"))
        except ValueError as error:
            raise ValueError(f"{key}.digest: {error}") from None
        size = fields.get("size", as_integer, 0)
        if size < 0:
            raise ValueError(f"{key}.size: {size} is negative")
        fields.string("artifactType")
        return cls(
            fields.string("mediaType"),
            digest,
            size,
            fields.get("platform", _read_platform, None, null_clears=True),
            fields.mapping("annotations", as_string, ""),
            fields.strings("urls"),
            fields.get("platform", _read_features, (), null_clears=True),
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest. `media_type` is what the document says of itself, empty where it says nothing."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = ""

    @classmethod
    def parse(cls, content: bytes) -> Manifest:
        """The manifest that a document holds. Raises ValueError."""
        fields = godecode.load_object(content)
        if fields.get("schemaVersion", as_integer, 2) == 1:
            raise ValueError("a Docker schema 1 manifest, which is not supported; push the image again")
        _check_document_types(fields)
        _refuse_two_readings(fields, "a manifest", MANIFESTS, ("manifests", "fsLayers"))
        return cls(
            Descriptor.read(fields.object("config"), "config"),
            tuple(Descriptor.read(layer, f"layers[{at}]") for at, layer in enumerate(fields.objects("layers"))),
            fields.string("mediaType"),
        )

    @property
    def other_content(self) -> str | None:
        """What shows that the manifest is of something else than an image (`isContainerManifest`); None if nothing
        does.

        Docker's own manifests may call the config by one of the names that old versions gave it.
        """
        kind = self.config.media_type
        if kind not in CONFIGS and not (self.media_type == DOCKER_MANIFEST and kind in _OLD_CONFIGS):
            return f"a config of type {kind or 'none'}"
        for layer in self.layers:
            if not is_layer_type(layer.media_type):
                return f"a layer of type {layer.media_type or 'none'}"
        return None


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """An image index. `manifests` may have digests of unknown algorithms: what may go on without such an entry passes
    over it."""

    manifests: tuple[Descriptor, ...]

    @classmethod
    def parse(cls, content: bytes) -> ImageIndex:
        """The image index that a document holds. Raises ValueError."""
        fields = godecode.load_object(content)
        fields.get("schemaVersion", as_integer, 2)
        _check_document_types(fields)
        _refuse_two_readings(fields, "an index", INDEXES, ("config", "layers", "fsLayers"))
        manifests = enumerate(fields.objects("manifests"))
        return cls(tuple(Descriptor.read(entry, f"manifests[{at}]", Digest.parse_any) for at, entry in manifests))


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The parts of an image config that a bundle depends on.

    `created_ns` is nanoseconds since 1970; 0 where the config does not say, or says what `bound_time` takes for 0:
    Go's zero time, in the year 1, is what builders write that know none. `variant` may be empty where `platform`
    has the architecture's default.
    """

    os: str
    architecture: str
    variant: str
    diff_ids: tuple[Digest, ...]
    created_ns: int = 0
    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""

    @property
    def platform(self) -> Platform:
        """The platform that the image is for."""
        return Platform.of(self.os, self.architecture, self.variant)

    @classmethod
    def parse(cls, content: bytes) -> ImageConfig:
        """Reads an image config, refusing what Go's decoder would refuse in any field of it.

        Raises ValueError.
        """
        top = godecode.load_object(content)
        run = top.object("config")
        _check_types(top, run)
        rootfs = top.object("rootfs")
        rootfs.string("type")
        diff_ids = []
        for at, text in enumerate(rootfs.strings("diff_ids")):
            try:
                diff_ids.append(Digest.parse(text))
            except ValueError as error:
                raise ValueError(f"rootfs.diff_ids[{at}]: {error}") from None
        return cls(
            os=top.string("os"),
            architecture=top.string("architecture"),
            variant=top.string("variant"),
            diff_ids=tuple(diff_ids),
            created_ns=bound_time(top.get("created", _time, 0, null_clears=True)),
            user=run.string("User"),
            env=run.strings("Env"),
            entrypoint=run.strings("Entrypoint"),
            cmd=run.strings("Cmd"),
            working_dir=run.string("WorkingDir"),
        )


def _check_document_types(fields: Object) -> None:
    """Refuses wrong types in the fields that manifests and image indexes share and that we do not use."""
    fields.string("mediaType")
    fields.string("artifactType")
    fields.object("subject")
    fields.mapping("annotations", as_string, "")


def _refuse_two_readings(fields: Object, called: str, own: tuple[str, ...], foreign: tuple[str, ...]) -> None:
    """Refuses a document that others may take for one of another kind (CVE-2021-41190; containerd
    `validateMediaType`): one with fields of that kind, empty or not, or with its media type."""
    names = {godecode.fold(name) for name, _ in fields}
    if found := [name for name in foreign if godecode.fold(name) in names]:
        raise ValueError(f"it is listed as {called} and has {' and '.join(found)}, so it can be read in two ways")
    said = fields.string("mediaType")
    if said and said not in own:
        raise ValueError(f"it is listed as {called}, its own mediaType is {said}")


def _check_types(top: Object, run: Object) -> None:
    """Refuses wrong types in the fields of ocispec.Image that we do not use (Go would refuse the document)."""
    top.string("author")
    top.string("os.version")
    top.strings("os.features")
    run.mapping("ExposedPorts", as_object, Object())
    run.mapping("Volumes", as_object, Object())
    run.mapping("Labels", as_string, "")
    run.string("StopSignal")
    run.boolean("ArgsEscaped")
    top.array("history", _check_history_types, None)


def _check_history_types(value: Any, key: str) -> None:
    entry = as_object(value, key)
    entry.get("created", _time, 0, null_clears=True)
    for text in ("created_by", "author", "comment"):
        entry.string(text)
    entry.boolean("empty_layer")


def _read_features(value: Any, key: str) -> tuple[str, ...]:
    return as_object(value, key).strings("os.features")


def _read_platform(value: Any, key: str) -> Platform | None:
    fields = as_object(value, key)
    fields.string("os.version")
    return Platform.of(fields.string("os"), fields.string("architecture"), fields.string("variant"))


def _time(value: Any, key: str) -> int:
    """The time that `value` is, in RFC 3339 as Go reads it, as nanoseconds since 1970.

    So one digit is an hour, a comma a point and any four digits a zone (Go up to 1.19; later ones stop at 24:60), but
    t and z, a 24th hour and leap seconds are refused.

    Raises ValueError.
    """
    text = as_string(value, key)
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        *calendar, fraction, sign, off_hour, off_minute = match.groups()
        year, month, day, hour, minute, second = map(int, calendar)
        shift = 0 if year else 400  # Python's calendar has no year 0; all repeats after 400
        moment = datetime(year + shift, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{key}: {text!r} is not a time (RFC 3339)") from None
    since_1970 = moment - datetime(1970 + shift, 1, 1, tzinfo=UTC)
    east = (int(off_hour or 0) * 60 + int(off_minute or 0)) * (-60 if sign == "-" else 60)
    seconds = since_1970.days * 86_400 + since_1970.seconds - east
    return seconds * 10**9 + int((fraction or "0")[:9].ljust(9, "0"))


def is_layer_type(media_type: str) -> bool:
    """Whether the media type is a layer's at all, usable or not (containerd `images.IsLayerType`)."""
    return media_type.startswith(_OCI_LAYER_PREFIX) or media_type.partition("+")[0] in _DOCKER_LAYERS


def layer_problem(media_type: str) -> str | None:
    """Why a layer of this media type cannot be used; None where it can. That it is nondistributable says who may pass
    it on, and not that it is absent."""
    if not is_layer_type(media_type):
        return f"has a media type that is not a layer's ({media_type or 'none'})"
    if "+encrypted" in media_type:
        return f"is encrypted ({media_type}), which is not supported; decrypt the image first"
    return None


def bound_time(time_ns: int) -> int:
    """containerd's `boundTime`: what lies before 1970 or beyond 63 bits of nanoseconds is 0."""
    return time_ns if 0 <= time_ns <= _LATEST_NS else 0
