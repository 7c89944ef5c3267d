"""What of a catalog is audited: so much, and no more, of its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from c2wtasks.bundlefile.model import Bundle, BundleFile
from c2wtasks.errors import UserError
from c2wtasks.layers.store import Store
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.memo import Memo
from c2wtasks.sources.model import Layer
from c2wtasks.tasks.build import Build


class Catalog(Protocol):
    """A catalog that was loaded: its `builds`, those of them that cannot be made, as they are `lacking` something,
    and the bundles whose image cannot be read; its layers by their keys, each with its copies; the store, and what
    is remembered of images."""

    file: BundleFile
    store: Store
    memo: Memo
    builds: list[Build]
    lacking: list[tuple[Build, Mapping[str, UserError]]]
    broken: list[tuple[Bundle, UserError]]
    layers: dict[str, list[Layer]]

    @property
    def documents(self) -> Documents:
        """The documents in the cache."""
