"""A catalog in which all is current, seen at once: what a run looked at is as it was, so there is nothing to do.

A run that ends with everything current leaves a seal: each path that it looked at, with the state that the path had
before the run began, and the facts beside that which count. The next run compares these before anything else is
imported. Where the least is different, or cannot be told, the ordinary way decides. So this imports nothing that is
not there when Python begins, or nearly so.

The file of a seal: a line with how many bytes each part takes and the CRC-32 of all parts, then the parts: the facts;
until when it counts (ns since 1970); what to answer; five sorts of paths, each path ended by a zero byte; what the
paths of the first four were like, as numbers.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

FILE = ".doit.seal"
RUNS = ".doit.seal-runs"
"""When runs began (ns since 1970, a line each) that a seal told that there is nothing to do; of one that was for the
bundles of a name, how many these are, and the name."""
MAX_RUNS = 1 << 16  # bytes of that
_MAX_SIZE = 64 << 20  # bytes
_UNREAD = (errno.EPIPE, errno.EBADF)
_LEAVING: tuple[list[str], ...] = ([], ["run"])
"""The command lines of runs that leave a seal."""
_COMMANDS = ("run", "why", "plan", "list")
"""What a seal may answer, of all bundles or of those of one name."""
_VARIABLES = ("C2WTASKS_", "PYTHON", "DOIT", "GITHUB_ACTIONS", "GITLAB_CI", "NO_COLOR")
_PARTS = 9
_SOME = 2048  # numbers that are compared together

Path = str | bytes

started_ns = 0
"""When this process began."""
leaves = False
"""Whether it may leave a seal."""

Found = tuple[str, int, Sequence[str]]
"""What a run found current: what it counted, how many tasks these are, and the names of the bundles."""


class Answer:
    """Nothing is to be done of what was asked for: a `command`, and the `name` of a bundle or an image, "" for all.

    `notes` are whole lines for stderr that a run says, `output` is where bundles are published, `counted` what a run
    counts; `tasks` is how many are current, `bundles` has the names of those that are meant.
    """

    def __init__(self, command: str, name: str, notes: str, output: str, found: Found) -> None:
        self.command, self.name, self.notes, self.output = command, name, notes, output
        self.counted, self.tasks, self.bundles = found

    @property
    def is_short(self) -> bool:
        """Whether `say` says all that there is to say."""
        return self.command in ("run", "plan") or (self.command, self.name) == ("why", "")

    def say(self) -> bool:
        """Says so, as a run, `plan` and `why` do; tells whether whoever still reads can read it."""
        lines = {"plan": "nothing to do\n", "why": f"all is current ({self.tasks} tasks)\n"}
        seconds = (time.time_ns() - started_ns) / 1e9
        line = lines.get(self.command, f"{self.counted} in {seconds:.1f} s\n")
        for descriptor, text in ((1, line), (2, self.notes if self.command == "run" else "")):
            try:
                os.write(descriptor, text.encode())
            except OSError as error:
                if descriptor == 1 and error.errno not in _UNREAD:
                    return False
        return True


def encoded(notes: str, output: str, found: Mapping[str, Found]) -> bytes:
    """What may be answered, as one text for the seal; `found` is by the names that may be asked for."""
    fields: Iterable[str] = (
        field
        for name, (counted, tasks, bundles) in found.items()
        for field in (name, counted, str(tasks), " ".join(bundles))
    )
    return "\0".join((notes, output, *fields)).encode()


def _decoded(text: bytes, command: str, name: str) -> Answer | None:
    notes, output, *fields = text.decode().split("\0")
    try:
        at = fields[::4].index(name) * 4
    except ValueError:
        return None
    counted, tasks, bundles = fields[at + 1 : at + 4]
    return Answer(command, name, notes, output, (counted, int(tasks), bundles.split(" ")))


class LookedAt:
    """What a run looked at, by path: `files` (and folders) that are to be as they were; folders to which `access` is
    to be as it was; folders of which the names are `listed`; and what is to be `absent`. `output` is the folder of
    what is published."""

    def __init__(self, output: str) -> None:
        self.output = output
        self.files: set[str] = set()
        self.access: set[str] = set()
        self.listed: set[str] = set()
        self.absent: set[str] = set()

    def file(self, path: str) -> None:
        """A file, link or folder that is to be as it is, there or not."""
        (self.files if os.path.lexists(path) else self.absent).add(path)


def begin(words: list[str]) -> None:
    """To be called first, with the words of the command line: what changes from now on is not sealed by this run."""
    global started_ns, leaves
    started_ns, leaves = time.time_ns(), words in _LEAVING


def stands(words: list[str]) -> Answer | None:
    """What these words on the command line are answered with, where nothing is to be done; else None."""
    command, names = (words[0], words[1:]) if words and words[0] in _COMMANDS else ("run", words)
    if len(names) > 1 or names == [""]:
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
        until, absent, states = parts[1], parts[7], parts[8]
        answer = _decoded(parts[2], command, "".join(names))
        if answer is None or (command != "run" and not answer.tasks):
            return None
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
    return answer if states[at:] == now.tobytes() else None


def note(answer: Answer) -> None:
    """Notes when this run began, for the history, where that can be; and for which bundles, if not for all."""
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(RUNS, flags, 0o644)
        try:
            found = os.fstat(descriptor)
            ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
            if ours and found.st_size < MAX_RUNS:
                asked = f" {len(answer.bundles)} {answer.name}" * bool(answer.name)
                os.write(descriptor, f"{started_ns}{asked}\n".encode())
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
