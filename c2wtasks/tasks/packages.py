"""packages.json, which the task `tree:` makes, as it has the root in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property

from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers.content import read_open
from c2wtasks.layers.entry import TarEntry
from c2wtasks.packages import listed, report
from c2wtasks.packages.reading import Remembered
from c2wtasks.rootfs.writing.copying import OpenTars
from c2wtasks.tasks import reuse
from c2wtasks.tasks.build import Site
from c2wtasks.tree.model import Content, Inode

_texts = Remembered(8)
"""Of other bundles with the same layers: a catalog has an image several times, with other options."""


class _Stored:
    """The layers of a bundle, as the store holds them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.tars = OpenTars(site.tar)

    @cached_property
    def diff_ids(self) -> Sequence[str]:
        """What names the layers."""
        return [str(layer.diff_id) for layer in self._site.layers]

    def read(self, content: Content, size: int) -> bytes:
        """The first `size` bytes of a file. Raises LayerError, OutputError."""
        tar = self.tars.descriptor(content.layer)
        try:
            return read_open(tar, content.offset, size, content.sparse)
        except OSError as error:
            path = self._site.store.tar(self._site.layers[content.layer].diff_id)
            raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error

    def entries(self, layer: int) -> Iterator[TarEntry]:
        """The entries of a layer. Raises UnusableIndex."""
        return self._site.store.entries(self._site.layers[layer].diff_id)


def text(site: Site, root: Inode) -> bytes:
    """The text of packages.json for the root that the layers of a bundle make.

    Raises LayerError, OutputError.
    """
    stored = _Stored(site)

    def made() -> bytes:
        with closing(stored.tars):
            return listed.encode(report.report(root, stored))

    return reuse.packages(site, listed.VERSION, lambda: _texts.get(tuple(stored.diff_ids), made))
