"""Images remembered between runs, so that a run which finds nothing changed reads no manifest and no config.

A local image stands while every file it was read from has the stat it had (times, size, inode), and every blob of its
layers is there with its size; the image of a registry's manifest stands for good. Losing the memo costs nothing but
the time to read those files again.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from functools import cache

import msgspec

from c2wtasks.cachedir import lastuse, layout
from c2wtasks.disk import safely
from c2wtasks.disk.filestate import tick_ns
from c2wtasks.disk.sealed import seal, unseal
from c2wtasks.errors import OutputError
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.oci.transport import TRANSPORTS
from c2wtasks.sources.model import BlobPlace, Image
from c2wtasks.sources.transports import place_type

_MAGIC = b"c2wmemo\x04"
_MAX_SIZE = 1 << 28
_SEALED_NS = 7 * lastuse.DAY_NS  # much less than what makes others think that a catalog is gone
_BY_OTHERS = 0o022

FileState = tuple[int, int, int, int]


class _Memory(msgspec.Struct):
    """`catalog` is the identity of the catalog, `files` maps paths to their states, `images` keys to images."""

    catalog: str = ""
    files: dict[str, FileState] = {}
    images: dict[str, Image] = {}


class _Written(msgspec.Struct):
    """A `_Memory` as the file has it, with images that are not looked into yet."""

    catalog: str
    files: dict[str, FileState]
    images: dict[str, msgspec.Raw]


_DECODER = msgspec.msgpack.Decoder(_Written)


def _decoded(content: bytes) -> _Memory:
    """What a memo's file says. Raises ValueError."""
    written = unseal(_MAGIC, content, _DECODER)
    images = {
        key: _decoder(transport).decode(image)
        for key, image in written.images.items()
        if (transport := key.partition(":")[0]) in TRANSPORTS
    }
    return _Memory(written.catalog, written.files, images)


@cache
def _decoder(transport: str) -> msgspec.msgpack.Decoder[Image]:
    """The decoder of the images of a transport, whose layers all lie in places of one type."""
    place = place_type(transport)
    return msgspec.msgpack.Decoder(Image, dec_hook=lambda _kind, fields: msgspec.convert(fields, place))


