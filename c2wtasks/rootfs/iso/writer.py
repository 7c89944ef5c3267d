"""Writes a tree as an image: plans all of it but the contents, and goes through it once."""

from __future__ import annotations

from c2wtasks.errors import OutputError
from c2wtasks.layers.fragments import in_tar, unpack
from c2wtasks.rootfs.iso.layout import IsoLayout, layout
from c2wtasks.rootfs.iso.records import BLOCK
from c2wtasks.rootfs.writing import copying
from c2wtasks.rootfs.writing.copying import SMALL, TarByNumber
from c2wtasks.rootfs.writing.gathering import Gathered
from c2wtasks.rootfs.writing.imagefile import ImageFile, image_file
from c2wtasks.tree.treefile import TreeFile

_VOLUME_ID_MAX = 32
_D_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def write(tree: TreeFile, tars: TarByNumber, path: str, *, volume_id: str = "ROOTFS", created_ns: int = 0) -> None:
    """Makes the file `path`, 0644, an image of the tree. The same arguments give the same bytes, whoever calls and
    when.

    `volume_id` is 1 to 32 of A-Z, 0-9 and _; `created_ns` the time at which the volume says it was made.

    Raises OutputError, which names what in the tree cannot be held; and what `tars` raises.
    """
    if not 0 < len(volume_id) <= _VOLUME_ID_MAX or not _D_CHARACTERS.issuperset(volume_id):
        raise OutputError(f"{path}: {volume_id!r} is no volume id: that is 1 to {_VOLUME_ID_MAX} of A-Z, 0-9 and _")
    try:
        made = layout(tree, volume_id, created_ns)
    except OutputError as error:
        raise OutputError(f"{path}: {error.message}", hint=error.hint) from None
    with image_file(path, made.size, tree.nodes, tars) as target:
        _write(tree, made, target)


def _write(tree: TreeFile, made: IsoLayout, target: ImageFile) -> None:
    """From the front to the end; what is not written is a hole, and reads as zeros.

    Small contents are gathered: one system call per file to read, one per megabyte to write.
    """
    small = Gathered(target.descriptor, BLOCK)
    at = 0
    for piece in made.head:
        small.put(at, piece)
        at += len(piece)
    assert at == made.head_size
    for index, node in enumerate(tree.nodes):
        if not node.size or node.link >= 0:
            continue
        target.at = index
        assert node.content is not None
        layer, offset, sparse = node.content
        tar, to = target.layers.descriptor(layer), made.offset(index)
        if sparse is not None:
            for at, length, start in in_tar(offset, unpack(sparse)):
                copying.copy(tar, start, target.descriptor, length, to + at)
        elif node.size > SMALL:
            copying.copy(tar, offset, target.descriptor, node.size, to)
        else:
            small.put(to, copying.read(tar, offset, node.size))
    small.flush()
