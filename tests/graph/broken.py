"""Makers of broken images. Each is called with the path that the image is to have, makes it there, and gives what the
placeholders of an expected line stand for (see `Made.facts`).

    layer(hardlink(b"a", b"gone"))                         # a good layer, and on top of it one that holds this
    layer(file(b"a"), raw=lambda tar: gzip(tar)[:-9])      # the blob is broken, its digest right
    layout(lambda made: os.truncate(made.layer, 5))        # a good image, and then something is done to it
    archive(lambda content: content[:700])                 # the tar of a good layout, changed
    docker(entry(Layers=["gone"]))                         # a docker archive, changed before it is packed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.support import headers
from tests.support.images import DockerSave, Layer, Layout, digest_of, pack

Facts = Mapping[str, str]
Maker = Callable[[Path], Facts]

BASE = {
    "bin/": None,
    "bin/sh": "#!",
    "etc/": None,
    "etc/passwd": "root:x:0:0::/:/bin/sh\n",
    "etc/group": "root:x:0:\n",
}


def short(digest: str) -> str:
    algorithm, _, digits = digest.partition(":")
    return f"{algorithm}:{digits[:12]}"


@dataclass(frozen=True)
class Blob(Layer):
    """A layer whose blob is not what its tar would be compressed."""

    raw: bytes = b""

    @property
    def blob(self) -> bytes:
        return self.raw


@dataclass(frozen=True)
class Made:
    """An image in a layout, and the paths of its blobs; `layer` is the top one."""

    layout: Layout
    descriptor: dict[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.manifest.read_bytes())
        return found

    @property
    def manifest(self) -> Path:
        return self.layout.blob(self.descriptor["digest"])

    @property
    def config(self) -> Path:
        return self.layout.blob(self.document["config"]["digest"])

    @property
    def layer(self) -> Path:
        return self.layout.blob(self.document["layers"][-1]["digest"])

    def facts(self) -> Facts:
        """`layer`, `manifest`, `config`: the first digits of their digests; `digest`, the layer's in full; `hex`,
        without the algorithm; `diff_id`, what the config claims of the layer."""
        digest: str = self.document["layers"][-1]["digest"]
        claims = json.loads(self.config.read_bytes()).get("rootfs", {}).get("diff_ids", [])
        return {
            "manifest": short(self.descriptor["digest"]),
            "config": short(self.document["config"]["digest"]),
            "layer": short(digest),
            "digest": digest,
            "hex": digest.partition(":")[2],
            "diff_id": claims[-1] if claims else "",
        }


def image(path: Path, *layers: Any, **more: Any) -> Made:
    """An image of these layers, or of a good one, in a layout. `more` as for `Layout.image`."""
    made = Layout(path)
    return Made(made, made.image(*(layers or (BASE,)), **more))


def layout(damage: Callable[[Made], object] = lambda _: None, *layers: Any, **more: Any) -> Maker:
    """An image in a layout, to which `damage` is done.

    `layer_now` and `manifest_now` are the digests of what these blobs hold then.
    """

    def make(path: Path) -> Facts:
        made = image(path, *layers, **more)
        facts = dict(made.facts())
        paths = {"layer_now": made.layer, "manifest_now": made.manifest}
        damage(made)
        return facts | {name: digest_of(path.read_bytes()) for name, path in paths.items() if path.is_file()}

    return make


def listed(content: bytes, media_type: str, **more: Any) -> Maker:
    """A layout whose index.json names one blob, `content`; `more` are fields of its descriptor."""

    def make(path: Path) -> Facts:
        made = Layout(path)
        return {"blob": short(made.list({**made.put(content, media_type), **more})["digest"])}

    return make


def layer(*parts: bytes, end: bytes = headers.END, raw: Callable[[bytes], bytes] | None = None, **more: Any) -> Maker:
    """A good layer, and on top of it one whose tar has these parts. `raw` makes its blob of the tar, else gzip."""
    content = headers.archive(*parts, end=end)
    return layout(lambda _: None, BASE, Layer(content) if raw is None else Blob(content, raw=raw(content)), **more)


def archive(change: Callable[[bytes], bytes] = lambda content: content, *, prefix: str = "") -> Maker:
    """The tar of an image layout, changed. The names in it begin with `prefix`."""

    def make(path: Path) -> Facts:
        made = image(path.with_name(f"{path.name}-unpacked"))
        path.write_bytes(change(pack(made.layout.folder, path, prefix=prefix).read_bytes()))
        return made.facts()

    return make


def docker(
    damage: Callable[[DockerSave], object] = lambda _: None,
    *,
    style: Literal["old", "new"] = "old",
    packed: bool = True,
    **more: Any,
) -> Maker:
    """What `docker save` writes, changed.

    `config` and `layer` are names of files, `diff_id` is the layer's and `short` the first digits of it;
    `layer_now` is the digest of what the layer's file holds then.
    """

    def make(path: Path) -> Facts:
        saved = DockerSave(path.with_name(f"{path.name}-unpacked") if packed else path, style=style)
        entry = saved.image(BASE, **more)
        facts = {"config": entry["Config"], "layer": entry["Layers"][0]}
        content = saved.folder / facts["layer"]
        facts["diff_id"] = digest_of(content.read_bytes())
        facts["short"] = short(facts["diff_id"])
        damage(saved)
        facts["layer_now"] = digest_of(content.read_bytes())
        if packed:
            pack(saved.folder, path)
        return facts

    return make


def entry(**fields: Any) -> Callable[[DockerSave], None]:
    """Damage: other fields in the entry of manifest.json."""

    def change(saved: DockerSave) -> None:
        saved.entries[0].update(fields)
        saved.write_manifest()

    return change


def made_by(write: Callable[[Path], object]) -> Maker:
    """Whatever `write` puts at the path."""

    def make(path: Path) -> Facts:
        write(path)
        return {}

    return make


nothing = made_by(lambda _: None)


def flip(path: Path, at: int = -1) -> None:
    """Changes one byte of a file, and not its size."""
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def replace(path: Path, make: Callable[[Path], object]) -> None:
    """Puts something else in the place of a file."""
    path.unlink()
    make(path)
