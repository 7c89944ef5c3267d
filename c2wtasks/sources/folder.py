"""The files below a folder."""

from __future__ import annotations

import os
import shlex
import stat

from c2wtasks.disk.below import LeadsOut, stat_below
from c2wtasks.errors import SourceError, os_reason
from c2wtasks.sources.model import BlobPlace
from c2wtasks.sources.reading import NoSuchPath, not_regular, unreadable


class Folder:
    """A `Files` over the folder `path`.

    Links are followed as long as they stay in the folder; those that lead out only where nobody but root and
    ourselves can have put them there (see `opening`). Where the names come from the source itself, give `contained`:
    what lies outside of the folder is then refused, and a file that several links lead to has one place.
    """

    is_folder = True

    def __init__(self, path: str, *, contained: bool = False) -> None:
        """Raises SourceError: not a folder, or not readable."""
        self.path = path
        self._root: str | None = None
        try:
            mode = os.stat(path).st_mode
            if contained:
                self._root = os.path.realpath(path, strict=True)
        except FileNotFoundError:
            raise NoSuchPath(f"{path} does not exist") from None
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error
        if not stat.S_ISDIR(mode):
            raise SourceError(f"{path} is not a folder")

    def place(self, name: str) -> BlobPlace | None:
        """Where the regular file `name` lies; None where there is none.

        Raises SourceError: it is something else, cannot be reached, or lies outside.
        """
        full = os.path.join(self.path, name)
        try:
            if self._root is not None:
                full = self._inside(self._root, name)
            found, led_out = stat_below(self.path, full[len(self.path) :].lstrip("/"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except LeadsOut as error:
            raise SourceError(
                f"{full}: {os_reason(error)}",
                hint=f"copy it with what its links lead to, and name the copy: cp -RL {shlex.quote(self.path)} COPY",
            ) from error
        except (OSError, ValueError) as error:
            raise unreadable(full, error) from error
        if not stat.S_ISREG(found.st_mode):
            raise not_regular(full, found.st_mode)
        return BlobPlace(full, 0, found.st_size, folder=self.path, led_out=led_out)

    def _inside(self, root: str, name: str) -> str:
        """The path of `name` without links in it. Raises OSError, ValueError, SourceError."""
        real = os.path.realpath(os.path.join(root, name), strict=True)
        below = os.path.relpath(real, root)
        if os.path.isabs(name) or below == os.pardir or below.startswith(os.pardir + os.sep):
            raise SourceError(f"{self.path}: the file {name!r} lies outside of this folder")
        return os.path.join(self.path, below)
