"""A bundle with its image, and the site where it is made: what the tasks of all families work with.

Each family of tasks is a module beside this one. Its `inputs` gives all that can change the bytes which its `make`
makes, and `make` gets these inputs and the site; its `task` gives doit's task. A `make` may be killed at any moment
and run again: its outputs appear whole or not at all, and what it finds of an earlier try it removes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.disk import files, fingerprint, safely
from c2wtasks.disk.holding import held_if_there
from c2wtasks.errors import LayerError, OutputError, os_reason
from c2wtasks.layers.receipt import MAX_SMALL_BLOB
from c2wtasks.layers.store import Store
from c2wtasks.output.places import IMAGE, INITCONFIG, SPEC, Places
from c2wtasks.sources.model import Image, Layer

if TYPE_CHECKING:
    from c2wtasks.tree.treefile import TreeFile

Task = dict[str, Any]
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Site:
    """Where a bundle is made: the paths of its files, the layer store, and the layers of its image.

    Nothing in it changes a byte of what is made, but through the inputs that name it: layers are taken from here, and
    named, by diffID, by the inputs of the tree.
    """

    places: Places
    store: Store
    layers: tuple[Layer, ...]

    def tree(self) -> tuple[TreeFile, str]:
        """The tree that the task `tree:` left, and its fingerprint.

        Raises OutputError.
        """
        from c2wtasks.tree import treefile

        return self._tree(lambda content: (treefile.decode(content), fingerprint.of_bytes(content)))

    def tar_sizes(self) -> Sequence[int]:
        """The bytes of the layers' tars, as the task `tree:` noted them.

        Raises OutputError.
        """
        from c2wtasks.tree import treefile

        return self._tree(treefile.tar_sizes)

    def _tree(self, read: Callable[[bytes], T]) -> T:
        from c2wtasks.tree import treefile

        path = self.places.tree
        try:
            return read(safely.read(path, treefile.MAX_SIZE))
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error
        except ValueError as error:
            raise OutputError(f"{path}: {error}", hint="delete it and run again") from error

    def tar(self, number: int) -> str:
        """The path of a layer's tar, which is made again if it was evicted from the store since the layer was read.

        Raises LayerError, OutputError.
        """
        layer = self.layers[number]
        path = self.store.tar(layer.diff_id)
        receipt = self.store.receipt(layer.digest) if layer.digest else None
        if (layer.digest and receipt is None) or not self.store.has_tar(layer.diff_id, receipt):
            index = self.store.index(layer.diff_id)
            before = safely.identity(index) if safely.exists(index) else None
            self.store.ensure([layer])
            if before is not None and safely.identity(index) != before:
                raise LayerError(
                    f"layer {layer.short}: its index was not that of its content; it is now",
                    hint="run again; where a remote cache gave it, distrust who signed it",
                )
        self.store.use(layer.diff_id)
        return path


@dataclass(frozen=True, slots=True)
class Build:
    """A bundle with its image, and the site where it is made."""

    bundle: Bundle
    image: Image
    site: Site
    blob_bytes: int = field(init=False)
    """The bytes of all blobs that the bundle needs: a measure of the work that it makes."""

    def __post_init__(self) -> None:
        size = sum(layer.place.size for layer in self.image.layers) if self.has_rootfs else 0
        object.__setattr__(self, "blob_bytes", size)

    @property
    def is_small(self) -> bool:
        """Whether what is made of its layers takes no time to speak of."""
        return self.blob_bytes <= MAX_SMALL_BLOB

    @property
    def places(self) -> Places:
        """Where the bundle's files lie."""
        return self.site.places

    @property
    def has_rootfs(self) -> bool:
        """Whether the bundle has a root. An external one is its initconfig.json alone, as a rule."""
        return bool(self.bundle.forms)

    @property
    def default_mtime_ns(self) -> int:
        """The mtime of directories that no layer names, and of the bundle's own folders."""
        return self.image.parsed.created_ns

    @property
    def part_names(self) -> tuple[str, ...]:
        """The small files of the bundle that each run looks at, but for its record. packages.json is none of them: it
        follows from the tree, nobody boots by it, and one file more would cost each run with nothing to do."""
        return (IMAGE, SPEC, INITCONFIG) if self.has_rootfs else (INITCONFIG,)


def in_private(make: Callable[Concatenate[Site, P], None]) -> Callable[Concatenate[Site, P], None]:
    """A `make` that works with the bundle's private folder, which is made, held open."""

    @wraps(make)
    def made(site: Site, /, *given: P.args, **named: P.kwargs) -> None:
        with files.at_work_in(site.places.parts):
            make(site, *given, **named)

    return made


def of_layers(make: Callable[Concatenate[Site, P], None]) -> Callable[Concatenate[Site, P], None]:
    """The same, with the folders of the bundle's layers held open, too."""

    @wraps(make)
    def made(site: Site, /, *given: P.args, **named: P.kwargs) -> None:
        folders = site.store.folders(layer.diff_id for layer in site.layers)
        with files.at_work_in(site.places.parts), held_if_there(*folders):
            make(site, *given, **named)

    return made
