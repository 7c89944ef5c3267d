"""The form `imagemounter`: an image layout as container2wasm's image mounter for browsers reads it over HTTP: an
index of one manifest, one layer, uncompressed or gzip."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from c2wtasks.errors import OutputError, os_reason
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.platform import Platform
from c2wtasks.rootfs import imagelayout, tar
from c2wtasks.rootfs.compressing import compressor
from c2wtasks.rootfs.copying import Tars
from c2wtasks.tree.treefile import TreeFile

_CHUNK = 1 << 20


def write(tree: TreeFile, tars: Tars, folder: str, platform: Platform, image_json: str, *, gzip: bool) -> None:
    """Makes the layout in `folder`, which is there and empty. The image config is that in the file `image_json`, of
    one layer and without a history.

    Raises OutputError, and what `tars` raises.
    """

    def config(diff_id: Digest) -> bytes:
        with open(image_json, "rb") as stream:
            fields: dict[str, Any] = msgspec.json.decode(stream.read())
        fields["rootfs"] = {"type": "layers", "diff_ids": [str(diff_id)]}
        fields.pop("history", None)
        return msgspec.json.encode(fields)

    def put_layer(path: str) -> Digest | None:
        if not gzip:
            tar.write(tree, tars, path)
            return None
        plain = f"{path}.tar"
        tar.write(tree, tars, plain)
        try:
            return _compress(plain, path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {os_reason(error)}") from error

    imagelayout.write(folder, platform, config, put_layer, suffix="+gzip" if gzip else "")


def _compress(plain: str, path: str) -> Digest:
    """Puts the compressed content of `plain`, which is removed, at `path`; gives the digest of what it was."""
    hasher = Digest.of(b"").hasher()
    made = compressor("gzip")
    with open(plain, "rb", buffering=0) as source, open(path, "wb") as target:
        while content := source.read(_CHUNK):
            hasher.update(content)
            target.write(made.compress(content))
        target.write(made.flush())
    os.unlink(plain)
    return Digest("sha256", hasher.hexdigest())
