"""Where an image comes from, as `bundle.yaml` writes it: `transport:place[:tag]`."""

from __future__ import annotations

from dataclasses import dataclass

TRANSPORTS = {
    "oci": "oci:DIR[:TAG]",
    "oci-archive": "oci-archive:FILE[:TAG]",
    "docker-archive": "docker-archive:FILE-or-DIR[:REPOSITORY:TAG]",
    "docker": "docker://HOST/REPOSITORY[:TAG][@DIGEST]",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """`text` is the source as written; `place` its path, relative to the file that names it; `tag` may be empty.

    As in containers/image, the tag begins at the first colon after the transport: a path holds none.
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
            return cls(text, transport, rest.removeprefix("//"), "")
        place, _, tag = rest.partition(":")
        if not place:
            raise ValueError(f"{text!r} names no path ({TRANSPORTS[transport]})")
        if "\0" in rest:
            raise ValueError(f"{text!r} holds a NUL character")
        return cls(text, transport, place, tag)
