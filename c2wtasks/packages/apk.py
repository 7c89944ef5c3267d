"""apk's database, `lib/apk/db/installed`: a paragraph a package, a letter a field."""

from __future__ import annotations

from c2wtasks.packages.model import File, Package, Parsed, Unread, check_count, package


def parse(content: bytes) -> Parsed:
    """The packages of an `installed` file, and their files.

    Raises Unread.
    """
    packages: list[Package] = []
    files: list[list[File]] = []
    fields: dict[bytes, bytes] = {}
    paths: list[File] = []
    folder = b""
    for line in (*content.split(b"\n"), b""):
        key, colon, value = line[:1], line[1:2], line[2:]
        if not line.strip():
            if fields:
                packages.append(_package(fields))
                files.append(paths)
                fields, paths, folder = {}, [], b""
        elif colon != b":":
            raise Unread(f"a line is none of apk's: {line[:60]!a}")
        elif key == b"F":
            folder = value.strip(b"/")
        elif key == b"R":
            paths.append((folder, value))
        else:
            fields.setdefault(key, value)
    check_count(len(packages))
    return Parsed(packages, files)


def _package(fields: dict[bytes, bytes]) -> Package:
    """Raises Unread."""
    return package(fields.get(b"P", b""), fields.get(b"V", b""), fields.get(b"A", b""))
