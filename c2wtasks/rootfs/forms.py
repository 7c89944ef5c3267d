"""The table of the forms that are files: how each is made of the tree. (Those that are folders: `directory`.)

The writers are loaded when they are needed: most runs need none.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

from c2wtasks.bundlefile.model import Bundle, Form
from c2wtasks.disk import safely
from c2wtasks.rootfs.holding import EVERYTHING, XATTRS_BUT_ACLS, Limits
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.tree.graft import AddedFile, grafted
from c2wtasks.tree.treefile import TreeFile

if TYPE_CHECKING:
    from c2wtasks.rootfs.squashfs import Compression as SquashCompression
    from c2wtasks.rootfs.writing.compressing import Compression


_IMAGE = "image.json"
_JSON = (_IMAGE, "spec.json", "initconfig.json")
_1900, _2156 = -2_208_988_800, 5_869_584_000  # the beginning of these years, in seconds since 1970


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
    """How a form is made: `make` puts its files into an empty folder. `json_files`: which of the bundle's are in it,
    too. `tool` is the program that it needs, in Debian's `package`. What `limits` leave out is told. `holes`: whether
    sparse files keep their holes."""

    make: Callable[[Making, Form, str], None]
    json_files: Callable[[Form], tuple[str, ...]] = lambda _form: ()
    tool: str = ""
    package: str = ""
    limits: Limits = EVERYTHING
    holes: Callable[[Form], bool] = lambda _form: True


@cache
def is_here(tool: str) -> bool:
    return shutil.which(tool) is not None


def _iso(making: Making, form: Form, folder: str) -> None:
    from c2wtasks.rootfs import iso

    is_whole = _is_whole(form)
    tree, tars = making.whole("") if is_whole else (making.tree, making.tars)
    iso.write(tree, tars, f"{folder}/{'vm' if is_whole else 'rootfs'}.iso", created_ns=making.created_ns)


def _is_whole(form: Form) -> bool:
    return form.option("tree") == "vm"


def _ext4(making: Making, form: Form, folder: str) -> None:
    from c2wtasks.rootfs import ext4

    size = form.option("size")
    ext4.write(
        making.tree,
        making.tars,
        f"{folder}/rootfs.ext4",
        key=making.key,
        size=size if isinstance(size, int) else None,
        journal=bool(form.option("journal")),
    )


def _tar(making: Making, form: Form, folder: str) -> None:
    from c2wtasks.rootfs import tar

    compression = cast("Compression | None", form.option("compression"))
    suffix = {"gzip": ".gz", "zstd": ".zst", None: ""}[compression]
    level = cast("int | None", form.option("level"))
    path, sparse = f"{folder}/rootfs.tar{suffix}", form.option("sparse") is not False
    tar.write(making.tree, making.tars, path, compression=compression, level=level, sparse=sparse)


def _cpio(making: Making, _form: Form, folder: str) -> None:
    from c2wtasks.rootfs import cpio

    cpio.write(making.tree, making.tars, f"{folder}/rootfs.cpio")


def _squashfs(making: Making, form: Form, folder: str) -> None:
    from c2wtasks.rootfs import squashfs

    compression = cast("SquashCompression", form.option("compression") or "gzip")
    squashfs.write(making.tree, making.tars, f"{folder}/rootfs.squashfs", compression=compression)


def _erofs(making: Making, _form: Form, folder: str) -> None:
    from c2wtasks.rootfs import erofs

    created_ns = making.created_ns
    erofs.write(making.tree, making.tars, f"{folder}/rootfs.erofs", key=making.key, created_ns=created_ns)


def _context(making: Making, _form: Form, folder: str) -> None:
    from c2wtasks.rootfs import context

    safely.make_folder(f"{folder}/context")
    context.write(*making.whole("out/"), f"{folder}/context", making.bundle)


def _imagemounter(making: Making, form: Form, folder: str) -> None:
    from c2wtasks.rootfs import imagemounter

    safely.make_folder(f"{folder}/imagemounter")
    imagemounter.write(
        making.tree,
        making.tars,
        f"{folder}/imagemounter",
        making.bundle.platform,
        making.json_files[_IMAGE],
        gzip=form.option("compression") == "gzip",
    )


def _no_holes(_form: Form) -> bool:
    return False


def _json_of_vm(form: Form) -> tuple[str, ...]:
    return _JSON if _is_whole(form) else ()


MAKERS: dict[str, Maker] = {
    "tar": Maker(_tar, holes=lambda form: form.option("sparse") is not False),
    "cpio": Maker(_cpio, limits=Limits(xattrs=(), whole_seconds=True, first=0, last=2**32 - 1), holes=_no_holes),
    "iso": Maker(
        _iso, _json_of_vm, limits=Limits(xattrs=(), whole_seconds=True, first=_1900, last=_2156 - 1), holes=_no_holes
    ),
    "ext4": Maker(_ext4, limits=Limits(first=-(2**31), last=2**34 - 2**31 - 1, most_names=65_000)),
    "erofs": Maker(_erofs),
    "squashfs": Maker(
        _squashfs,
        tool="tar2sqfs",
        package="squashfs-tools-ng",
        limits=Limits(XATTRS_BUT_ACLS, whole_seconds=True, first=0, last=2**32 - 1),
        holes=_no_holes,
    ),
    "context": Maker(_context, lambda _form: _JSON),
    "imagemounter": Maker(_imagemounter, lambda _form: (_IMAGE,)),
}
