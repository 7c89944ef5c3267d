"""Who a container runs as: `USER` of an image config, looked up in the image's own /etc/passwd and /etc/group
(runc's `user` package, `GetExecUser`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from c2wtasks.errors import SpecError

_MAX_ID = 2**31 - 1
_MAX_LINE = 64 * 1024
_WHITE = b" \t\n\v\f\r"
_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class User:
    """As spec.json's `process.user` has it: ids are 32 bits."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()


def resolve(spec: str, passwd: bytes | None, group: bytes | None) -> User:
    """The user that `spec` names: `user`, `uid`, `user:group`, and so on.

    `passwd` and `group` are the contents of the files, None where the image has none: numbers need neither.
    The first matching line counts. An explicit group means no additional groups.

    Raises SpecError.
    """
    wanted_user, _, rest = spec.partition(":")
    wanted_group = rest.partition(":")[0]
    uid = _number(spec, wanted_user)
    explicit_gid = _number(spec, wanted_group)
    user = _find_user(passwd or b"", wanted_user, uid)
    name = ""
    gid = 0
    if user is not None:
        name, uid, gid = user
    elif wanted_user and uid is None:
        where = "the image has no /etc/passwd" if passwd is None else "/etc/passwd has no such entry"
        raise SpecError(f"user {spec!r}: unable to find user {wanted_user}: {where}", hint=_HINT)
    groups: tuple[int, ...] = ()
    if wanted_group:
        found = next(_groups(group or b"", wanted_group, explicit_gid, ""), None)
        if found is None and explicit_gid is None:
            where = "the image has no /etc/group" if group is None else "/etc/group has no such entry"
            raise SpecError(f"user {spec!r}: unable to find group {wanted_group}: {where}", hint=_HINT)
        gid = explicit_gid if found is None and explicit_gid is not None else found or 0
    elif name:
        groups = tuple(_groups(group or b"", "", None, name))
    return User(_as_id(uid or 0), _as_id(gid), tuple(map(_as_id, groups)))


_HINT = "set process.user in bundle.yaml, or add the entry to the image"


def _number(spec: str, text: str) -> int | None:
    """The id that `text` writes as a number; None where it is a name."""
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text) if len(text) < 30 else _MAX_ID + 1
    if not 0 <= value <= _MAX_ID:
        raise SpecError(f"user {spec!r}: uids and gids must be in range 0-{_MAX_ID}", hint=_HINT)
    return value


def _as_id(value: int) -> int:
    return value & 0xFFFF_FFFF


def _atoi(field: bytes) -> int:
    """Go's `strconv.Atoi`, errors ignored: 0 for what is no number, the nearest of 64 bits for one too big."""
    text = field.decode("latin-1")
    if not _INTEGER.fullmatch(text):
        return 0
    value = int(text) if len(text) < 30 else (-1 if text[0] == "-" else 1) * 2**63
    return max(-(2**63), min(value, 2**63 - 1))


def _find_user(passwd: bytes, name: str, uid: int | None) -> tuple[str, int, int] | None:
    """(name, uid, gid) of the first line that fits; without a name that of uid 0."""
    for line in passwd.split(b"\n"):
        if len(line) > _MAX_LINE:
            raise SpecError("/etc/passwd: a line is longer than 64 KiB")
        line = line.strip(_WHITE)
        if not line:
            continue
        fields = line.split(b":") + [b""] * 4
        this_name = fields[0].decode("utf-8", "surrogateescape")
        this_uid = _atoi(fields[2])
        if (this_uid == (uid or 0)) if uid is not None or not name else (this_name == name):
            return this_name, this_uid, _atoi(fields[3])
    return None


def _groups(group: bytes, name: str, gid: int | None, member: str) -> Iterator[int]:
    """The gids of the lines that fit: with that member, or of that gid, or of that name."""
    for line in group.split(b"\n"):
        line = line.strip(_WHITE)
        if not line or line.startswith(b"#"):
            continue
        fields = line.split(b":") + [b""] * 4
        this_gid = _atoi(fields[2])
        if member:
            fits = member.encode("utf-8", "surrogateescape") in fields[3].split(b",")
        elif gid is not None:
            fits = this_gid == gid
        else:
            fits = fields[0].decode("utf-8", "surrogateescape") == name
        if fits:
            yield this_gid
