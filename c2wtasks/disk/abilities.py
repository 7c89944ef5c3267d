"""What the file system of a folder makes of names, and what is mounted below it."""

from __future__ import annotations

import os
import re

from c2wtasks.disk.files import temporary

_OCTAL = re.compile(rb"\\([0-7]{3})")
_AS_MOUNTS_SAY = {ord(character): f"\\{ord(character):03o}" for character in " \t\n\\"}


def as_mounts_say(path: str) -> str:
    """A path as mountinfo has it: a space, a tab, a newline and a backslash are octal there, "\\040"."""
    return path.translate(_AS_MOUNTS_SAY)


def ignores_case(folder: str) -> bool:
    """Whether names in `folder`, or in the nearest one above it that is there, are one if they differ in case alone.

    What lies in it tells, as a rule. Only where nothing does, a file is made there for a moment.
    """
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    folder = folder or "."
    try:
        present = set(os.listdir(folder))
        for name in present:
            if (other := name.swapcase()) != name:
                return other not in present and os.path.lexists(f"{folder}/{other}")
        with temporary(folder) as probe:
            return os.path.lexists(f"{folder}/{probe.name.swapcase()}")
    except OSError:  # not to be written: then nothing will be
        return False


def mounts_below(folder: str) -> frozenset[str]:
    """The paths, relative to `folder`, at which something is mounted below it, as far as the system tells."""
    try:
        with open("/proc/self/mountinfo", "rb") as stream:
            text = stream.read()
    except OSError:
        return frozenset()
    above = f" {as_mounts_say(os.path.realpath(folder))}/".encode("utf-8", "surrogateescape")
    if above not in text:  # as a rule
        return frozenset()
    found = (line.split(b" ")[4] for line in text.splitlines() if above in line)
    return frozenset(
        os.fsdecode(_OCTAL.sub(lambda code: bytes((int(code[1], 8),)), path[len(above) - 1 :]))
        for path in found
        if path.startswith(above[1:])
    )
