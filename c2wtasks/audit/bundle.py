"""A published bundle held against its own record, and the record against all that is known of it."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from io import FileIO
from typing import Any, TypeVar

import msgspec

from c2wtasks.audit.finding import Findings, missing, reason, shown
from c2wtasks.audit.node import Contents
from c2wtasks.audit.reading import open_whole
from c2wtasks.audit.root import inspect
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.disk import files, fingerprint, safely
from c2wtasks.disk.safely import open_quietly
from c2wtasks.oci.digest import Digest
from c2wtasks.output import outputs, record
from c2wtasks.output.outputs import Output
from c2wtasks.output.places import COPIES, IMAGE, INITCONFIG, RECORD, SPEC, SUMS, Places
from c2wtasks.output.record import Record, RootfsFacts
from c2wtasks.output.staged import folders_of
from c2wtasks.output.times import noted
from c2wtasks.process.rights import SET_IDS, LeftOut, mode_and_owner, xattr_name
from c2wtasks.tree import model, treefile
from c2wtasks.tree.treefile import TreeFile

T = TypeVar("T")

_MODE = 0o644
_FOLDER_MODE = 0o755
_TRIES = 3
_SMALL = frozenset((IMAGE, SPEC, INITCONFIG, *(name for copies in COPIES.values() for name in copies)))

TarOf = Callable[[Digest], str | None]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a bundle besides what lies in its folder.

    `record` gives what bundle.json should be, as far as the sources tell, where it is the given one; `fingerprint`
    is that of the bundle.json last written, if that is remembered: then a record of other inputs is not wrong, but
    due to be replaced. `mtime_ns` is that of the folders beside the root, for an image with the config
    `config_digest`.
    """

    record: Callable[[Record], Record] | None = None
    fingerprint: str | None = None
    config_digest: str = ""
    mtime_ns: int = 0


def check_bundle(bundle: Bundle, places: Places, known: Known, tars: TarOf, contents: Contents) -> Findings:
    """What is found of a bundle's published folder. `tars` gives the path of a layer's tar, None where it is damaged
    or cannot be had; `contents` is for all bundles of an audit.

    A bundle that is replaced meanwhile is looked at once more.
    """
    for _ in range(_TRIES):
        before = _inode(places.published)
        found = _Audit(bundle, places, known, tars, contents).run()
        if not found.findings or _inode(places.published) == before:
            break
    return found


def _inode(path: str) -> int | None:
    try:
        return safely.lstat(path).st_ino
    except OSError:
        return None


