"""Where an image comes from, as `bundle.yaml` writes it: `transport:path[:tag]`."""

from __future__ import annotations

from dataclasses import dataclass

from c2wtasks.oci.choice import Choice
from c2wtasks.oci.transport import TRANSPORTS, Transport


@dataclass(frozen=True, slots=True)
class Reference:
    """A source, taken apart. `text` is the source as written; `path` its file or folder, relative to the file that
    names it; `tag` is the rest, which chooses an image there (`Choice`), and may be empty.

    As in containers/image, the tag begins at the first colon after the transport: a path holds none. All after `dir:`
    is a path, colons too, but for a digest or a position at its end. Of a registry's image the path is the
    repository's normal name, and `text` has all else.
    """

    text: str
    transport: str
    path: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The source that is written as `text`. Raises ValueError."""
        transport, colon, rest = text.partition(":")
        if not colon or transport not in TRANSPORTS:
            known = ", ".join(row.syntax for row in TRANSPORTS.values())
            raise ValueError(f"{text!r} names no known transport ({known})")
        row = TRANSPORTS[transport]
        path, tag = row.parse(rest)
        if row.is_path:
            if not path:
                raise ValueError(f"{text!r} names no path ({row.syntax})")
            if "\0" in rest:
                raise ValueError(f"{text!r} holds a NUL character")
            try:
                Choice.parse(tag)
            except ValueError as error:
                raise ValueError(f"{text!r}: {error}") from None
        return cls(text, transport, path, tag)

    @property
    def type(self) -> Transport:
        """What is true of all sources of this transport."""
        return TRANSPORTS[self.transport]
