"""Where an image comes from, as `bundle.yaml` writes it: `transport:place[:tag]`."""

from __future__ import annotations

from dataclasses import dataclass

from c2wtasks.oci.imagename import ImageName

TRANSPORTS = {
    "oci": "oci:DIR[:TAG]",
    "oci-archive": "oci-archive:FILE[:TAG]",
    "docker-archive": "docker-archive:FILE-or-DIR[:REPOSITORY:TAG]",
    "dir": "dir:DIR",
    "docker": "docker://HOST/REPOSITORY[:TAG][@DIGEST]",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """`text` is the source as written; `place` its path, relative to the file that names it; `tag` may be empty.

    As in containers/image, the tag begins at the first colon after the transport: a path holds none. Of a registry's
    image the place is the repository's normal name; all else is in `image_name`.
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
        place, _, tag = rest.partition(":")
        if not place:
            raise ValueError(f"{text!r} names no path ({TRANSPORTS[transport]})")
        if "\0" in rest:
            raise ValueError(f"{text!r} holds a NUL character")
        if transport == "dir" and tag:
            raise ValueError(f"{text!r}: such a folder holds one image, and no tag ({TRANSPORTS[transport]})")
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
