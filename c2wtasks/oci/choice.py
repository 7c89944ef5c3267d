"""Which image of a local source is meant: by a name, a digest, or its position."""

from __future__ import annotations

import re
from dataclasses import dataclass

from c2wtasks.oci.digest import Digest

_DIGEST_AT_END = re.compile(r":?@sha(?:256|512):[^/@]*$")
_POSITION_AT_END = re.compile(r":@[0-9]+$")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which image of a local source: by a name, a digest, or the position in its list, from 0 (containers/image:
    `source-index`). What is absent does not matter."""

    name: str = ""
    digest: Digest | None = None
    position: int | None = None

    @classmethod
    def parse(cls, text: str) -> Choice:
        """The choice that is written as `NAME`, `NAME@sha256:...`, `@sha256:...`, `@3`, or nothing at all.

        Raises ValueError.
        """
        if found := _DIGEST_AT_END.search(text):
            return cls(text[: found.start()], Digest.parse(found[0].lstrip(":@")))
        if not text.startswith("@"):
            return cls(text)
        position = text[1:]
        if not (position.isascii() and position.isdigit() and len(position) < 10):
            raise ValueError(f"{text!r} is neither a digest (@sha256:...) nor a position (@0, @1, ...)")
        return cls(position=int(position))


def path_and_tag(text: str) -> tuple[str, str]:
    """A path up to the first colon, and the text of the choice that follows it."""
    before, digest = _apart(text, _DIGEST_AT_END.search(text))
    path, _, name = before.partition(":")
    return path, name + digest


def path_alone(text: str) -> tuple[str, str]:
    """A path, colons and all, and the text of a digest or a position at its end."""
    return _apart(text, _DIGEST_AT_END.search(text) or _POSITION_AT_END.search(text))


def _apart(text: str, end: re.Match[str] | None) -> tuple[str, str]:
    return (text[: end.start()], end[0].lstrip(":")) if end else (text, "")
