"""A remote cache in a folder, such as one that machines mount."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from errno import ELOOP
from typing import BinaryIO
from urllib.parse import unquote

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.oci.access import Access
from c2wtasks.registry.limits import Limits
from c2wtasks.remote.transport import Blob, Incoming, Kept, Name, RemoteFailure, blob_path, kept_at


class Folder:
    """The folder, in which others may write, too."""

    def __init__(self, root: str) -> None:
        self.root = root

    def get(self, name: Name, limit: int) -> bytes | None:
        """What has this name."""
        try:
            return safely.read(f"{self.root}/{name.path}", limit)
        except FileNotFoundError:
            self._check()
            return None
        except OSError as error:
            raise _failure(error) from error

    def put(self, name: Name, content: bytes, blobs: Sequence[Blob]) -> None:
        """Gives a content its name."""
        try:
            files.write(f"{self.root}/{name.path}", content, shared=True)
        except OutputError as error:
            raise RemoteFailure(error.message) from error

    def open(self, blob: Blob) -> Incoming | None:
        """A blob; None where it is not there."""
        try:
            return _Reading(open(safely.open_file(f"{self.root}/{blob_path(blob.sha256)}"), "rb"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failure(error) from error

    def has(self, blob: Blob) -> bool:
        """Whether a blob is there, with all its bytes."""
        return safely.size(f"{self.root}/{blob_path(blob.sha256)}") == blob.size

    def send(self, blob: Blob, content: BinaryIO) -> None:
        """Puts a blob there."""
        path = f"{self.root}/{blob_path(blob.sha256)}"
        try:
            with files.temporary(os.path.dirname(path), shared=True) as made:
                shutil.copyfileobj(content, made.stream, 1 << 20)
                files.give_name(made, path, sync=False)
        except OSError as error:
            raise _failure(error) from error

    def kept(self) -> Iterator[Kept]:
        """All that is there."""
        now = time.time()
        for top in ("claims", "indexes", "documents", "blobs"):
            try:
                found = list(files.below(f"{self.root}/{top}"))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _failure(error) from error
            for path in found:
                try:
                    state = safely.lstat(f"{self.root}/{top}/{path}")
                except OSError:
                    continue
                if (one := kept_at(f"{top}/{path}", state.st_size, now - state.st_mtime)) is not None:
                    yield one

    def remove(self, what: Kept) -> None:
        """Removes something that is there."""
        try:
            safely.unlink(f"{self.root}/{what.path}")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _failure(error) from error

    def _check(self) -> None:
        """Raises RemoteFailure: the folder itself is not there, as where nothing is mounted."""
        if not os.path.isdir(self.root):
            raise RemoteFailure("there is no such folder")


class _Reading:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        try:
            return self._stream.read(size)
        except OSError as error:
            raise _failure(error) from error

    def close(self) -> None:
        self._stream.close()


def _failure(error: OSError) -> RemoteFailure:
    return RemoteFailure("a link leads elsewhere" if error.errno == ELOOP else os_reason(error))


def opened(url: str, access: Access, limits: Limits) -> Folder:
    """The remote cache at `file:///FOLDER`."""
    return Folder(unquote(url.removeprefix("file://")).rstrip("/"))
