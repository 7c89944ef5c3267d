"""What a Linux kernel makes of a newc archive when it boots, in memory, as lines in the words of `support.roots`.

As `init/initramfs.c` does it: later names of a (number, type) become hard links, but not those of symlinks; content
may come with any of the names; names and targets that are too long are skipped without a word.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass

_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
}
_PATH_MAX = 4096
_HEADER = 110


@dataclass(eq=False)
class _File:
    kind: str
    about: str
    content: bytes = b""
    target: bytes = b""
    device: tuple[int, int] = (0, 0)


def unpacked(archive: bytes) -> list[str]:
    root = _File("d", "made by the kernel")
    files: dict[bytes, _File] = {b".": root}
    linked: dict[tuple[int, int], bytes] = {}  # (number, type) -> the first name
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701" and at % 4 == 0
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        number, mode, uid, gid, links, mtime, size, _, _, major, minor, name_size, _ = fields
        name = archive[at + _HEADER : at + _HEADER + name_size - 1]
        assert archive[at + _HEADER + name_size - 1] == 0 and b"\0" not in name
        start = at + _HEADER + name_size + -(_HEADER + name_size) % 4
        body = archive[start : start + size]
        assert len(body) == size
        at = start + size + -size % 4
        if name == b"TRAILER!!!":
            assert not archive[at:].strip(b"\0") and len(archive) % 512 == 0
            return _lines(files)
        if name_size > _PATH_MAX or (stat.S_ISLNK(mode) and size > _PATH_MAX):
            continue
        name = name.removeprefix(b"./")
        kind = _KINDS[stat.S_IFMT(mode)]
        about = f"{kind} {stat.S_IMODE(mode):04o} {uid}:{gid} {mtime * 10**9}"
        assert name == b"." or name.rpartition(b"/")[0] in files or b"/" not in name, "the directory is not there yet"
        assert kind == "f" or kind == "l" or size == 0
        if kind == "d":
            files[name] = root if name == b"." else _File(kind, "")
            files[name].about = about
            continue
        first = linked.setdefault((number, stat.S_IFMT(mode)), name) if links > 1 and kind != "l" else name
        if first != name:
            files[name] = files[first]
        else:
            files[name] = _File(kind, about, target=body if kind == "l" else b"", device=(major, minor))
        if kind == "f":
            files[name].about = about
            files[name].content = body or files[name].content


def _lines(files: dict[bytes, _File]) -> list[str]:
    lines: list[str] = []
    first: dict[int, str] = {}
    for name, file in files.items():
        shown = name.decode("utf-8", "backslashreplace")
        if id(file) in first:
            lines.append(f"{shown} = {first[id(file)]}")
            continue
        first[id(file)] = shown
        line = f"{shown} {file.about}"
        if file.kind == "f":
            line += f" {len(file.content)} {hashlib.sha256(file.content).hexdigest()[:16]}"
        if file.kind == "l":
            line += f" -> {file.target.decode('utf-8', 'backslashreplace')}"
        if file.kind in "cb":
            line += f" {file.device[0]},{file.device[1]}"
        lines.append(line)
    return lines
