"""What a form that is a file or a few is made of, and what its module says of how. (Those that are folders: `dir`.)

The modules are loaded when they are needed: most runs need none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from c2wtasks.bundlefile.model import Bundle, Form
from c2wtasks.disk import safely
from c2wtasks.rootfs.holding import EVERYTHING, FormLimits
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.tree.graft import AddedFile, grafted
from c2wtasks.tree.treefile import TreeFile


@dataclass(frozen=True, slots=True)
class Making:
    """What a form is made of. `json_files` maps the names of those of the bundle's other files that the form holds to
    where they lie; `key` is another for each root; `created_ns` is when the image was made."""

    bundle: Bundle
    tree: TreeFile
    tars: TarByNumber
    json_files: Mapping[str, str]
    key: bytes
    created_ns: int

    def whole(self, below: str) -> tuple[TreeFile, TarByNumber]:
        """The VM's whole root, with the container's in it, below the folder `below` ("" or "out/")."""
        layers = len(self.tree.layers)
        files = sorted(self.json_files.items())
        added = [
            AddedFile(f"{below}oci/{name}".encode(), safely.lstat(path).st_size, layers + number)
            for number, (name, path) in enumerate(files)
        ]
        tree = grafted(
            self.tree,
            f"{below}oci/rootfs".encode(),
            files=added,
            folders=[f"{below}oci/bundle".encode()],
            mtime_ns=self.created_ns,
        )
        return tree, lambda number: files[number - layers][1] if number >= layers else self.tars(number)


@dataclass(frozen=True, slots=True)
class Maker:
    """How a form is made: `make` puts its files into an empty folder, and gives the SHA-256, in hex, of those that it
    had to hash, by their paths there. What `limits` leave out is told. `holes`: whether sparse files keep their
    holes."""

    make: Callable[[Making, Form, str], Mapping[str, str] | None]
    limits: FormLimits = EVERYTHING
    holes: Callable[[Form], bool] = lambda _form: True


def maker_of(kind: str) -> Maker:
    """`MAKER` of the module that has the form's name."""
    maker: Maker = import_module(f"{__package__}.{kind}").MAKER
    return maker
