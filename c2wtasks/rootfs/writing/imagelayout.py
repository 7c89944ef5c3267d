"""An OCI image layout (image-spec 1.1, image-layout.md) of one image with one layer: the root, merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, REF_NAME
from c2wtasks.oci.platform import Platform
from c2wtasks.rootfs import tar
from c2wtasks.rootfs.writing.compressing import Compression
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.tree.treefile import TreeFile

TAG = "latest"
LAYER = "application/vnd.oci.image.layer.v1.tar"

Fields = dict[str, Any]


def write(
    folder: str,
    platform: Platform,
    config: Callable[[Digest], bytes],
    tree: TreeFile,
    tars: TarByNumber,
    *,
    compression: Compression | None = None,
) -> dict[str, str]:
    """Makes the layout in `folder`, which is there and empty; its image has the tag `latest`, and `tree` as its
    layer. `config` gives the image config, knowing the layer's diffID. Gives the SHA-256 of the layer's file, in hex,
    by its path in the layout.

    Raises OutputError, and what `config` and `tars` raise.
    """
    blobs = f"{folder}/blobs/sha256"
    try:
        files.make_folders(blobs)
        unfinished = f"{folder}/layer"
        diff_id, digest = tar.write_hashed(tree, tars, unfinished, compression=compression)
        media_type = f"{LAYER}+{compression}" if compression else LAYER
        layer = {"mediaType": media_type, "digest": str(digest), "size": safely.lstat(unfinished).st_size}
        safely.rename(unfinished, f"{blobs}/{digest.hex}")
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _put(blobs, OCI_CONFIG, config(diff_id)),
            "layers": [layer],
        }
        described = _put(blobs, OCI_MANIFEST, msgspec.json.encode(manifest))
        described["annotations"] = {REF_NAME: TAG}
        described["platform"] = platform_fields(platform)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [described]}
        _write(f"{folder}/index.json", msgspec.json.encode(index))
        _write(f"{folder}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {os_reason(error)}") from error
    return {f"blobs/sha256/{digest.hex}": digest.hex}


def platform_fields(platform: Platform) -> Mapping[str, str]:
    """A platform as a descriptor has it, without fields that are empty (image-spec, descriptor.md)."""
    fields = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
    return {name: value for name, value in fields.items() if value}


def _put(blobs: str, media_type: str, content: bytes) -> Fields:
    """The descriptor of a blob that holds `content`, which is written."""
    digest = Digest.of(content)
    _write(f"{blobs}/{digest.hex}", content)
    return {"mediaType": media_type, "digest": str(digest), "size": len(content)}


def _write(path: str, content: bytes) -> None:
    with open(safely.create(path), "wb") as stream:
        stream.write(content)
