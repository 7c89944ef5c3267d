"""Where an image comes from, as `bundle.yaml` writes it: `transport:place[:tag]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from c2wtasks.oci.digest import Digest
from c2wtasks.oci.imagename import ImageName

TRANSPORTS = {
    "oci": "oci:DIR[:TAG]",
    "oci-archive": "oci-archive:FILE[:TAG]",
    "docker-archive": "docker-archive:FILE-or-DIR[:REPOSITORY:TAG]",
    "dir": "dir:DIR",
    "docker": "docker://HOST/REPOSITORY[:TAG][@DIGEST]",
}

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
        """`NAME`, `NAME@sha256:...`, `@sha256:...`, `@3`, or nothing at all.

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


@dataclass(frozen=True, slots=True)
class Reference:
    """`text` is the source as written; `place` its path, relative to the file that names it; `tag` is the rest, which
    chooses an image there (`Choice`), and may be empty.

    As in containers/image, the tag begins at the first colon after the transport: a path holds none. All after `dir:`
    is a path, colons too, but for a digest or a position at its end. Of a registry's image the place is the
    repository's normal name; all else is in `image_name`.
    """

    text: str
    transport: str
    place: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises ValueError."""
        transport, colon, rest = text.partition(":")
        if not colon or transport not in TRANSPORTS:
            raise ValueError(f"{text!r} names no known transport ({', '.join(TRANSPORTS.values())})")
        if transport == "docker":
            if not rest.startswith("//") or rest == "//":
                raise ValueError(f"{text!r} names no image ({TRANSPORTS[transport]})")
            name = ImageName.parse(rest[2:])
            return cls(text, transport, str(name.repository), name.tag)
        place, tag = _split(transport, rest)
        if not place:
            raise ValueError(f"{text!r} names no path ({TRANSPORTS[transport]})")
        if "\0" in rest:
            raise ValueError(f"{text!r} holds a NUL character")
        try:
            Choice.parse(tag)
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from None
        return cls(text, transport, place, tag)

    @property
    def is_remote(self) -> bool:
        """Whether it is in a registry."""
        return self.transport == "docker"

    @property
    def image_name(self) -> ImageName:
        """The name in its registry, of what is remote."""
        assert self.is_remote, self.text
        return ImageName.parse(self.text.removeprefix("docker://"))


def _split(transport: str, rest: str) -> tuple[str, str]:
    """The path, and what chooses an image there."""
    end = _DIGEST_AT_END.search(rest) or (_POSITION_AT_END.search(rest) if transport == "dir" else None)
    before, chosen = (rest[: end.start()], end[0].lstrip(":")) if end else (rest, "")
    if transport == "dir":
        return before, chosen
    place, _, tag = before.partition(":")
    return place, tag + chosen
