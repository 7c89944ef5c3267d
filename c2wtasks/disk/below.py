"""Files below a folder that somebody gave us (an image layout), by links that stay in it."""

from __future__ import annotations

import errno
import os
import stat

from c2wtasks.disk import clib
from c2wtasks.disk.opening import FOLDER, MAX_LINKS, parts_of, trusted_link
from c2wtasks.disk.safely import FILE, NotRegular


class LeadsOut(OSError):
    """A link leads out of a folder, and another user may have put it there."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ELOOP, "a link leads out of the folder, and another user may have put it there", path)


def open_below(top: str, name: str, *, leave: bool) -> tuple[int, bool]:
    """A descriptor of the regular file `name` below the folder `top`, and whether links lead out of that.

    Links are followed as long as they stay in the folder. Those that lead out are followed if `leave` allows it, and
    nobody but root and ourselves can have put them there.

    Raises OSError: LeadsOut, NotRegular for what is no file.
    """
    descriptor, out = _below(top, name, FILE & ~os.O_NOFOLLOW, leave=leave)
    found = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(found):
        os.close(descriptor)
        raise NotRegular(found, f"{top}/{name}")
    return descriptor, out


def stat_below(top: str, name: str) -> tuple[os.stat_result, bool]:
    """What `name` below the folder `top` is, as `open_below` would find it, and whether links lead out.

    Raises OSError: LeadsOut.
    """
    descriptor, out = _below(top, name, os.O_PATH | os.O_CLOEXEC, leave=True)
    try:
        return os.fstat(descriptor), out
    finally:
        os.close(descriptor)


def _below(top: str, name: str, flags: int, *, leave: bool) -> tuple[int, bool]:
    call = clib.openat2()
    start = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if call is not None:
            descriptor = call(start, os.fsencode(name), flags, 0, clib.STAYING_INSIDE)
            if descriptor >= 0:
                return descriptor, False
            if descriptor not in (-errno.EXDEV, -errno.ELOOP, -errno.EAGAIN):
                raise OSError(-descriptor, os.strerror(-descriptor), f"{top}/{name}")
        return _Inside(top, start, leave).open(name, flags)
    finally:
        os.close(start)


class _Inside:
    """A way below a folder, part by part, with the descriptors of the folders on it: so that ".." leads back, and
    what leads out is seen."""

    def __init__(self, top: str, start: int, leave: bool) -> None:
        self.top = top
        self.leave = leave
        self.way = [os.dup(start)]
        self.out = False
        self.links = 0
        self.trusted = True  # all links so far

    def open(self, name: str, flags: int) -> tuple[int, bool]:
        """A descriptor of `name`, and whether the way to it leads out. Raises OSError."""
        full = f"{self.top}/{name}"
        parts = parts_of(name)
        if name.startswith("/"):
            raise LeadsOut(full)
        try:
            while True:
                part = parts.pop() if parts else "."
                if part == "..":
                    self.up(full)
                    continue
                target = self.link(part)
                if target is not None:
                    parts += self.go(target, full)
                elif parts:
                    self.way.append(os.open(part, FOLDER | os.O_PATH, dir_fd=self.way[-1]))
                else:
                    return os.open(part, flags | os.O_NOFOLLOW, dir_fd=self.way[-1]), self.out
        finally:
            for descriptor in self.way:
                os.close(descriptor)

    def link(self, name: str) -> str | None:
        """Where the link `name` leads; None where it is none. Raises OSError."""
        here = self.way[-1]
        if not stat.S_ISLNK(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
            return None
        self.links += 1
        self.trusted = self.trusted and trusted_link(name, here) is not None
        return os.readlink(name, dir_fd=here)

    def go(self, target: str, full: str) -> list[str]:
        """The parts of a link's target that are left, after the jump of one that is absolute. Raises OSError."""
        if self.links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), full)
        self.check(full)
        if not target.startswith("/"):
            return parts_of(target)
        inside = os.path.relpath(target, os.path.realpath(self.top))
        if not self.out and inside != os.pardir and not inside.startswith("../"):
            self.back_to(1)
            return parts_of(inside)
        self.go_out(full)
        self.back_to(0)
        self.way.append(os.open("/", FOLDER | os.O_PATH))
        return parts_of(target)

    def up(self, full: str) -> None:
        if self.out or len(self.way) == 1:
            self.go_out(full)
            self.way.append(os.open("..", FOLDER | os.O_PATH, dir_fd=self.way[-1]))
        else:
            os.close(self.way.pop())

    def go_out(self, full: str) -> None:
        self.out = True
        if not self.leave or not self.links:
            raise LeadsOut(full)
        self.check(full)

    def check(self, full: str) -> None:
        if self.out and not self.trusted:
            raise LeadsOut(full)

    def back_to(self, count: int) -> None:
        for descriptor in self.way[count:]:
            os.close(descriptor)
        del self.way[count:]