@dataclass(slots=True)
class Memo:
    """The images of one catalog. `path` is the file that keeps them, in the folder `cache`; `unsaved` is why it could
    not be written, if it could not. With `afresh` nothing is recalled of what it says."""

    cache: str
    path: str
    afresh: bool = False
    unsaved: OutputError | None = None
    _before: _Memory = field(default_factory=_Memory)
    _now: _Memory = field(default_factory=_Memory)
    _states: dict[str, FileState | None] = field(default_factory=dict)
    _began: int = field(default_factory=time.time_ns)

    @classmethod
    def of(cls, cache: str, identity: str, owners: Container[int], *, afresh: bool = False) -> Memo:
        """The memo, in the folder `cache`, of the catalog of that `identity`.

        What is in it is proven by nothing, and is one catalog's own: it counts only if it is the file of one of
        `owners`, which nobody else can write, whoever may be believed otherwise.
        """
        path = f"{cache}/{layout.MEMO}/{identity}"
        try:
            content = safely.read(path, _MAX_SIZE, lambda found: _is_of(found, owners))
            before = _decoded(content)
        except (OSError, ValueError):
            before = _Memory()
        if before.catalog != identity:
            before = _Memory()
        return cls(cache, path, afresh, _before=before, _now=_Memory(identity))

    def recall(self, reference: Reference, path: str, platform: Platform) -> Image | None:
        """The image, if it was remembered and still stands."""
        key = _key(reference, path, platform)
        image = self._known(key)
        if image is None or not all(self._stands(file) for file in image.files):
            return None
        for layer in image.layers:
            place = layer.place
            assert isinstance(place, BlobPlace), place
            state = self._state(place.path)
            if state is None or state[2] < place.end:
                return None
        self._now.images[key] = image
        return image

    def remember(self, reference: Reference, path: str, platform: Platform, image: Image) -> None:
        """Keeps an image that was just resolved, unless one of its files may still be changing."""
        states = {file: self._settled(file) for file in image.files}
        if None not in states.values():
            self.remember_fixed(_key(reference, path, platform), image)

    def recall_fixed(self, key: str) -> Image | None:
        """An image that `key` names for good."""
        image = self._now.images.get(key) or self._known(key)
        if image is not None:
            self._now.images[key] = image
        return image

    def _known(self, key: str) -> Image | None:
        image = None if self.afresh else self._before.images.get(key)
        return image if image is not None and _is_whole(image) else None

    def wrong(self) -> dict[str, Image]:
        """The images that were resolved now, by key, of which the memo says something else though they stand."""
        return {
            key: now
            for key, before in self._before.images.items()
            if (now := self._now.images.get(key)) is not None
            and all(self._stands(file) for file in before.files)
            and _facts(before) != _facts(now)
        }

    def remember_fixed(self, key: str, image: Image) -> None:
        """Keeps an image that `key` names for good.

        Raises what `msgspec` does, where the image cannot be encoded: here it is one image's failure, in `save` it
        would be that of all.
        """
        msgspec.msgpack.encode(image)
        self._now.images[key] = image

    def save(self) -> None:
        """Writes what was recalled and remembered, if it is not what was there before."""
        if self._now.images.keys() == self._before.images.keys() and all(
            self._now.images[key] is image for key, image in self._before.images.items()
        ):
            return
        for image in self._now.images.values():
            for file in image.files:
                if (state := self._state(file)) is not None:
                    self._now.files[file] = state
        try:
            layout.write(self.cache, self.path, seal(_MAGIC, self._now))
        except OutputError as error:  # a cache that cannot be written fails where it matters
            self.unsaved = error

    def looked_at(self) -> Iterator[str]:
        """The files that were looked at to tell which images stand, and the memo's own."""
        yield from (self.path, *self._states)

    def seals_until(self) -> int:
        """Until when (ns since 1970) a run that finds nothing to do need not be one that notes its use."""
        return (lastuse.noted(self.path, time.time_ns()) or 0) + _SEALED_NS

    def note_use(self) -> OutputError | None:
        """Notes, once a day, that this catalog uses the cache: what others' `doit gc` goes by. Gives the error where
        that cannot be told, or the memo itself not be written."""
        try:
            lastuse.note(self.cache, self.path, every_ns=lastuse.DAY_NS)
        except OutputError as error:
            return error
        return self.unsaved

    def _stands(self, file: str) -> bool:
        return self._state(file) == self._before.files.get(file, ())

    def _state(self, file: str) -> FileState | None:
        """A regular file's state, looked at once; None where there is none."""
        if file not in self._states:
            try:
                found = os.stat(file)
            except OSError:
                self._states[file] = None
            else:
                state = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
                self._states[file] = state if stat.S_ISREG(found.st_mode) else None
        return self._states[file]

    def _settled(self, file: str) -> FileState | None:
        """The state of a file that had not changed for a tick of its clock when we began to read: so it is what was
        read, and no later change can hide behind it."""
        state = self._state(file)
        if state is None:
            return None
        return state if state[1] + tick_ns(state[1]) < self._began else None


def _is_of(found: os.stat_result, owners: Container[int]) -> bool:
    return found.st_uid in owners and not found.st_mode & _BY_OTHERS


def _is_whole(image: Image) -> bool:
    return Digest.of(image.config, image.config_digest.algorithm) == image.config_digest


def _facts(image: Image) -> object:
    """What of an image is the same however its registry is reached."""
    layers = [(layer.digest, layer.diff_id, layer.place.size, layer.place.where) for layer in image.layers]
    return image.manifest_digest, image.config_digest, image.config, image.parsed, layers


def _key(reference: Reference, path: str, platform: Platform) -> str:
    return f"{reference.transport}:{path}:{reference.tag} {platform}"
