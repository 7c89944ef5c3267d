"""Which layer brought a package, where a database is one file that each layer writes anew: the lowest from which on
every version of the database has that very package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from c2wtasks.packages.model import Package, Parsed, Unread
from c2wtasks.packages.reading import MAX_DATABASE, Reading, Remembered
from c2wtasks.tree.model import Content

Parse = Callable[[bytes], Parsed]

_remembered = Remembered(256)


def layers(reading: Reading, parsed: Parsed, layer: int | None, parses: Mapping[bytes, Parse]) -> list[int | None]:
    """The layers that brought the packages of a database, which is as layer number `layer` has it. `parses` has what
    reads earlier versions of it, by their paths.

    None where that is not known, as earlier versions are too large.

    Raises LayerError, OutputError.
    """
    if not layer:
        return [layer] * len(parsed.packages)
    since: dict[Package, int] = {}
    try:
        for number in range(layer):
            for packages in _versions(reading, number, parses):
                since = {one: since.get(one, number) for one in packages}
    except Unread:
        return [None] * len(parsed.packages)
    return [since.get(one, layer) for one in parsed.packages]


def _versions(reading: Reading, number: int, parses: Mapping[bytes, Parse]) -> Iterator[frozenset[Package]]:
    """What the databases in a layer have; of those that cannot be read nothing is said. Raises Unread: they are too
    much to be read."""
    diff_id = reading.layers.diff_ids[number]
    for path, (offset, size, sparse) in _remembered.get(
        (diff_id,), lambda: _in_layer(reading, number, parses)
    ).items():
        reading.count(size)
        make = partial(_packages, reading, parses[path], Content(number, offset, sparse), size)
        try:
            yield _remembered.get((diff_id, path), make)
        except Unread:
            continue


def _packages(reading: Reading, parse: Parse, content: Content, size: int) -> frozenset[Package]:
    """Raises Unread, LayerError, OutputError."""
    if size > MAX_DATABASE:
        raise Unread("it is too large")
    return frozenset(parse(reading.layers.read(content, size)).packages)


def _in_layer(
    reading: Reading, number: int, parses: Mapping[bytes, Parse]
) -> dict[bytes, tuple[int, int, bytes | None]]:
    """Where the databases lie in a layer, by path."""
    found: dict[bytes, tuple[int, int, bytes | None]] = {}
    for entry in reading.layers.entries(number):
        if entry.kind == "0" and (path := entry.name.removeprefix(b"./").lstrip(b"/")) in parses:
            found[path] = entry.offset, entry.size, entry.sparse
    return found
