"""Who a container runs as: `USER` of an image config, looked up in the image's own /etc/passwd and /etc/group
(runc's `user` package, `GetExecUser`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from c2wtasks.errors import SpecError

_MAX_ID = 2**31 - 1
_MAX_PASSWD_LINE = 64 * 1024  # of Go's bufio.Scanner; what ends the line counts
_WHITE = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_INTEGER = re.compile(r"([+-]?)([0-9]+)")
_HINT = "set process.user in bundle.yaml, or add the entry to the image"


@dataclass(frozen=True, slots=True)
class User:
    """A user, as spec.json's `process.user` names one: ids are 32 bits."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of either file. `fourth` is the user's group, or the group's members."""

    name: str
    id: int
    fourth: str


def resolve(spec: str, passwd: bytes | None, group: bytes | None) -> User:
    """The user that `spec` names: `user`, `uid`, `user:group`, and so on; without a user, 0.

    `passwd` and `group` are the contents of the files, None where the image has none: numbers need neither.
    A number always means an id, and the first line that fits counts. An explicit group means no additional ones.

    Raises SpecError.
    """
    wanted_user, _, rest = spec.partition(":")
    wanted_group = rest.partition(":")[0]
    name, gid, additional = "", 0, []
    user = _find(_passwd_entries(passwd or b""), wanted_user or "0")
    if user is None:
        uid = _unlisted(spec, "user", wanted_user or "0", "/etc/passwd", passwd)
    else:
        name, uid, gid = user.name, user.id, _atoi(user.fourth)[0]
    groups = _group_entries(group or b"")
    if wanted_group:
        found = _find(groups, wanted_group)
        gid = found.id if found else _unlisted(spec, "group", wanted_group, "/etc/group", group)
    elif name:
        additional = [entry.id for entry in groups if name in entry.fourth.split(",")]
    return User(_as_32_bits(uid), _as_32_bits(gid), tuple(map(_as_32_bits, additional)))


def _find(entries: Iterable[_Entry], wanted: str) -> _Entry | None:
    number, numeric = _atoi(wanted)
    return next((entry for entry in entries if (entry.id == number if numeric else entry.name == wanted)), None)


def _unlisted(spec: str, what: str, wanted: str, file: str, content: bytes | None) -> int:
    """The id that `wanted` is without an entry in the file."""
    number, numeric = _atoi(wanted)
    if not numeric:
        where = f"the image has no {file}" if content is None else f"{file} has no such entry"
        raise SpecError(f"user {spec!r}: unable to find {what} {wanted}: {where}", hint=_HINT)
    if not 0 <= number <= _MAX_ID:
        raise SpecError(f"user {spec!r}: uids and gids must be in range 0-{_MAX_ID}", hint=_HINT)
    return number


def _atoi(text: str) -> tuple[int, bool]:
    """The number that Go's `strconv.Atoi` gives: 0 for what is none, the nearest of 64 bits for one that is too big;
    and whether it is the one that `text` states."""
    match = _INTEGER.fullmatch(text)
    if match is None:
        return 0, False
    sign, digits = match.groups()
    digits = digits.lstrip("0")[:20] or "0"  # 20 digits are too many already
    number = int(sign + digits)
    nearest = max(-(2**63), min(number, 2**63 - 1))
    return nearest, nearest == number


def _as_32_bits(number: int) -> int:
    return number & 0xFFFF_FFFF


def _passwd_entries(content: bytes) -> list[_Entry]:
    """The entries of /etc/passwd: also what looks like a comment is one. Raises SpecError: a line is too long."""
    if any(len(line) >= _MAX_PASSWD_LINE for line in content.split(b"\n")):
        raise SpecError("/etc/passwd: a line is longer than 64 KiB")
    return [_entry(line) for line in _lines(content)]


def _group_entries(content: bytes) -> list[_Entry]:
    return [_entry(line) for line in _lines(content) if not line.startswith("#")]


def _lines(content: bytes) -> Iterator[str]:
    """The lines that are not blank, without white space around them."""
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        if stripped := line.strip(_WHITE):
            yield stripped


def _entry(line: str) -> _Entry:
    """The entry that a line states: a field that is missing counts as empty, an id that is no number as 0."""
    name, _, number, fourth, *_ = [*line.split(":"), "", "", "", ""]
    return _Entry(name, _atoi(number)[0], fourth)
