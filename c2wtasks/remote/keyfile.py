"""Keys that are read from files: those that are trusted, and the one that signs what is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from c2wtasks.disk import safely
from c2wtasks.errors import os_reason
from c2wtasks.oci.signingkey import MAX_SIZE, KeyProblem, MissingPackages
from c2wtasks.remote.transport import RemoteFailure

Key = TypeVar("Key")


def read(path: str, parse: Callable[[bytes], Key]) -> Key:
    """The key that `parse`, of `oci.signingkey`, finds in a file.

    Raises RemoteFailure: it cannot be read, or the packages for it are not here.
    """
    try:
        return parse(safely.read(path, MAX_SIZE))
    except OSError as error:
        raise RemoteFailure(f"{path}: cannot be read: {os_reason(error)}") from error
    except KeyProblem as error:
        raise RemoteFailure(f"{path}: {error}") from error
    except MissingPackages as error:
        raise RemoteFailure("keys need the extra 'sign': pip install 'c2wtasks[sign]'") from error
