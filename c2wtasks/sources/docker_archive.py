"""`docker-archive:`, what `docker save` writes, as a tar or unpacked (container2wasm create-spec `unpackDocker`).

Older ones hold `<id>/layer.tar`, some as links to others; newer ones hold `blobs/sha256/<digest>`, as image
layouts do. Either way `manifest.json` lists the images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from c2wtasks.errors import SourceError, some_of
from c2wtasks.oci import godecode
from c2wtasks.oci.choice import Choice
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.godecode import Object, as_object
from c2wtasks.oci.image import ImageConfig
from c2wtasks.oci.imagename import full_name
from c2wtasks.oci.platform import Platform
from c2wtasks.sources import reading
from c2wtasks.sources.fitting import (
    Candidate,
    Misses,
    NotFound,
    Unreadable,
    check_layer_count,
    image_platform,
    taken_for,
    the_one,
)
from c2wtasks.sources.model import BlobPlace, Image, Layer
from c2wtasks.sources.opening import open_files
from c2wtasks.sources.reading import MAX_CONFIG, MAX_INDEX_FILE, Files
from c2wtasks.sources.tarmembers import MAX_NAME

_SUSPECT = 1 << 20  # bytes; what lies in a file's place by mistake is small
_BLOB = re.compile(r"(?:\./)?blobs/sha256/([0-9a-f]{64})")
_CONFIG = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?")


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """An image in manifest.json: the names of its files, and its tags."""

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


def parse_entries(content: bytes) -> tuple[ManifestEntry, ...]:
    """The entries of a manifest.json. Raises ValueError."""
    value = godecode.loads(content)
    objects = () if value is None else godecode.list_of(as_object, Object())(value, "the document")
    entries = tuple(
        ManifestEntry(one.string("Config"), one.strings("RepoTags"), one.strings("Layers")) for one in objects
    )
    for at, entry in enumerate(entries):
        if not entry.config:
            raise ValueError(f"[{at}].Config: names no file")
        longest = max(map(len, (entry.config, *entry.layers)))
        if longest > MAX_NAME:  # to look for it would take time that grows with the square of it
            raise ValueError(f"[{at}]: names a file by {longest} characters ({MAX_NAME} at most)")
    return entries


@dataclass(frozen=True, slots=True)
class _Config:
    """An image config: its text, and what that says."""

    content: bytes
    parsed: ImageConfig


@dataclass(slots=True)
class DockerArchive:
    """Resolves the images of one archive or folder."""

    files: Files
    entries: tuple[ManifestEntry, ...]
    manifest_file: str
    _configs: dict[str, tuple[_Config, str]] = field(default_factory=dict)

    @property
    def files_tell(self) -> bool:
        """What the links of a folder lead to is not among the files of an image."""
        return not self.files.is_folder

    def image(self, tag: str, platform: Platform) -> Image:
        """The image for `platform` that `tag` chooses; without a tag, the only one that fits.

        Raises SourceError.
        """
        used = {self.manifest_file: None}

        def read(name: str) -> _Config:
            config, file = self._read_config(name)
            used[file] = None
            return config

        entry, config, offered = self._one(self._chosen(tag, read), platform, read)
        check_layer_count(
            f"{self.files.path}: the image of config {entry.config!r}", len(entry.layers), config.parsed
        )
        return Image(
            manifest_digest=None,
            config_digest=Digest.of(config.content),
            config=config.content,
            parsed=taken_for(config.parsed, offered),
            layers=tuple(
                Layer(_digest_in(name), diff_id, self._place(name, f"layer {name!r}"))
                for name, diff_id in zip(entry.layers, config.parsed.diff_ids, strict=True)
            ),
            files=tuple(used),
        )

    def _one(
        self, entries: Sequence[ManifestEntry], platform: Platform, read: Callable[[str], _Config]
    ) -> tuple[ManifestEntry, _Config, Platform]:
        """The entry that is meant, and what it is for. Raises SourceError."""
        misses = Misses()
        candidates: list[Candidate[tuple[ManifestEntry, _Config]]] = []
        unreadable: list[Unreadable] = []
        # Where there is no choice, an image that names no architecture is taken for what is asked: so do `docker
        # load`, containerd's import and create-spec.
        default = platform if len({entry.config for entry in self.entries}) == 1 else None
        for entry in entries:
            try:
                config = read(entry.config)
            except SourceError as error:
                unreadable.append(Unreadable(entry.tags, 0, error))
                continue
            offered = image_platform(config.parsed) or default
            if offered is None or (rank := platform.rank(offered)) is None:
                misses.offered.append(offered)
                continue
            digest, created = Digest.of(config.content), config.parsed.created_ns
            candidates.append(Candidate(entry.tags, digest, offered, rank, created, (entry, config)))
        one = the_one(self.files.path, f"docker-archive:{self.files.path}", candidates, unreadable)
        if one is None:
            raise misses.error(self.files.path, platform)
        return *one.value, one.platform

    def _chosen(self, tag: str, read: Callable[[str], _Config]) -> Sequence[ManifestEntry]:
        """The entries that `tag` chooses; a digest is the config's, which docker calls the image's ID."""
        choice = Choice.parse(tag)
        if choice.position is not None:
            found = self.entries[choice.position : choice.position + 1]
        else:
            want = full_name(choice.name)
            found = tuple(one for one in self.entries if not choice.name or want in map(full_name, one.tags))
            if choice.digest:
                found = tuple(one for one in found if _is(one, choice.digest, read))
        if tag and not found:
            raise self._not_there(tag if tag.startswith("@") else full_name(tag))
        return found

    def _not_there(self, name: str) -> NotFound:
        path = self.files.path
        if tags := sorted({tag for entry in self.entries for tag in entry.tags}):
            hint = f"there are: {some_of(tags)}"
        elif len(self.entries) > 1:
            hint = f"there are {len(self.entries)} without a name: docker-archive:{path}:@0 is the first"
        else:
            hint = f"it has none; leave it out: docker-archive:{path}"
        return NotFound(f"{path} has no image {name!r}", hint=hint)

    def _place(self, name: str, what: str) -> BlobPlace:
        place = self.files.place(name)
        if place is None:
            hint = "the copy is incomplete; docker save it again"
            raise SourceError(f"{self.files.path}: {what} is not there", hint=hint)
        if place.size < _SUSPECT and (wrong := reading.mistaken(f"{self.files.path}: {what}", place)):
            raise wrong
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


def _is(entry: ManifestEntry, config: Digest, read: Callable[[str], _Config]) -> bool:
    """Whether the entry's config has that digest. One that cannot be read is not what was asked for."""
    try:
        return Digest.of(read(entry.config).content, config.algorithm) == config
    except SourceError:
        return False


def _digest_in(name: str) -> Digest | None:
    """The digest that a layer's file is named by in newer archives."""
    match = _BLOB.fullmatch(name)
    return None if match is None else Digest("sha256", match[1])


def open_source(path: str) -> DockerArchive:
    """The images of the archive or folder `path`. Raises SourceError."""
    files = open_files("docker-archive", path, contained=True)
    place = files.place("manifest.json")
    assert place is not None, "open_files sees to it"
    what = f"{path}: manifest.json"
    content = reading.read_place(place, what, MAX_INDEX_FILE)
    return DockerArchive(files, reading.parse(what, parse_entries, content), place.path)
