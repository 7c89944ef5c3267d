"""Pulling into a store of one's own, without doit."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from c2wtasks.errors import MAX_LINE, UserError
from c2wtasks.layers.store import Store
from c2wtasks.oci.access import Access
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.registry import client as clients
from c2wtasks.registry.limits import Limits
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.model import Image
from c2wtasks.sources.resolve import Resolver
from tests.support.images import tar

FAST = Limits(
    connect=5,
    hello=0.5,
    answer=1.5,
    stall=0.5,
    window=1,
    rate=50_000,
    first_pause=0.01,
    longest_pause=0.05,
    longest_wait=3,
)
BIG = random.Random(7).randbytes(900_000)
ONE = [tar({"one": "1"})]  # the layers of the image that the fixture `one` is
Environ = Callable[[dict[str, str]], None]


@dataclass
class Pulling:
    """Pulls into a store of its own."""

    folder: Path
    access: Access = field(default_factory=Access)

    @property
    def store(self) -> Store:
        return Store(str(self.folder / "layers"))

    def resolve(self, source: str, platform: str = "linux/amd64") -> Image:
        reference = Reference.parse(source)
        documents = Documents(str(self.folder / "documents"))
        return Resolver(self.access, documents).resolve(reference, reference.path, Platform.parse(platform))

    def pull(self, source: str, platform: str = "linux/amd64") -> list[bytes]:
        """The tars of the image's layers."""
        image = self.resolve(source, platform)
        for layer in image.layers:
            self.store.ensure([layer])
        return [Path(self.store.tar(layer.diff_id)).read_bytes() for layer in image.layers]

    def stored(self) -> set[str]:
        """The names of all finished files of the store."""
        root = self.folder / "layers"
        files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        return {name for name in files if not name.startswith(("locks/", "unfinished/"))}


def refusal(pulling: Pulling, source: str) -> str:
    """The one line of the error."""
    with pytest.raises(UserError) as caught:
        pulling.pull(source)
    line = str(caught.value)
    assert len(line) <= MAX_LINE
    assert line.isprintable()
    return line


def afresh(folder: Path) -> Pulling:
    """As another run, which remembers nothing of logins."""
    clients._client.cache_clear()
    return Pulling(folder)
