"""The form `imagemounter`: an image layout as container2wasm's image mounter for browsers reads it over HTTP: an
index of one manifest, one layer, uncompressed or gzip."""

from __future__ import annotations

from typing import Any

import msgspec

from c2wtasks.bundlefile.forms import IMAGE
from c2wtasks.bundlefile.model import Form
from c2wtasks.disk import safely
from c2wtasks.oci import godecode
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.platform import Platform
from c2wtasks.rootfs.forms import Maker, Making
from c2wtasks.rootfs.writing import imagelayout
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.tree.treefile import TreeFile

_MAX_CONFIG = 64 << 20
_CONFIGS = msgspec.json.Decoder(dict[str, Any] | None, float_hook=lambda number: msgspec.Raw(number.encode()))


def write(
    tree: TreeFile, tars: TarByNumber, folder: str, platform: Platform, image_json: str, *, gzip: bool
) -> dict[str, str]:
    """Makes the layout in `folder`, which is there and empty. The image config is that in the file `image_json`, of
    one layer and without a history. Gives what `imagelayout.write` gives.

    Raises OutputError, and what `tars` raises.
    """

    def config(diff_id: Digest) -> bytes:
        given: dict[str, Any] = _CONFIGS.decode(godecode.repaired(safely.read(image_json, _MAX_CONFIG))) or {}
        fields = {
            name: value
            for name, value in given.items()
            if name == "rootfs" or godecode.fold(name) not in ("rootfs", "history")
        }
        fields["rootfs"] = {"type": "layers", "diff_ids": [str(diff_id)]}
        return msgspec.json.encode(fields)

    return imagelayout.write(folder, platform, config, tree, tars, compression="gzip" if gzip else None)


def _make(making: Making, form: Form, folder: str) -> dict[str, str]:
    safely.make_folder(f"{folder}/imagemounter")
    known = write(
        making.tree,
        making.tars,
        f"{folder}/imagemounter",
        making.bundle.platform,
        making.json_files[IMAGE],
        gzip=form.option("compression") == "gzip",
    )
    return {f"imagemounter/{path}": digest for path, digest in known.items()}


MAKER = Maker(_make)
