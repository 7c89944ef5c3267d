"""Writes docs/help.md: what `c2wtasks help COMMAND` says, for all commands.

    python docs/help.py docs/help.md

A test tells when that is due.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HEAD = """\
# Help texts

What `c2wtasks help COMMAND` (or `doit help COMMAND`) says. [commands.md](commands.md) has more on each. This page is
made by `python docs/help.py docs/help.md`.

"""
_COMMAND = re.compile(r"^  \S+ ([a-z-]+)  ", re.MULTILINE)
_GROUP = re.compile(r"^    (\S.*)\n", re.MULTILINE)
_OF_ALL = ("DB backend", "doit core", "task loader")


def said(*words: str) -> str:
    """What `c2wtasks help WORDS` prints, where there is no catalog."""
    with tempfile.TemporaryDirectory() as folder:
        command = [Path(sys.executable).parent / "c2wtasks", "help", *words]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def parts(text: str) -> tuple[str, list[tuple[str, str]], str]:
    """What comes before the options; each group of options with its name; what comes after them. Pure."""
    before, mark, rest = text.partition("\nOPTIONS\n\n")
    if not mark:
        return text, [], ""
    options, _, after = rest.partition("\n\nDESCRIPTION\n")
    names = _GROUP.split(options)[1:]
    return before, list(zip(names[::2], names[1::2], strict=True)), after


def block(text: str) -> str:
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "\n".join(["```text", *lines, "```", ""])


def page() -> str:
    """The text of the page."""
    pieces = [HEAD]
    of_all: dict[str, str] = {}
    for name in dict.fromkeys(_COMMAND.findall(said())):
        before, groups, after = parts(said(name))
        of_all |= {group: text for group, text in groups if group in _OF_ALL and group not in of_all}
        own = "\n".join(text for group, text in groups if group not in _OF_ALL)
        description = f"\n\nDESCRIPTION\n{after}" if after else ""
        options = f"\n\nOPTIONS\n{own.rstrip()}" if own.strip() else ""
        pieces.append(f"## {name}\n\n{block(before.rstrip() + options + description)}\n")
    common = "\n\n".join(f"{group}\n{text.rstrip()}" for group, text in of_all.items())
    pieces.append(f"## Options of all commands\n\n{block(common)}")
    return "".join(pieces)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
