"""A remote cache on a web server: GET and HEAD, and PUT where it is written (as nginx has it with its DAV module)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import BinaryIO

from c2wtasks.oci.access import Access
from c2wtasks.oci.host import Host
from c2wtasks.registry.errors import Broken, RegistryError
from c2wtasks.registry.limits import Limits
from c2wtasks.registry.wire import Body, Response, Wire, end, split
from c2wtasks.remote.transport import Blob, Incoming, Kept, Name, RemoteFailure, blob_path

AUTHORIZATION = "C2WTASKS_REMOTE_AUTHORIZATION"
"""The variable with what the server is to be given as the header Authorization: `Bearer TOKEN`, `Basic ...`."""
_NOTHING = hashlib.sha256().hexdigest()
_THERE, _WRITTEN, _ABSENT = (200,), (200, 201, 204), (404, 410)


class Web:
    """The folder of a server at this URL."""

    def __init__(self, url: str, access: Access, limits: Limits) -> None:
        """Raises RemoteFailure: it is no URL, or has credentials in it."""
        self.url, self._limits = url, limits
        try:
            address = split(url, "its setting")[1]
        except RegistryError as error:
            raise RemoteFailure(str(error)) from error
        if url.startswith("http:"):  # as it was written so: what comes is checked anyway
            access = replace(access, hosts=((address, Host(insecure=True)),))
        self._wire = Wire(access, limits)

    def get(self, name: Name, limit: int) -> bytes | None:
        """What has this name."""
        return self.read(f"{self.url}/{name.path}", limit)

    def read(self, url: str, limit: int) -> bytes | None:
        """What is at a URL, of at most `limit` bytes; None where there is nothing."""
        incoming = self._arriving(url)
        if incoming is None:
            return None
        content = bytearray()
        try:
            while piece := incoming.read(limit + 1 - len(content)):
                content += piece
            if len(content) > limit:
                raise RemoteFailure(f"what it sends is longer than {limit} bytes")
            return bytes(content)
        finally:
            incoming.close()

    def put(self, name: Name, content: bytes, blobs: Sequence[Blob]) -> None:
        """Gives a content its name."""
        self._put(name.path, BytesIO(content), len(content), hashlib.sha256(content).hexdigest())

    def open(self, blob: Blob) -> Incoming | None:
        """A blob; None where it is not there."""
        return self._arriving(self._at(blob))

    def has(self, blob: Blob) -> bool:
        """Whether a blob is there, with all its bytes."""
        response = self._ask("HEAD", self._at(blob), (*_THERE, *_ABSENT))
        self._wire.discard(response)
        return response.status in _THERE and response.headers.get("Content-Length", "") == str(blob.size)

    def send(self, blob: Blob, content: BinaryIO) -> None:
        """Puts a blob there."""
        self._put(blob_path(blob.sha256), content, blob.size, blob.sha256)

    def kept(self) -> Iterator[Kept] | None:
        """Nothing can be told: servers have no common way of listing."""
        return None

    def remove(self, what: Kept) -> None:
        """Removes something by its name."""
        self._wire.discard(self._ask("DELETE", f"{self.url}/{what.path}", (*_WRITTEN, *_ABSENT)))

    def headers(self, method: str, url: str, sha256: str) -> dict[str, str]:
        """The headers that say who asks, of a request whose body has this SHA-256."""
        said = os.environ.get(AUTHORIZATION, "")
        return {"Authorization": said} if said else {}

    def _arriving(self, url: str) -> Arriving | None:
        response = self._ask("GET", url, (*_THERE, *_ABSENT))
        if response.status in _ABSENT:
            self._wire.discard(response)
            return None
        return Arriving(response, self._limits)

    def _at(self, blob: Blob) -> str:
        return f"{self.url}/{blob_path(blob.sha256)}"

    def _put(self, path: str, content: BinaryIO, size: int, sha256: str) -> None:
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        self._wire.discard(self._ask("PUT", f"{self.url}/{path}", _WRITTEN, headers, content, sha256))

    def _ask(
        self,
        method: str,
        url: str,
        good: Sequence[int],
        headers: dict[str, str] | None = None,
        body: BinaryIO | None = None,
        sha256: str = _NOTHING,
    ) -> Response:
        """Raises RemoteFailure: no answer, or none of these statuses."""
        try:
            own = self.headers(method, url, sha256)
            response = self._wire.ask(method, url, {**(headers or {}), **own}, body)
        except (Broken, RegistryError) as error:
            raise failure(error) from None
        if response.status not in good:
            end(response)
            raise RemoteFailure(f"{method} is answered with status {response.status}")
        if method == "GET" and response.length_remaining is None and not response.headers.get("Transfer-Encoding"):
            end(response)  # it may be one whose headers did not all come
            raise RemoteFailure("an answer does not say how long it is")
        return response


class Arriving:
    """The body of an answer."""

    def __init__(self, response: Response, limits: Limits) -> None:
        self._response = response
        self._body = Body(response, limits)

    def read(self, size: int, /) -> bytes:
        """Some of the bytes; none at the end."""
        try:
            return self._body.read(size) if size else b""
        except Broken as error:
            raise failure(error) from None

    def close(self) -> None:
        """Ends the connection, unless all was read."""
        if self._response.length_remaining == 0:
            self._response.release_conn()
        else:
            end(self._response)


def failure(error: Broken | RegistryError) -> RemoteFailure:
    """Why a host did not do what it was asked."""
    return RemoteFailure(error.reason if isinstance(error, Broken) else error.message)


def opened(url: str, access: Access, limits: Limits) -> Web:
    """The remote cache at `http://...` or `https://...`."""
    return Web(url.rstrip("/"), access, limits)
