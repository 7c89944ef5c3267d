"""`bundle.lock`: which images bundle.yaml meant when they were last looked up. Pure.

    version 1

    image web@linux/amd64
      source docker://registry.example/web:1
      manifest sha256:...
      config sha256:...
      layer sha256:... sha256:... 1234

One block a bundle, with an empty line before it and sorted, so that git merges changes of different images by
itself and a review shows what moved. A layer's line has the digest of its blob, its diffID and the blob's size in
bytes. What the source does not name is `-`: the manifest's digest, and those of some layers, of docker archives.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from c2wtasks.bundlefile.position import Position
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.wording import shown
from c2wtasks.errors import program
from c2wtasks.oci.digest import Digest

_HEAD = "# Which images bundle.yaml means. Written by `doit lock`; to be reviewed and committed."
_VERSION = "version 1"
_NONE = "-"
_MARKS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
_digest_of = lru_cache(1 << 16)(Digest.parse)  # images share layers
_ANEW = f"delete the file, and run: {program()} lock"
_ORDER = ("source", "manifest", "config", "layer")


@dataclass(frozen=True, slots=True)
class LockedLayer:
    """A layer of an image in the lock. `digest` is its blob's, None where the source names none; `size` is the bytes
    of the blob."""

    digest: Digest | None
    diff_id: Digest
    size: int


@dataclass(frozen=True, slots=True)
class LockEntry:
    """What a bundle (`name@platform`) was found to be; `line` is where the file says so."""

    bundle: str
    source: str
    manifest: Digest | None
    config: Digest
    layers: tuple[LockedLayer, ...]
    line: int = field(default=0, compare=False)


Entries = Mapping[str, LockEntry]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Where a lock does not fit bundle.yaml: bundles that it lacks, that have another source now, or are gone."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.gone)

    def only(self, bundles: Container[str]) -> Misfit:
        """What of it is of these bundles."""
        kept = ([one for one in part if one in bundles] for part in (self.missing, self.changed, self.gone))
        return Misfit(*map(tuple, kept))

    def lines(self) -> list[str]:
        """A line for each of these bundles."""
        return [
            *(f"{bundle}: is not in the lock" for bundle in self.missing),
            *(f"{bundle}: has another source now than in the lock" for bundle in self.changed),
            *(f"{bundle}: is in the lock, but no longer in bundle.yaml" for bundle in self.gone),
        ]


def compare(entries: Entries, wanted: Mapping[str, str]) -> Misfit:
    """Where the `entries` of a lock do not fit. `wanted` maps the bundles that should be locked to their sources, as
    written."""
    return Misfit(
        missing=tuple(sorted(wanted.keys() - entries.keys())),
        changed=tuple(sorted(key for key in wanted.keys() & entries.keys() if entries[key].source != wanted[key])),
        gone=tuple(sorted(entries.keys() - wanted.keys())),
    )


def moves(old: LockEntry, new: LockEntry) -> str:
    """What is another now: `manifest sha256:ab… -> sha256:cd…`. Empty where nothing is."""
    if old.manifest != new.manifest:
        return f"manifest {old.manifest or _NONE} -> {new.manifest or _NONE}"
    if old.config != new.config:
        return f"config {old.config} -> {new.config}"
    return "" if old.layers == new.layers else "other layers"


def render(entries: Iterable[LockEntry]) -> str:
    """The text of a lock file, the same for the same entries whatever their order."""
    lines = [_HEAD, _VERSION]
    for entry in sorted(entries, key=lambda entry: entry.bundle):
        lines += ["", f"image {entry.bundle}", f"  source {entry.source}", f"  manifest {entry.manifest or _NONE}"]
        lines.append(f"  config {entry.config}")
        lines += (f"  layer {layer.digest or _NONE} {layer.diff_id} {layer.size}" for layer in entry.layers)
    return "\n".join(lines) + "\n"


def parse(text: str, file: str) -> dict[str, LockEntry]:
    """The entries of a lock file, in its order; line ends may be those of Windows.

    Raises BundleFileError, with all mistakes: `bundle.lock:12:1: ...`.
    """
    report = Problems()
    reader = _Reader(report, file)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    for number, line in enumerate(lines, start=1):
        if line.startswith(_MARKS):
            at = Position(file, number, 1)
            report.add(
                at,
                "",
                "a merge was left unfinished here",
                f"keep one side, or both; then run: {program()} lock",
            )
            report.raise_if_any()
    for number, line in enumerate(lines, start=1):
        reader.line(number, line)
    reader.end()
    report.raise_if_any()
    return reader.entries


class _Reader:
    """Reads line by line; what does not fit is reported, and the reading goes on."""

    def __init__(self, report: Problems, file: str) -> None:
        self.entries: dict[str, LockEntry] = {}
        self._report = report
        self._file = file
        self._versioned = False
        self._bundle = ""
        self._at = 0
        self._fields: dict[str, str] = {}
        self._layers: list[LockedLayer] = []

    def line(self, number: int, line: str) -> None:
        if not line.strip() or line.startswith("#"):
            return
        if not self._versioned:
            self._versioned = True
            if line != _VERSION:
                self._wrong(
                    number,
                    f"expected '{_VERSION}', found {shown(line)}",
                    f"use the c2wtasks that wrote it, or {_ANEW}",
                )
        elif line.startswith("image "):
            self.end()
            self._bundle, self._at = line.removeprefix("image "), number
        else:
            self._field(number, line)

    def _field(self, number: int, line: str) -> None:
        key, space, value = line.strip().partition(" ")
        if key not in _ORDER or not space or not line.startswith("  "):
            self._wrong(number, f"expected 'image', or one of {', '.join(_ORDER)} indented, found {shown(line)}")
        elif not self._at:
            self._wrong(number, f"'{key}' before the first 'image'")
        elif key == "layer":
            self._layer(number, value)
        elif key in self._fields:
            self._wrong(number, f"'{key}' is given twice")
        else:
            self._fields[key] = value
            if key != "source":
                self._digest(number, value, may_be_none=key == "manifest")

    def _layer(self, number: int, value: str) -> None:
        words = value.split(" ")
        if len(words) != 3 or not (words[2].isascii() and words[2].isdigit() and len(words[2]) < 20):
            self._wrong(number, f"expected digest, diffID and size, found {shown(value)}")
            return
        digest = self._digest(number, words[0], may_be_none=True)
        diff_id = self._digest(number, words[1])
        if diff_id is not None:
            self._layers.append(LockedLayer(digest, diff_id, int(words[2])))

    def _digest(self, number: int, text: str, *, may_be_none: bool = False) -> Digest | None:
        if may_be_none and text == _NONE:
            return None
        try:
            return _digest_of(text)
        except ValueError as error:
            self._wrong(number, str(error))
            return None

    def end(self) -> None:
        """Takes the block that was read so far."""
        if not self._at:
            if not self._versioned:
                self._wrong(1, f"expected '{_VERSION}', found nothing", _ANEW)
            return
        missing = [key for key in _ORDER[:-1] if key not in self._fields]
        if missing:
            self._wrong(self._at, f"image {self._bundle}: {missing[0]} is missing")
        elif (first := self.entries.get(self._bundle)) is not None:
            self._wrong(self._at, f"image {self._bundle} is given twice", f"first at {self._file}:{first.line}")
        else:
            self._take()
        self._fields, self._layers = {}, []

    def _take(self) -> None:
        fields = self._fields
        try:
            manifest = None if fields["manifest"] == _NONE else _digest_of(fields["manifest"])
            config = _digest_of(fields["config"])
        except ValueError:  # that was reported where it stands
            return
        entry = LockEntry(self._bundle, fields["source"], manifest, config, tuple(self._layers), self._at)
        self.entries[self._bundle] = entry

    def _wrong(self, number: int, wrong: str, hint: str | None = None) -> None:
        remedy = f"mend it, or delete this image's lines, and run: {program()} lock" if self._at else _ANEW
        self._report.add(Position(self._file, number, 1), "", wrong, hint or remedy)
