"""The file of an image while it is written, with the tars that the contents come from."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from c2wtasks.disk import files, removing, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.rootfs.writing.copying import OpenTars, TarByNumber
from c2wtasks.tree.paths import shown_path
from c2wtasks.tree.treefile import ROOT, Node


@dataclass(slots=True)
class ImageFile:
    """An image that is written. `at` is the node at work, which is named when something goes wrong."""

    layers: OpenTars
    descriptor: int = -1
    at: int = ROOT


@contextmanager
def image_file(path: str, length: int, nodes: Sequence[Node], tars: TarByNumber) -> Iterator[ImageFile]:
    """The file `path`, made anew, with `length` zeros, 0644 whatever the umask, to write an image of `nodes` into.

    Raises OutputError in place of an OSError, within or before.
    """
    made = ImageFile(OpenTars(tars))
    try:
        removing.remove_tree(path)  # what was left there
        made.descriptor = safely.create(path)
        files.set_mode(made.descriptor, 0o644)
        os.ftruncate(made.descriptor, length)
        yield made
    except OSError as error:
        need = f" (the whole image takes {length} bytes)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise OutputError(f"{path}: {shown_path(nodes, made.at)}: {os_reason(error)}{need}") from error
    finally:
        made.layers.close()
        if made.descriptor >= 0:
            os.close(made.descriptor)
