"""What runs have done, in `<output>/.history/`: a file for each run that changed, tried or left out a bundle, and a
line in `null` for each that found all current. docs/records.md has what is in them.

Who calls these keeps other runs away meanwhile.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from heapq import merge
from typing import Literal

import msgspec

from c2wtasks.disk import files, safely
from c2wtasks.engine import settled
from c2wtasks.errors import OutputError
from c2wtasks.output.places import HISTORY

VERSION = 1
"""Of what is in a file: raised when a reader has to know of a change."""

State = Literal["built", "failed", "left out"]

_NULL = "null"
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{3}Z(?:-\d+)?)\.json(?:\.gz)?")
_GZIP = 31  # of zlib, the form of a gzip file
_SETTLED = re.compile(rb"(\d{1,19})(?: (\d{1,9}) (\S+))?")
"""A line of `settled.RUNS`."""
_MAX_SIZE = 64 << 20  # bytes


class BundleRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run did with one bundle (`name@platform`), if that was not current. `seconds` are from the first to the
    last step for it, `bytes` what it holds, `saved` how many bytes of disk that did not take, as other roots had the
    files already (`share`); `before` and `after` the SHA-256 of its bundle.json, "" where there was
    none; one that was not built has what stands in `before` alone."""

    bundle: str
    state: State
    seconds: float = 0.0
    bytes: int | None = None
    before: str = ""
    after: str = ""
    error: str = ""
    saved: int = 0


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run. `began` is in UTC (RFC 3339), `status` its exit status, `asked` the words of its command line, none
    where it was for all; `current` are the bundles that it had nothing to do for."""

    version: int
    began: str
    seconds: float
    status: int
    program: str
    user: str
    host: str
    asked: tuple[str, ...] = ()
    bundles: tuple[BundleRun, ...] = ()
    current: tuple[str, ...] = ()


class NullRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run that found all `bundles`, so many, current."""

    began: str
    seconds: float
    bundles: int
    asked: tuple[str, ...] = ()


_RUNS = msgspec.json.Decoder(Run)
_NULL_RUNS = msgspec.json.Decoder(NullRun)


def stamp(seconds: float) -> str:
    """A time since the epoch as records have it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def note(output: str, run: Run, keep: int) -> str:
    """Writes the record of a run, and removes the oldest of more than `keep`. Gives its name, without the ending.

    Raises OSError, OutputError.
    """
    folder = f"{output}/{HISTORY}"
    names = _names(folder)
    stem = began = re.sub("[-:]", "", run.began)
    number = 0
    while stem in names:  # the clock was set back
        number += 1
        stem = f"{began}-{number}"
    names[stem] = f"{stem}.json.gz"
    # 1,000 bundles that are all made anew each night take 40 MB in 400 nights; without compression 100.
    content = zlib.compress(msgspec.json.encode(run) + b"\n", wbits=_GZIP)
    files.write(f"{folder}/{names[stem]}", content, sync=True)
    for old in sorted(names.values())[:-keep]:
        files.remove_tree(f"{folder}/{old}")
    return stem


def note_null(output: str, run: NullRun, keep: int) -> None:
    """Adds a line for a run that had nothing to do, and for those before it that a seal told so; drops the oldest of
    more than `keep`.

    Raises OutputError.
    """
    path = f"{output}/{HISTORY}/{_NULL}"
    lines = [*_null_lines(path), msgspec.json.encode(run)]
    files.write(path, b"".join(line + b"\n" for line in lines[-keep:]))
    files.remove_tree(settled.RUNS)


def runs(output: str) -> Iterator[Run | NullRun]:
    """All runs that are remembered, the last one first. What cannot be read is passed over.

    Raises OutputError.
    """
    folder = f"{output}/{HISTORY}"
    return merge(_runs(folder), _null_runs(folder), key=lambda run: run.began, reverse=True)


def _runs(folder: str) -> Iterator[Run]:
    for name in sorted(_names(folder).values(), reverse=True):
        try:
            run = _RUNS.decode(_content(f"{folder}/{name}"))
            _check_time(run.began)
        except (OSError, ValueError, RecursionError, zlib.error):
            continue
        yield run


def _check_time(began: str) -> None:
    """Raises ValueError unless that is a time that a clock anywhere can tell."""
    if not datetime.min.year < datetime.fromisoformat(began).year < datetime.max.year:
        raise ValueError(began)


def _content(path: str) -> bytes:
    """What is in the file of a run, compressed or, as older versions have written it, not.

    Raises OSError, zlib.error; ValueError: it is too large.
    """
    content = safely.read(path, _MAX_SIZE)
    if not path.endswith(".gz"):
        return content
    unpacking = zlib.decompressobj(_GZIP)
    content = unpacking.decompress(content, _MAX_SIZE)
    if not unpacking.eof:
        raise ValueError(path)
    return content


def _null_runs(folder: str) -> Sequence[NullRun]:
    found = map(_null_run, _null_lines(f"{folder}/{_NULL}"))
    return sorted(filter(None, found), key=lambda run: run.began, reverse=True)


def _null_run(line: bytes) -> NullRun | None:
    try:
        run = _NULL_RUNS.decode(line)
        _check_time(run.began)
    except (ValueError, RecursionError):
        return None
    return run


def _null_lines(path: str) -> list[bytes]:
    """Those of the file `path`, and one for each run that only a seal was needed for since."""
    lines = _lines(path, _MAX_SIZE)
    bundles = next((run.bundles for run in map(_null_run, reversed(lines)) if run and not run.asked), 0)
    more = filter(None, map(_SETTLED.fullmatch, _lines(settled.RUNS, 2 * settled.MAX_RUNS)))
    return lines + [msgspec.json.encode(_settled_run(run, bundles)) for run in more]


def _settled_run(line: re.Match[bytes], bundles: int) -> NullRun:
    """A run that a seal was enough for: of all `bundles`, or of so many of a name."""
    began, count, name = line.groups()
    asked = (name.decode(errors="replace"),) if name else ()
    return NullRun(stamp(int(began) / 1e9), 0.0, int(count) if name else bundles, asked)


def _lines(path: str, limit: int) -> list[bytes]:
    try:
        return safely.read(path, limit).splitlines()
    except OSError:
        return []


def _names(folder: str) -> dict[str, str]:
    """The files of runs, by their names without the endings. Raises OutputError."""
    try:
        found = map(_NAME.fullmatch, files.names(folder))
        return {name[1]: name[0] for name in found if name}
    except OSError as error:
        raise OutputError(f"{folder}: cannot be read: {error.strerror}") from error