class _Audit:
    """One look at a published folder; what is found is in `result`."""

    def __init__(self, bundle: Bundle, places: Places, known: Known, tars: TarOf, contents: Contents) -> None:
        self.bundle = bundle
        self.places = places
        self.known = known
        self.tars = tars
        self.contents = contents
        self.result = Findings()

    def find(self, path: str, what: str, want: str, have: str) -> None:
        self.result.find(path, what, want, have)

    def run(self) -> Findings:
        folder = self.places.published
        try:
            found = safely.lstat(folder)
        except FileNotFoundError:
            self.result.findings.append(missing(folder, "folder"))
            return self.result
        except OSError as error:
            self.find(folder, "kind", "directory", reason(error))
            return self.result
        if not stat.S_ISDIR(found.st_mode):
            self.find(folder, "kind", "directory", "another kind of file")
            return self.result
        text = self.content(RECORD)
        have = self.record(text) if text is not None else None
        if have is None or text is None:
            return self.result
        mtime_ns = self.known.mtime_ns if have.config_digest == self.known.config_digest else found.st_mtime_ns
        self.metadata(folder, found, _FOLDER_MODE, (found.st_uid, found.st_gid), mtime_ns)
        beside = {RECORD, SUMS, *have.outputs}
        times = noted(self.places.times)
        wanted = beside | ({have.folder} if have.rootfs is not None else set())
        for name in _extra(folder, wanted):
            self.find(self.places.output(name), "entry", "none", "an extra one")
        for name in sorted(beside):
            self.beside(name, stat.S_ISREG, _MODE, found, times.get(name))
        for name in folders_of(wanted):
            self.beside(name, stat.S_ISDIR, _FOLDER_MODE, found, mtime_ns)
        self.outputs(have)
        self.sums({**have.outputs, RECORD: outputs.of_bytes(text)})
        if have.rootfs is not None:
            self.root(have, have.rootfs, found)
        return self.result

    def hashed(self, name: str, want: Output) -> Output | None:
        """Size and hashes of a file. Files of forms are read whole, if they are as long as is recorded."""
        if name not in _SMALL:
            return self.taken(name, outputs.of_stream, {want.size})
        text = self.content(name)
        return None if text is None else outputs.of_bytes(text)

    def content(self, name: str) -> bytes | None:
        return self.taken(name, lambda stream: _whole(stream, record.MAX_SIZE))

    def taken(self, name: str, take: Callable[[FileIO], T], sizes: Collection[int] = ()) -> T | None:
        """What `take` gives of a file, of one of the `sizes` (bytes) if any are known; None, and a finding, where it
        cannot be read or has another."""
        path = self.places.output(name)
        try:
            with open_whole(path, sizes) as stream:
                return take(stream)
        except FileNotFoundError:
            self.result.findings.append(missing(path, "file"))
        except OSError as error:
            self.find(path, "content", "a regular file", reason(error))
        return None

    def record(self, text: bytes) -> Record | None:
        """What bundle.json says, after holding it against what it should say."""
        path = self.places.record
        have = record.decode(text)
        if have is None:
            self.find(path, "content", f"a record of version {record.OUTPUT_VERSION}", "something else")
            return None
        if self.known.fingerprint is not None:
            if (found := fingerprint.of_bytes(text)) != self.known.fingerprint:
                self.find(path, "content", self.known.fingerprint, found)
        elif text != record.encode(have):
            self.find(path, "content", "the text of what it says", "another text")
        place = (self.bundle.name, str(self.bundle.platform))
        if (have.name, have.platform) != place:
            self.find(path, "bundle", "@".join(place), shown(f"{have.name}@{have.platform}"))
        if self.known.fingerprint is None and self.known.record is not None:
            want = msgspec.to_builtins(self.known.record(have))
            for key, wanted, is_now in _different(want, msgspec.to_builtins(have)):
                self.find(path, key, wanted, is_now)
        if wrong := _misstated(have):
            self.find(path, *wrong)
            return None
        return have

    def metadata(
        self, path: str, found: os.stat_result, mode: int, owner: tuple[int, int], mtime_ns: int | None
    ) -> None:
        """Compares the metadata of a folder or file that is no part of the root; its mtime, where that is known."""
        if (have := stat.S_IMODE(found.st_mode)) != mode:
            self.find(path, "mode", f"{mode:04o}", f"{have:04o}")
        if (found.st_uid, found.st_gid) != owner:
            self.find(path, "owner", "{}:{}".format(*owner), f"{found.st_uid}:{found.st_gid}")
        if mtime_ns is not None and found.st_mtime_ns != mtime_ns:
            self.find(path, "mtime", str(mtime_ns), str(found.st_mtime_ns))

    def beside(
        self, name: str, is_kind: Callable[[int], bool], mode: int, folder: os.stat_result, mtime_ns: int | None
    ) -> None:
        """Compares the metadata of a file or folder beside the root. That it is not there, or of another kind, is
        said where its content is looked at."""
        path = self.places.output(name)
        try:
            found = safely.lstat(path)
        except OSError:
            return
        if is_kind(found.st_mode):
            self.metadata(path, found, mode, (folder.st_uid, folder.st_gid), mtime_ns)

    def outputs(self, have: Record) -> None:
        for name, want in sorted(have.outputs.items()):
            found = self.hashed(name, want)
            if found is None:
                continue
            if found != want:
                for key, wanted, is_now in _different(msgspec.to_builtins(want), msgspec.to_builtins(found)):
                    if key != "xxh3" or found.sha256 == want.sha256:
                        self.find(self.places.output(name), "content" if key == "sha256" else key, wanted, is_now)
            elif name == IMAGE and (text := self.content(name)) is not None:
                config = Digest.parse(have.config_digest)
                verbatim = Digest.of(text, config.algorithm) == config
                if verbatim != have.image_config_verbatim:
                    self.find(self.places.record, "imageConfigVerbatim", str(verbatim), str(not verbatim))

    def sums(self, have: dict[str, Output]) -> None:
        text, want = self.content(SUMS), outputs.sums(have)
        if text is not None and text != want:
            self.find(self.places.output(SUMS), "content", fingerprint.of_bytes(want), fingerprint.of_bytes(text))

    def root(self, have: Record, facts: RootfsFacts, folder: os.stat_result) -> None:
        tree = self.tree(facts)
        if tree is None:
            return
        for key, want, is_now in _different(
            msgspec.to_builtins(_facts(tree, facts)) | {"layers": tree.layers},
            msgspec.to_builtins(facts) | {"layers": [layer.diff_id for layer in have.layers]},
        ):
            self.find(self.places.record, key if key.startswith("layers") else f"rootfs.{key}", want, is_now)
        path = self.places.output(have.folder)
        inspected = inspect(
            tree,
            [self.tars(diff_id) for diff_id in tree.diff_ids()],
            path,
            facts.left_out,
            builder=folder.st_uid,
            scratch=self.places.part(".sample"),
            known=self.contents,
        )
        self.result.findings += inspected.findings
        self.result.unread += inspected.unread
        self.result.linked |= inspected.linked

    def tree(self, facts: RootfsFacts) -> TreeFile | None:
        """The tree that the root was written from, if it is still at hand. (The last one made may be for a root that
        has not been published yet, and perhaps cannot be.)"""
        path = self.places.tree
        try:
            text, found = _fingerprinted(path)
            if found != facts.tree and safely.exists(self.places.standing_tree):
                text, found = _fingerprinted(self.places.standing_tree)
        except FileNotFoundError:
            self.result.findings.append(missing(path, "recorded tree"))
            return None
        except OSError as error:
            self.find(path, "recorded tree", shown(facts.tree), reason(error))
            return None
        if found != facts.tree:
            self.find(path, "recorded tree", shown(facts.tree), found)
            return None
        try:
            return treefile.decode(text)
        except ValueError as error:
            self.find(path, "recorded tree", "one of this version", shown(str(error)))
            return None


