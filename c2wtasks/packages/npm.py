"""npm's packages: `package.json` in a folder below `node_modules`, or `nodejs`, where Debian has them. The files of a
package are all that lies in its folder."""

from __future__ import annotations

import msgspec

from c2wtasks.packages.model import Package, Unread, package


class _Described(msgspec.Struct):
    name: str
    version: str


_ABOVE = (b"node_modules", b"nodejs")
_DECODER = msgspec.json.Decoder(_Described)


def parse(content: bytes) -> Package:
    """The package that a package.json tells of.

    Raises Unread.
    """
    try:
        found = _DECODER.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as damage:
        raise Unread(str(damage)) from None
    return package(found.name, found.version)


def is_package(folder: bytes) -> bool:
    """Whether a package has a folder with this path: `node_modules/NAME` or `node_modules/@SCOPE/NAME`."""
    *_, scope, above, name = (b"", b"", *folder.split(b"/"))
    if above in _ABOVE:
        return not name.startswith((b".", b"@"))
    return scope in _ABOVE and above.startswith(b"@")
