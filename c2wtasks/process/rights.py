"""What whoever runs us may do with files, as far as it can be told without trying; and what a folder lacks of its
tree, which is found by trying (`directory.write`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

import msgspec

from c2wtasks.errors import printable

_CAPABILITIES = {
    "chown": 0,
    "dac_override": 1,
    "fowner": 3,
    "fsetid": 4,
    "sys_admin": 21,  # other `security.` xattrs, and `trusted.` ones
    "mknod": 27,
    "setfcap": 31,
}
SET_IDS = 0o6000
"""The bits of a mode that the kernel drops where the builder may not set them."""

FILE_CAPABILITY = "security.capability"
_SHOWN = 3
_ALL_IDS = ["0", "0", "4294967295"]


class LeftOut(msgspec.Struct, frozen=True, rename="camel"):
    """What a folder lacks of its tree, counted in names: a hard link is one more.

    `owners` maps the owners ("uid:gid") that files should have, and have the builder's instead, or half of it;
    `set_ids` the modes and owners ("2755 0:8") of those that lost a set-user-id or set-group-id bit; `xattrs` the
    names of those that are missing. `modes` is how many have another mode than that, `devices` how many are gone,
    `hard_links`, there where it is not 0, how many are copies of the file that they should be a name of.
    """

    owners: dict[str, int] = msgspec.field(default_factory=dict)
    set_ids: dict[str, int] = msgspec.field(default_factory=dict)
    modes: int = 0
    devices: int = 0
    xattrs: dict[str, int] = msgspec.field(default_factory=dict)
    hard_links: int | msgspec.UnsetType = msgspec.UNSET

    def __bool__(self) -> bool:
        return bool(self.owners or self.set_ids or self.modes or self.devices or self.xattrs or self.hard_links)

    def __add__(self, other: LeftOut) -> LeftOut:
        return LeftOut(
            _sum(self.owners, other.owners),
            _sum(self.set_ids, other.set_ids),
            self.modes + other.modes,
            self.devices + other.devices,
            _sum(self.xattrs, other.xattrs),
            (self.hard_links or 0) + (other.hard_links or 0) or msgspec.UNSET,
        )

    def __str__(self) -> str:
        """`13 owners (0:42, 1000:50), 1 device, 1 file capability`."""
        others = {name: count for name, count in self.xattrs.items() if name != FILE_CAPABILITY}
        parts = [
            _counted(sum(self.owners.values()), "owner", self.owners),
            _counted(sum(self.set_ids.values()), "file's set-id bits", self.set_ids, "files' set-id bits"),
            _counted(self.modes, "mode"),
            _counted(self.devices, "device"),
            _counted(self.xattrs.get(FILE_CAPABILITY, 0), "file capability", (), "file capabilities"),
            _counted(sum(others.values()), "xattr", others),
            _counted(self.hard_links or 0, "hard link"),
        ]
        return ", ".join(filter(None, parts))


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(one) + Counter(other)).items()))


def _counted(count: int, what: str, kinds: Iterable[str] = (), many: str = "") -> str:
    if not count:
        return ""
    names = [printable(kind) for kind in kinds]
    shown = f" ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})" if names else ""
    return f"{count} {what if count == 1 else many or f'{what}s'}{shown}"


def mode_and_owner(mode: int, uid: int, gid: int) -> str:
    """Mode and owner of a file with a set-id bit, as `LeftOut` has them."""
    return f"{mode:04o} {uid}:{gid}"


def xattr_name(name: bytes) -> str:
    """The name of an xattr, as `LeftOut` has it."""
    return name.decode("utf-8", "backslashreplace")


class Builder(msgspec.Struct, frozen=True, rename="camel"):
    """`capabilities` of capabilities(7), those that matter to files. `ids` is "" where user and group ids are the
    machine's own; else the maps of the user namespace (user_namespaces(7)), in which alone owners mean something."""

    capabilities: tuple[str, ...]
    ids: str

    def may_improve(self, other: Builder, left_out: LeftOut) -> bool:
        """Whether this one is to write a root anew that `other` has written."""
        if other.ids not in ("", self.ids):
            return True
        return bool(left_out) and bool(self.gained(other)) and not other.gained(self)

    def gained(self, other: Builder) -> list[str]:
        """The capabilities that this one has, and `other` has not."""
        return [name for name in self.capabilities if name not in other.capabilities]

    @property
    def complete(self) -> bool:
        """Whether it has all the capabilities that a root takes, and is in no user namespace with ids of its own."""
        return len(self.capabilities) == len(_CAPABILITIES) and not self.ids


@cache
def builder() -> Builder:
    """What this process may do. One that cannot tell seems to have no capability, and tries nonetheless."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            bits = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
        maps = [_map(name) for name in ("uid_map", "gid_map")]
    except (OSError, StopIteration, ValueError):
        return Builder((), "")
    have = tuple(name for name, bit in _CAPABILITIES.items() if bits >> bit & 1)
    return Builder(have, "" if maps == [_ALL_IDS] * 2 else "; ".join(map(" ".join, maps)))


def _map(name: str) -> list[str]:
    with open(f"/proc/self/{name}", encoding="ascii", errors="replace") as stream:
        return stream.read().split()