def _misstated(have: Record) -> tuple[str, str, str] | None:
    """What no bundle can have, and so cannot be compared: the key, what it should be, and what it is."""
    try:
        Digest.parse(have.config_digest)
    except ValueError:
        return "configDigest", "a digest", shown(have.config_digest)
    for name in have.outputs:
        if not name or name.startswith("/") or os.path.normpath(f"/{name}") != f"/{name}":
            return "outputs", "paths in the bundle", shown(name)
    return None


def _fingerprinted(path: str) -> tuple[bytes, str]:
    """The content of a file, and its fingerprint. Raises OSError."""
    with open_quietly(path) as stream:
        content = _whole(stream, treefile.MAX_SIZE)
    return content, fingerprint.of_bytes(content)


def _whole(stream: FileIO, limit: int) -> bytes:
    """All bytes of a file. Raises OSError where there are more than `limit`."""
    if os.fstat(stream.fileno()).st_size > limit:
        raise OSError(errno.EFBIG, f"longer than {limit} bytes")
    return stream.read(limit) or b""


def _extra(folder: str, wanted: set[str]) -> list[str]:
    """What lies in the folder beside the paths `wanted`, and the folders that these are in."""
    folders = set(folders_of(wanted))
    found = []
    todo = [""]
    while todo:
        prefix = todo.pop()
        for name in sorted(files.names(f"{folder}/{prefix}")):
            path = prefix + name
            if path in folders and safely.is_folder(f"{folder}/{path}"):
                todo.append(f"{path}/")
            elif path not in wanted:
                found.append(path)
    return found


def _facts(tree: TreeFile, have: RootfsFacts) -> RootfsFacts:
    """What the record should say of the root, if that lacks what the record says: no more of a kind than the tree
    has."""
    nodes = [tree.nodes[node.link] if node.link >= 0 else node for node in tree.nodes]
    owners = Counter(f"{node.uid}:{node.gid}" for node in nodes)
    set_ids = Counter(mode_and_owner(node.mode, node.uid, node.gid) for node in nodes if node.mode & SET_IDS)
    xattrs = Counter(xattr_name(name) for node in nodes for name, _ in node.xattrs)
    left_out = LeftOut(
        _at_most(have.left_out.owners, owners),
        _at_most(have.left_out.set_ids, set_ids),
        min(have.left_out.modes, len(nodes)),
        min(have.left_out.devices, sum(node.kind in (model.CHARACTER, model.BLOCK) for node in nodes)),
        _at_most(have.left_out.xattrs, xattrs),
        min(have.left_out.hard_links or 0, sum(node.link >= 0 for node in tree.nodes)) or msgspec.UNSET,
    )
    return RootfsFacts(have.tree, tree.size, tree.entry_count - left_out.devices, left_out, have.ids)


def _at_most(counts: dict[str, int], most: Counter[str]) -> dict[str, int]:
    return {key: min(count, most[key]) for key, count in counts.items() if most[key]}


def _different(want: Any, have: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """The keys (`layers[1].size`) whose values differ, with both."""
    if isinstance(want, dict) and isinstance(have, dict):
        for name in [*want, *(name for name in have if name not in want)]:
            yield from _different(want.get(name), have.get(name), f"{key}.{name}" if key else str(name))
    elif isinstance(want, list | tuple) and isinstance(have, list | tuple) and len(want) == len(have):
        for number, (one, other) in enumerate(zip(want, have, strict=True)):
            yield from _different(one, other, f"{key}[{number}]")
    elif want != have:
        yield key, _text(want), _text(have)


def _text(value: Any) -> str:
    return shown(msgspec.json.encode(value))
