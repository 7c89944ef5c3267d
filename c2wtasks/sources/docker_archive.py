"""`docker-archive:`, what `docker save` writes, as a tar or unpacked (container2wasm create-spec `unpackDocker`).

Older ones hold `<id>/layer.tar`, some as links to others; newer ones hold `blobs/sha256/<digest>`, as image
layouts do. Either way `manifest.json` lists the images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from c2wtasks.errors import SourceError
from c2wtasks.oci import godecode
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.godecode import Object, as_object
from c2wtasks.oci.image import ImageConfig
from c2wtasks.oci.platform import Platform
from c2wtasks.sources import reading
from c2wtasks.sources.fitting import Misses, ask_for_one, check_layer_count, image_platform, some_of
from c2wtasks.sources.model import BlobPlace, Image, Layer
from c2wtasks.sources.opening import open_files
from c2wtasks.sources.reading import MAX_CONFIG, MAX_INDEX_FILE, Files

_BLOB = re.compile(r"(?:\./)?blobs/sha256/([0-9a-f]{64})")
_CONFIG = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """An image in manifest.json: the names of its files, and its tags."""

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


def parse_entries(content: bytes) -> tuple[Entry, ...]:
    """The entries of a manifest.json. Raises ValueError."""
    value = godecode.loads(content)
    objects = () if value is None else godecode.list_of(as_object, Object())(value, "the document")
    entries = tuple(Entry(one.string("Config"), one.strings("RepoTags"), one.strings("Layers")) for one in objects)
    for at, entry in enumerate(entries):
        if not entry.config:
            raise ValueError(f"[{at}].Config: names no file")
    return entries


def full_name(tag: str) -> str:
    """The one form of an image's name among those docker takes: `docker.io/library/web` is `web:latest`."""
    name = tag
    for prefix in ("index.docker.io/", "docker.io/"):
        name = name.removeprefix(prefix)
    name = name.removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


@dataclass(frozen=True, slots=True)
class _Config:
    content: bytes
    parsed: ImageConfig


@dataclass(slots=True)
class DockerArchive:
    """Resolves the images of one archive or folder."""

    files: Files
    entries: tuple[Entry, ...]
    manifest_file: str
    _configs: dict[str, tuple[_Config, str]] = field(default_factory=dict)

    def image(self, tag: str, platform: Platform) -> Image:
        """The image `tag` for `platform`; without a tag, the first that fits, if only one name does.

        Raises SourceError.
        """
        used = {self.manifest_file: None}

        def read(name: str) -> _Config:
            config, file = self._read_config(name)
            used[file] = None
            return config

        entry, config = self._first(self._tagged(tag) if tag else self.entries, platform, read)
        if not tag:
            self._refuse_ambiguous(platform, read)
        check_layer_count(
            f"{self.files.path}: the image of config {entry.config!r}", len(entry.layers), config.parsed
        )
        return Image(
            manifest_digest=None,
            config_digest=Digest.of(config.content),
            config=config.content,
            parsed=config.parsed,
            layers=tuple(
                Layer(_digest_in(name), diff_id, self._place(name, f"layer {name!r}"))
                for name, diff_id in zip(entry.layers, config.parsed.diff_ids, strict=True)
            ),
            files=tuple(used),
        )

    def _first(
        self, entries: Sequence[Entry], platform: Platform, read: Callable[[str], _Config]
    ) -> tuple[Entry, _Config]:
        """The first entry that fits. Raises SourceError."""
        misses = Misses()
        for entry in entries:
            config = read(entry.config)
            offered = image_platform(config.parsed)
            if offered is not None and platform.rank(offered) is not None:
                return entry, config
            misses.offered.append(offered)
        raise misses.error(self.files.path, platform)

    def _tagged(self, tag: str) -> list[Entry]:
        want = full_name(tag)
        found = [entry for entry in self.entries if want in map(full_name, entry.tags)]
        if not found:
            path = self.files.path
            tags = sorted({name for entry in self.entries for name in entry.tags})
            hint = f"there are: {some_of(tags)}" if tags else f"it has none; leave it out: docker-archive:{path}"
            raise SourceError(f"{path} has no image {want!r}", hint=hint)
        return found

    def _refuse_ambiguous(self, platform: Platform, read: Callable[[str], _Config]) -> None:
        """Raises SourceError where images of different tags fit; the tags of one entry name one image."""
        groups: dict[tuple[str, ...], list[Entry]] = {}
        for entry in self.entries:
            groups.setdefault(entry.tags, []).append(entry)
        groups.pop((), None)
        fitting = []
        for group in groups.values() if len(groups) > 1 else ():
            try:
                self._first(group, platform, read)
            except SourceError:
                continue  # what cannot be read is not in the way of the image that can
            fitting.append(group[0].tags)
        if len(fitting) > 1:
            path = self.files.path
            tags = sorted({tag for names in fitting for tag in names})
            raise ask_for_one(path, tags, f"docker-archive:{path}:{tags[0]}")

    def _place(self, name: str, what: str) -> BlobPlace:
        place = self.files.place(name)
        if place is None:
            hint = "the copy is incomplete; docker save it again"
            raise SourceError(f"{self.files.path}: {what} is not there", hint=hint)
        return place

    def _read_config(self, name: str) -> tuple[_Config, str]:
        """The config and the file it lies in; a name that is a digest is checked. Raises SourceError."""
        known = self._configs.get(name)
        if known is None:
            what = f"config {name!r}"
            where = f"{self.files.path}: {what}"
            place = self._place(name, what)
            content = reading.read_place(place, where, MAX_CONFIG)
            want = _CONFIG.fullmatch(name)
            have = Digest.of(content)
            if want is not None and want[1] != have.hex:
                hint = "the file is damaged; docker save it again"
                raise SourceError(f"{where} has another digest: its content is {have.short}", hint=hint)
            known = _Config(content, reading.parse(where, ImageConfig.parse, content)), place.path
            self._configs[name] = known
        return known


def _digest_in(name: str) -> Digest | None:
    """The digest that a layer's file is named by, in the newer form."""
    match = _BLOB.fullmatch(name)
    return None if match is None else Digest("sha256", match[1])


def open_docker(path: str) -> DockerArchive:
    """`docker-archive:`. Raises SourceError."""
    files = open_files("docker-archive", path)
    place = files.place("manifest.json")
    assert place is not None, "open_files sees to it"
    what = f"{path}: manifest.json"
    content = reading.read_place(place, what, MAX_INDEX_FILE)
    return DockerArchive(files, reading.parse(what, parse_entries, content), place.path)
