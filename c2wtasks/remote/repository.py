"""A remote cache in a repository of an OCI registry: names are tags, of manifests that name the blobs of the outputs
as their layers, so that the registry's own collector of garbage spares them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urljoin

import msgspec

from c2wtasks.oci.access import Access, Endpoint
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import OCI_MANIFEST
from c2wtasks.oci.imagename import Repository
from c2wtasks.registry.client import Client
from c2wtasks.registry.errors import Broken, NotThere, RegistryError
from c2wtasks.registry.limits import Limits
from c2wtasks.registry.push import Pushing
from c2wtasks.remote.transport import Blob, Incoming, Kept, Name, RemoteFailure, name_of
from c2wtasks.remote.web import Arriving, failure

ARTIFACT = "application/vnd.c2wtasks.remote.v1"
_CONTENT = "dev.c2wtasks.content"  # an annotation
_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_BYTES = "application/octet-stream"
_MAX_MANIFEST = 4 << 20
_INLINE = 1 << 18
_MAX_TAGS = 1 << 20
T = TypeVar("T")


class _Layer(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    digest: str
    size: int


class _Manifest(msgspec.Struct, frozen=True, rename="camel"):
    artifact_type: str = ""
    layers: tuple[_Layer, ...] = ()
    annotations: dict[str, str] = {}


class _Tags(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] | None = None


_MANIFESTS = msgspec.json.Decoder(_Manifest)
_TAG_LISTS = msgspec.json.Decoder(_Tags)


class InRegistry:
    """The repository."""

    def __init__(self, repository: Repository, access: Access, limits: Limits) -> None:
        self._client = Client(access, limits)
        self._pushing = Pushing(self._client, repository)
        self._limits = limits

    def get(self, name: Name, limit: int) -> bytes | None:
        """What has this name."""
        text = self._asked(name.tag, lambda endpoint: self._manifest(endpoint, name))
        if text is None:
            return None
        try:
            manifest = _MANIFESTS.decode(text)
            if manifest.artifact_type != ARTIFACT:
                raise ValueError("it is another's")
            if _CONTENT in manifest.annotations:
                return base64.b64decode(manifest.annotations[_CONTENT], validate=True)[: limit + 1]
            digest, size = Digest.parse(manifest.layers[0].digest), manifest.layers[0].size
        except (ValueError, IndexError, msgspec.MsgspecError, RecursionError) as error:
            raise RemoteFailure(f"its tag {name.tag} is none of ours") from error
        if size > limit:
            raise RemoteFailure(f"{name.tag} is longer than {limit} bytes")
        return self._asked(digest.short, lambda endpoint: self._blob(endpoint, digest, size))

    def put(self, name: Name, content: bytes, blobs: Sequence[Blob]) -> None:
        """Gives a content its name."""
        layers = [_descriptor(Digest("sha256", one.sha256), one.size, _BYTES) for one in blobs]
        annotations = {}
        if len(content) <= _INLINE and name.signer:
            annotations[_CONTENT] = base64.b64encode(content).decode()
        else:
            layers.insert(0, self._sent(content, _BYTES))
        empty = self._sent(_EMPTY, _EMPTY_TYPE)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": ARTIFACT,
            "config": empty,
            "layers": layers or [empty],
            "annotations": annotations,
        }
        text = msgspec.json.encode(manifest, order="sorted")
        self._done(lambda: self._pushing.manifest(text, OCI_MANIFEST, name.tag))

    def open(self, blob: Blob) -> Incoming | None:
        """A blob; None where it is not there."""
        digest = Digest("sha256", blob.sha256)

        def ask(endpoint: Endpoint) -> Incoming:
            return Arriving(self._client.blob(endpoint, digest, 0, blob.size).response, self._limits)

        return self._asked(digest.short, ask)

    def has(self, blob: Blob) -> bool:
        """Whether a blob is there."""
        return bool(self._done(lambda: self._pushing.has_blob(Digest("sha256", blob.sha256))))

    def send(self, blob: Blob, content: BinaryIO) -> None:
        """Puts a blob there."""
        digest = Digest("sha256", blob.sha256)
        self._done(lambda: self._pushing.blob(digest, blob.size, lambda: _LeftOpen(content)))

    def kept(self) -> Iterator[Kept]:
        """The names; of blobs the registry tells nothing."""
        path: str | None = "tags/list?n=1000"
        for _ in range(_MAX_TAGS):
            if path is None:
                return
            asked = path

            def ask(endpoint: Endpoint, asked: str = asked) -> tuple[bytes, str]:
                response, by = self._client.asker.ask(endpoint, "GET", asked, {}, "its tags")
                text = self._client.read_whole(response, by, "its tags", None, _MAX_MANIFEST)
                link = response.headers.get("Link", "")
                following = link[link.find("<") + 1 : link.find(">")] if 'rel="next"' in link else ""
                return text, urljoin(by.last, following) if following else ""

            found = self._asked("its tags", ask)
            if found is None:
                return
            try:
                tags = _TAG_LISTS.decode(found[0]).tags or ()
            except (msgspec.MsgspecError, RecursionError) as error:
                raise RemoteFailure("its list of tags cannot be read") from error
            yield from (Kept(name) for tag in tags if (name := name_of(tag)) is not None)
            path = found[1] or None

    def remove(self, what: Kept) -> None:
        """Removes a name: the manifest that has it."""
        name = what.name
        if name is None:
            return
        text = self._asked(name.tag, lambda endpoint: self._manifest(endpoint, name))
        if text is not None:
            path = f"manifests/{Digest.of(text)}"

            def delete(endpoint: Endpoint) -> None:
                response, _ = self._client.asker.ask(endpoint, "DELETE", path, {}, name.tag)
                self._client.asker.discard(response)

            self._asked(name.tag, delete)

    def _manifest(self, endpoint: Endpoint, name: Name) -> bytes:
        what = f"tag {name.tag!r}"
        headers = {"Accept": OCI_MANIFEST}
        response, asked = self._client.asker.ask(endpoint, "GET", f"manifests/{name.tag}", headers, what)
        return self._client.read_whole(response, asked, what, None, _MAX_MANIFEST)

    def _blob(self, endpoint: Endpoint, digest: Digest, size: int) -> bytes:
        response, asked = self._client.asker.ask(endpoint, "GET", f"blobs/{digest}", {}, digest.short)
        return self._client.read_whole(response, asked, digest.short, digest, size)

    def _sent(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = Digest.of(content)
        self._done(lambda: self._pushing.blob(digest, len(content), lambda: BytesIO(content)))
        return _descriptor(digest, len(content), media_type)

    def _asked(self, what: str, ask: Callable[[Endpoint], T]) -> T | None:
        """What `ask` gives of the registry, tried again where that may help."""
        return self._done(lambda: self._client.patiently(self._pushing.endpoint, what, ask))

    def _done(self, act: Callable[[], T]) -> T | None:
        """What `act` gives; None where the registry has no such thing.

        Raises RemoteFailure.
        """
        try:
            return act()
        except NotThere:
            return None
        except (Broken, RegistryError) as error:
            raise failure(error) from None


class _LeftOpen(BytesIO):
    """A stream that stays open for whoever has it."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def read(self, size: int | None = -1, /) -> bytes:
        return self._stream.read(-1 if size is None else size)

    def seek(self, at: int, whence: int = 0, /) -> int:
        return self._stream.seek(at, whence)


def _descriptor(digest: Digest, size: int, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(digest), "size": size}


def opened(url: str, access: Access, limits: Limits) -> InRegistry:
    """The remote cache at `oci://HOST/REPOSITORY`."""
    registry, _, path = url.removeprefix("oci://").partition("/")
    return InRegistry(Repository(registry, path), access, limits)
