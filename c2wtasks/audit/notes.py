"""What runs have noted of changes, in the history: whether each file can be read to its end."""

from __future__ import annotations

import os

from c2wtasks.audit.finding import Finding, reason, shown
from c2wtasks.changes import stored
from c2wtasks.disk import files, safely
from c2wtasks.output import changelog


def check(output: str) -> dict[str, list[Finding]]:
    """The findings, by `changes` and the file's name: those of what is wrong. Nothing is changed."""
    found: dict[str, list[Finding]] = {}
    for path in changelog.paths(output):
        try:
            have = _damage(path)
        except FileNotFoundError:  # a run has just removed it, or given it its name
            continue
        except OSError as error:
            have = reason(error)
        if have:
            found[f"changes {os.path.basename(path)}"] = [
                Finding(shown(path), "content", "what a run has noted", have)
            ]
    return found


def _damage(path: str) -> str:
    """What is wrong with a file. One that a run is adding to is looked at again. Raises OSError."""
    before = None
    while True:
        content = safely.read(path, changelog.MAX_SIZE)
        good = stored.readable(content)
        if good == len(content):
            return ""
        if content == before:
            return f"damaged from byte {good} on, of {len(content)}"
        before = content


def mend(output: str) -> None:
    """Cuts off what cannot be read, and removes files of which nothing is left: what a run has noted cannot be made
    again. What they said is not known any more then, as of runs that are not remembered.

    Raises OutputError.
    """
    for path in changelog.paths(output):
        try:
            content = safely.read(path, changelog.MAX_SIZE)
        except OSError as error:
            reason(error)
            files.remove_tree(path)
            continue
        good = stored.readable(content)
        if not good:
            files.remove_tree(path)
        elif good < len(content):
            files.write(path, content[:good])
