"""Removes what whiteouts hide, and remembers what the layer itself had written of that."""

from __future__ import annotations

from errno import EINVAL, ENAMETOOLONG

from c2wtasks.tree import model
from c2wtasks.tree.folder import Folder
from c2wtasks.tree.limits import Spent
from c2wtasks.tree.lookup import NAME_MAX
from c2wtasks.tree.model import Child, Inode
from c2wtasks.tree.refusal import refused

WHITEOUT = b".wh."
AUFS = b".wh..wh."
_OPAQUE = b".wh..wh..opq"


class Removals:
    """What the layer of a number removes.

    An opaque marker spares what this layer wrote: of what is there, the names tell it; of what went again, its
    resolved path is kept, as a folder may be there again that no entry names.
    """

    def __init__(self, layer: int, spent: Spent) -> None:
        self._layer = layer
        self._mark = model.mark(layer)  # on the names that it wrote
        self._spent = spent
        self._gone: set[bytes] = set()

    def has(self, parts: list[bytes]) -> bool:
        """Whether something that this layer wrote at the path of these `parts` went again."""
        return bool(self._gone) and b"/".join(parts) in self._gone

    def add(self, path: bytes) -> None:
        """Notes that this layer has named `path`, and that nothing is there now.

        Raises OSError: there are too many such paths.
        """
        self._spent.take_path(path)
        self._gone.add(path)

    def note(self, child: Child, path: bytes) -> None:
        """Notes what goes with `child`, which was at `path`, of what this layer wrote.

        Raises OSError.
        """
        todo = [(child, path)]
        while todo:
            child, path = todo.pop()
            if model.mark_of(child) == self._mark:
                self.add(path)
            if isinstance(child, Inode):
                todo.extend(
                    (below, path + b"/" + name)
                    for name, below in child.names().items()
                    if isinstance(below, Inode) or model.mark_of(below) == self._mark
                )

    def whiteout(self, folder: Folder, base: bytes) -> None:
        """Does what a whiteout with the name `base` says in `folder`.

        Raises OSError.
        """
        if base == _OPAQUE:
            self._clear(folder.inode, folder.path)
            return
        hidden = base[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise OSError(EINVAL, "invalid whiteout name")
        if len(hidden) > NAME_MAX:
            raise refused(ENAMETOOLONG)
        removed = folder.names.pop(hidden, None)
        if removed is not None:
            self.note(removed, folder.path_of(hidden))

    def _clear(self, directory: Inode, path: bytes) -> None:
        """Removes what lower layers left in `directory`, however deep, and spares what this layer wrote."""
        todo = [(directory, path)]
        while todo:
            here, here_path = todo.pop()
            names = here.names()
            here.changed = self._layer
            self._spent.steps.take(len(names))
            mark = self._mark
            for name, child in [
                one for one in names.items() if not isinstance(one[1], bytes) or not one[1].startswith(mark)
            ]:
                spared = model.mark_of(child) == mark
                if not isinstance(child, Inode):
                    if not spared:
                        del names[name]
                    continue
                path = here_path + b"/" + name if here_path else name
                if spared:
                    todo.append((child, path))
                else:
                    del names[name]
                    self.note(child, path)
