"""What the page shows of the files of bundles, spec.json and packages.json, each read once: what was found is kept by
their SHA-256, so that a run that changes one bundle reads the files of one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from c2wtasks.disk import files, safely
from c2wtasks.disk.sealed import seal, unseal
from c2wtasks.errors import OutputError, one_line
from c2wtasks.output import record
from c2wtasks.output.chronicle import Told
from c2wtasks.output.places import PACKAGES, PARTS, SPEC
from c2wtasks.output.record import Record
from c2wtasks.page import secrets
from c2wtasks.page.model import Config

KEPT = f"{PARTS}/.page"
"""In the output folder: what was found."""

_MAGIC = b"c2wpage\x01"
_MAX_KEPT = 256 << 20  # bytes
_MAX_TEXT = 4 << 20  # characters of all packages' texts
_MAX_PLACES = 1 << 20  # of packages in groups
_MOST = 200  # characters of a name or a version
_LONGEST = 1024  # bytes of a package that is looked for in other reports
_MANY = 400  # lines of a bundle's settings


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """The lists of `Contents`, and by the SHA-256 of a file what it says; `fed` as in `feeding.write`,
    `told` as in `Chronicle`."""

    packages: list[str]
    groups: list[tuple[int, ...]]
    mounts: list[tuple[str, ...]]
    reports: dict[str, tuple[int, ...]]
    specs: dict[str, Config]
    fed: dict[str, str]
    told: dict[str, Told]


class _Package(msgspec.Struct, frozen=True):
    type: str
    name: str
    version: str
    architecture: str = ""
    layer: int | None = None


class _Report(msgspec.Struct, frozen=True):
    """`packages` as they stand there: most are in many reports, and each is looked at once."""

    packages: tuple[msgspec.Raw, ...]


class _User(msgspec.Struct, frozen=True):
    uid: Any
    gid: Any


class _Process(msgspec.Struct, frozen=True):
    args: list[Any]
    env: list[Any]
    cwd: Any
    user: _User


class _Spec(msgspec.Struct, frozen=True):
    """`mounts` as they stand there: most bundles have the same."""

    process: _Process
    mounts: msgspec.Raw


_KEPT = msgspec.msgpack.Decoder(_Kept)
_REPORTS = msgspec.json.Decoder(_Report)
_PACKAGES = msgspec.json.Decoder(_Package)
_SPECS = msgspec.json.Decoder(_Spec)
_MOUNTS = msgspec.json.Decoder(list[dict[str, Any]])


class Extracts:
    """What is known of the files of the bundles in the folder `output`: those that are asked for, in that order."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._known = _read(output)
        self._packages: dict[str, int] = {}
        self._listed: dict[bytes, tuple[int, str]] = {}  # as reports have it -> the layer, -1 if none, the package
        self._groups: dict[tuple[str, ...], int] = {}
        self._numbered: list[tuple[int, ...]] = []  # groups, as in `Contents`
        self._mounts: dict[tuple[str, ...], int] = {}
        self._listed_mounts: dict[bytes, int] = {}  # as spec.json has them -> their number
        self._renumbered: dict[int, int] = {}  # groups, as they were known -> as they are
        self._reports: dict[str, tuple[int, ...]] = {}
        self._specs: dict[str, Config] = {}
        self._text = self._places = 0

    @property
    def fed(self) -> Mapping[str, str]:
        """What was kept of the feeds."""
        return self._known.fed

    @property
    def told(self) -> Mapping[str, Told]:
        """What was kept of what runs changed."""
        return self._known.told

    @property
    def packages(self) -> tuple[str, ...]:
        """As in `Contents`."""
        return tuple(self._packages)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """As in `Contents`."""
        return tuple(self._numbered)

    @property
    def mounts(self) -> tuple[tuple[str, ...], ...]:
        """As in `Contents`."""
        return tuple(self._mounts)

    def config(self, folder: str, made: Record) -> Config | None:
        """What spec.json in a bundle's folder, which has this record, says; None where it cannot be read."""
        digest = _digest(made, SPEC)
        found = self._specs.get(digest)
        if found is None and (old := self._known.specs.get(digest)) is not None:
            mounts = self._known.mounts[old.mounts] if 0 <= old.mounts < len(self._known.mounts) else ()
            found = msgspec.structs.replace(old, mounts=_number(self._mounts, mounts))
        if found is None and (text := self._content(folder, SPEC, digest)) is not None:
            found = self._config(text)
        if found is not None:
            self._specs[digest] = found
        return found

    def report(self, folder: str, made: Record) -> tuple[int, ...] | None:
        """The groups of packages in a bundle, one for each layer and one for what no layer is known to have brought;
        None where packages.json cannot be read, or there is no room for more."""
        digest = _digest(made, PACKAGES)
        found = self._reports.get(digest)
        if found is None and (old := self._known.reports.get(digest)) is not None:
            found = tuple(self._again(group) for group in old)
        if found is None and (text := self._content(folder, PACKAGES, digest)) is not None:
            found = self._report(text, len(made.layers))
        if found is not None:
            self._reports[digest] = found
        return found

    def count(self, report: Iterable[int]) -> int:
        """How many packages these groups have."""
        return sum(len(self._numbered[group]) for group in report)

    def keep(self, fed: dict[str, str], told: dict[str, Told]) -> None:
        """Keeps what was found for the next run, what is known of the feeds, and what runs changed; where that cannot
        be, it is found again then."""
        tables = list(self._packages), self._numbered, list(self._mounts)
        kept = _Kept(*tables, self._reports, self._specs, fed, told)
        if kept == self._known:
            return
        try:
            files.write(f"{self._output}/{KEPT}", seal(_MAGIC, kept))
        except OutputError:
            pass

    def _content(self, folder: str, name: str, digest: str) -> bytes | None:
        try:
            text = safely.read(f"{self._output}/{folder}/{name}", record.MAX_SIZE)
        except OSError:
            return None
        return text if hashlib.sha256(text).hexdigest() == digest else None

    def _config(self, text: bytes) -> Config | None:
        try:
            spec = _SPECS.decode(text)
            process = spec.process
            return Config(
                args=tuple(secrets.without(str(word)) for word in process.args[:_MANY]),
                env=tuple(secrets.variable(str(one)) for one in process.env[:_MANY]),
                cwd=secrets.without(str(process.cwd)),
                user=f"{process.user.uid}:{process.user.gid}",
                mounts=self._mounted(bytes(spec.mounts)),
            )
        except (ValueError, RecursionError, TypeError):
            return None

    def _mounted(self, text: bytes) -> int:
        """The number of a spec's mounts. Raises ValueError, RecursionError, TypeError."""
        number = self._listed_mounts.get(text)
        if number is None:
            number = _number(self._mounts, tuple(_mount(mount) for mount in _MOUNTS.decode(text)[:_MANY]))
            if len(text) <= _LONGEST:
                self._listed_mounts[text] = number
        return number

    def _report(self, text: bytes, layers: int) -> tuple[int, ...] | None:
        if self._text > _MAX_TEXT or self._places > _MAX_PLACES:
            return None
        groups: list[list[str]] = [[] for _ in range(layers + 1)]
        try:
            for one in map(bytes, _REPORTS.decode(text).packages):
                layer, package = self._listed.get(one) or self._list(one)
                groups[layer if 0 <= layer < layers else layers].append(package)
        except (ValueError, RecursionError):
            return None
        return tuple(map(self._group, groups))

    def _list(self, text: bytes) -> tuple[int, str]:
        """The layer and the line of a package. Raises ValueError, RecursionError."""
        found = _PACKAGES.decode(text)
        listed = -1 if found.layer is None else found.layer, _line(found)
        if len(text) <= _LONGEST:
            self._listed[text] = listed
        return listed

    def _again(self, old: int) -> int:
        """The number of a group that was known under another one."""
        if old not in self._renumbered:
            known = self._known
            self._renumbered[old] = self._group([known.packages[package] for package in known.groups[old]])
        return self._renumbered[old]

    def _group(self, lines: Sequence[str]) -> int:
        group = tuple(lines)
        number = self._groups.setdefault(group, len(self._groups))
        if number == len(self._numbered):
            before = len(self._packages)
            self._numbered.append(tuple(_number(self._packages, line) for line in group))
            self._places += len(group)
            if len(self._packages) > before:
                self._text += sum(map(len, group))
        return number


def _read(output: str) -> _Kept:
    try:
        return unseal(_MAGIC, safely.read(f"{output}/{KEPT}", _MAX_KEPT), _KEPT)
    except (OSError, ValueError):
        return _Kept([], [], [], {}, {}, {}, {})


def _number(table: dict[Any, int], value: Any) -> int:
    return table.setdefault(value, len(table))


def _line(package: _Package) -> str:
    words = (package.type, package.name, package.version, package.architecture)
    line = " ".join(words)
    if len(line) <= _MOST and line.isprintable() and line.count(" ") == len(words) - 1:
        return line.strip()
    return " ".join(one_line(word, _MOST).replace(" ", "_") for word in words).strip()


def _digest(made: Record, name: str) -> str:
    output = made.outputs.get(name)
    return output.sha256 if output is not None else ""


def _mount(mount: Mapping[str, Any]) -> str:
    options = ",".join(map(str, mount.get("options") or ()))
    words = [str(mount.get("destination", "")), str(mount.get("type", "")), options]
    return secrets.without(" ".join(filter(None, words)))
