"""The words that a shell may complete: each TAB starts this anew, so doit is not loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence

_FOLDER = os.path.dirname(__file__)
NO_COMMANDS = (
    "__init__",
    "answering",
    "base",
    "beginning",
    "doit_own",
    "options",
    "plain",
    "program",
    "reporting",
    "rows",
    "table",
    "words",
)
"""The modules beside this one that are no commands."""
_DOITS = ("clean", "forget", "help", "info", "list", "run")


def commands() -> list[str]:
    """The names of our commands, of which each is a module."""
    files = (os.path.splitext(file) for file in sorted(os.listdir(_FOLDER)))
    return [name for name, ending in files if ending == ".py" and name not in NO_COMMANDS]


def show(begun: Sequence[str]) -> None:
    """Prints the words that begin as the last of `begun` does, one a line."""
    word = begun[-1] if begun else ""
    print("".join(f"{one}\n" for one in matches(word, sorted([*commands(), *_DOITS]), _bundles())), end="")


def matches(word: str, names: Sequence[str], bundles: Sequence[str]) -> list[str]:
    """The commands and images that begin as `word` does; bundles only once their image is there, or is the only one.
    Pure."""
    images = [name for name in dict.fromkeys(one.partition("@")[0] for one in bundles) if name.startswith(word)]
    found = [*(name for name in names if name.startswith(word)), *images]
    if "@" in word or len(found) == len(images) == 1:
        found += [one for one in bundles if one.startswith(word)]
    return found


def _bundles() -> list[str]:
    """The names of the bundles of bundle.yaml; none where it has mistakes."""
    from c2wtasks.bundlefile.load import load
    from c2wtasks.errors import UserError

    try:
        return [str(bundle) for bundle in load("bundle.yaml").bundles]
    except UserError:
        return []
