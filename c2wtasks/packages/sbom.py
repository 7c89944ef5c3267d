"""Software bills of materials: what they are made from, and what is alike in all formats. Equal for equal bundles.

Each format is a module of its name, with the function `write`, which is loaded where one is made.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import NamedTuple

from c2wtasks.packages.listed import Listed, Report

TOOL = "c2wtasks"
"""Who says that he has made it. Without a version: a bundle does not change with ours."""


class Subject(NamedTuple):
    """The bundle that is described, as its bundle.json has it: `layers` are the digests of the blobs, or the diffIDs
    of those that have none; `manifest` is "" where the source has none. `created_ns` is nanoseconds since 1970, up to
    2262."""

    bundle: str
    source: str
    manifest: str
    config: str
    layers: tuple[str, ...]
    created_ns: int

    @property
    def digest(self) -> str:
        """What names the image best."""
        return self.manifest or self.config

    @property
    def created(self) -> str:
        """When the image was made: RFC 3339, in UTC, in whole seconds."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.created_ns // 10**9))

    def layer(self, package: Listed) -> str:
        """The layer that brought a package; "" where that is not known."""
        return "" if package.layer is None else self.layers[package.layer]


Writer = Callable[[Subject, Report], bytes]


def writer_of(kind: str) -> Writer:
    """What writes documents of a format of SBOMS."""
    writer: Writer = import_module(f"{__package__}.{kind}").write
    return writer


def references(packages: Iterable[Listed]) -> Iterator[str]:
    """A name for each package that no other has, whatever their package URLs are: that; with a number where it is
    there again, and where it might be taken for one with a number."""
    seen: Counter[str] = Counter()
    for one in packages:
        seen[one.purl] += 1
        yield one.purl if seen[one.purl] == 1 and "#" not in one.purl else f"{one.purl}#{seen[one.purl]}"


def unowned(report: Report) -> int:
    """How many files of the root belong to no package."""
    return sum(one.files for one in report.unowned)
