"""The form `dir`: the tree as real files in a folder, each created once, straight from the layers' tars.

What is held: all that the file system of the folder can hold and whoever writes it may make; in nanoseconds, with
holes, with the names of a file as hard links.

What is not: see `writer.write`. It is found by trying, and said in the bundle's record (`rights.LeftOut`).
"""

from __future__ import annotations

from c2wtasks.rootfs.dir.folders import Young, settled, stamps
from c2wtasks.rootfs.dir.pool import Pool, Shared
from c2wtasks.rootfs.dir.previous import Previous, Spare
from c2wtasks.rootfs.dir.writer import write

__all__ = ["Pool", "Previous", "Shared", "Spare", "Young", "settled", "stamps", "write"]
