"""A blob as a stream that outlives its connections."""

from __future__ import annotations

from collections.abc import Sequence

from c2wtasks.oci.access import Endpoint
from c2wtasks.oci.digest import Digest
from c2wtasks.registry.client import Client
from c2wtasks.registry.errors import Broken, RegistryError
from c2wtasks.registry.patience import Patience
from c2wtasks.registry.wire import Body, end
from c2wtasks.telling.notices import tell

_CHUNK = 1 << 20


class BlobStream:
    """Reads a blob of `size` bytes once, from the byte `start` to its last, unchecked: whoever reads hashes.

    Where a connection breaks it asks for the rest, and goes on where it was; where an endpoint fails for good, the
    next one gives the rest.
    """

    def __init__(
        self, client: Client, endpoints: Sequence[Endpoint], digest: Digest, size: int, start: int = 0
    ) -> None:
        self._client = client
        self._endpoints = list(endpoints)
        self._digest = digest
        self._size = size
        self._at = start
        self._body: Body | None = None
        self._patience = self._new_patience()

    def read(self, size: int, /) -> bytes:
        """The next bytes, `size` at most; none at the end. Raises RegistryError."""
        want = min(size, self._size - self._at, _CHUNK)
        while want:
            try:
                if self._body is None:
                    self._body = self._client.blob(self._endpoints[0], self._digest, self._at, self._size)
                chunk = self._body.read(want)
                if not chunk:
                    raise Broken(f"the blob ended after {self._at} of {self._size} bytes")
            except (Broken, RegistryError) as error:
                self._failed(error)
                continue
            self._at += len(chunk)
            self._patience.came(len(chunk))
            return chunk
        return b""

    def close(self) -> None:
        """Gives the connection back, or ends it."""
        if self._body is not None:
            if self._at == self._size:
                self._client.asker.discard(self._body.response)
            else:
                end(self._body.response)
            self._body = None

    def _failed(self, error: Broken | RegistryError) -> None:
        if self._body is not None:
            end(self._body.response)
            self._body = None
        try:
            if isinstance(error, RegistryError):
                raise error
            self._patience.after(error)
        except RegistryError as final:
            if len(self._endpoints) == 1:
                raise
            tell(f"mirror {final}; asking the next")
            del self._endpoints[0]
            self._patience = self._new_patience()

    def _new_patience(self) -> Patience:
        return self._client.asker.patience(self._endpoints[0], self._digest.short)
