"""A catalog in which all is current, seen at once: what a run looked at is as it was, so there is nothing to do.

A run that ends with everything current leaves a seal: each path that it looked at, with the state that the path had
before the run began, and the facts beside that which count. The next run compares these before anything else is
imported. Where the least is different, or cannot be told, the ordinary way decides. So this imports nothing that is
not there when Python begins, or nearly so.

The file of a seal: a line with how many bytes each part takes and the CRC-32 of all parts, then the parts: the facts;
until when it counts (ns since 1970); the lines to say; five sorts of paths, each path ended by a zero byte; what the
paths of the first four were like, as numbers.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from array import array
from zlib import crc32

FILE = ".doit.seal"
RUNS = ".doit.seal-runs"
"""When runs began (ns since 1970, a line each) that a seal told that there is nothing to do."""
MAX_RUNS = 1 << 16  # bytes of that
_MAX_SIZE = 64 << 20  # bytes
_COMMANDS: tuple[list[str], ...] = ([], ["run"])
_VARIABLES = ("C2WTASKS_", "PYTHON", "DOIT", "GITHUB_ACTIONS", "GITLAB_CI", "NO_COLOR")
_PARTS = 9
_SOME = 2048  # numbers that are compared together

Path = str | bytes

started_ns = 0
"""When this process began, where it may leave a seal; else 0."""


class Lines:
    """What a run says that has nothing to do: `notes`, whole lines for stderr, and what it `counted`."""

    def __init__(self, notes: str, counted: str) -> None:
        self.notes, self.counted = notes, counted

    @classmethod
    def decoded(cls, text: bytes) -> Lines:
        """The lines that `encoded` gave as this text."""
        notes, _, counted = text.decode().partition("\0")
        return cls(notes, counted)

    def encoded(self) -> bytes:
        """One text of both, for the seal."""
        return f"{self.notes}\0{self.counted}".encode()

    def say(self) -> None:
        """Says them, to whoever can be reached."""
        seconds = (time.time_ns() - started_ns) / 1e9
        for descriptor, text in ((2, self.notes), (1, f"{self.counted} in {seconds:.1f} s\n")):
            try:
                os.write(descriptor, text.encode())
            except OSError:
                continue


class LookedAt:
    """What a run looked at, by path: `files` (and folders) that are to be as they were; folders to which `access` is
    to be as it was; folders of which the names are `listed`; and what is to be `absent`."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.access: set[str] = set()
        self.listed: set[str] = set()
        self.absent: set[str] = set()

    def file(self, path: str) -> None:
        """A file, link or folder that is to be as it is, there or not."""
        (self.files if os.path.lexists(path) else self.absent).add(path)


def begin(words: list[str]) -> None:
    """To be called first, with the words of the command line: what changes from now on is not sealed by this run."""
    global started_ns
    started_ns = time.time_ns() if words in _COMMANDS else 0


def stands(words: list[str]) -> Lines | None:
    """The lines that a run with these words on its command line says, where nothing is to be done; else None."""
    if words not in _COMMANDS:
        return None
    try:
        content = _read()
        head, _, rest = content.partition(b"\n")
        *sizes, check = map(int, head.split())
        if len(sizes) != _PARTS or sum(sizes) != len(rest) or crc32(rest) != check:
            return None
        parts, at = [], 0
        for size in sizes:
            parts.append(rest[at : at + size])
            at += size
        until, lines, absent, states = parts[1], parts[2], parts[7], parts[8]
        if parts[0] != facts() or time.time_ns() >= int(until) or any(map(os.path.lexists, _paths(absent))):
            return None
        now, at = array("q"), 0
        for part, look in zip(parts[3:7], LOOKS, strict=True):
            for path in _paths(part):
                now.extend(look(path))
                if len(now) > _SOME:
                    if states[at : at + len(now) * 8] != now.tobytes():
                        return None
                    now, at = array("q"), at + len(now) * 8
    except (OSError, ValueError, OverflowError):
        return None
    return Lines.decoded(lines) if states[at:] == now.tobytes() else None


def note() -> None:
    """Notes when this run began, for the history, where that can be."""
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(RUNS, flags, 0o644)
        try:
            found = os.fstat(descriptor)
            ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
            if ours and found.st_size < MAX_RUNS:
                os.write(descriptor, b"%d\n" % started_ns)
        finally:
            os.close(descriptor)
    except OSError:
        return


def _read() -> bytes:
    """Raises OSError, also for a file that somebody else can have written."""
    descriptor = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
        if not ours or found.st_size > _MAX_SIZE:
            raise OSError
        with open(descriptor, "rb", buffering=0, closefd=False) as stream:
            return stream.read(found.st_size)
    finally:
        os.close(descriptor)


def _paths(part: bytes) -> list[bytes]:
    return part.split(b"\0")[:-1]


def state_of(path: Path) -> tuple[int, ...]:
    """What changes whenever a file or folder does."""
    found = os.lstat(path)
    return (
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_size,
        found.st_ino,
        found.st_mode,
        found.st_uid,
        found.st_gid,
    )


def target_of(path: Path) -> tuple[int, ...]:
    """The same of what a link leads to."""
    return state_of(os.path.realpath(path))


def _access(path: Path) -> tuple[int, ...]:
    """What of a folder tells who may write in it, whatever is put in or taken out."""
    found = os.lstat(path)
    return found.st_ino, found.st_mode, found.st_uid, found.st_gid


def _listing(path: Path) -> tuple[int, ...]:
    """Which names are in a folder, but for those that doit's record has for a moment."""
    names = sorted(os.fsencode(name) for name in os.listdir(path))
    return (crc32(b"\0".join(name for name in names if not name.startswith(b".doit."))),)


LOOKS = (state_of, target_of, _access, _listing)
"""How the first four sorts of paths are looked at."""


def facts() -> bytes:
    """All that counts beside files: where we are, who we are and what we may do, what runs us.

    Raises OSError.
    """
    variables = [item for item in sorted(os.environ.items()) if item[0] == "PATH" or item[0].startswith(_VARIABLES)]
    found: list[object] = [sys.version, sys.prefix, sys.flags, os.getcwd(), os.uname().machine, variables]
    found += [os.getresuid(), os.getresgid(), sorted(os.getgroups())]
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/self/{name}", "rb", buffering=0) as stream:
            found.append(stream.read())
    with open("/proc/self/status", "rb", buffering=0) as stream:
        found.append([line for line in stream.read().split(b"\n") if line.startswith(b"Cap")])
    return repr(found).encode("utf-8", "surrogateescape")
