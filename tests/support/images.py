"""Small images for tests: layers from dicts, image layouts, docker archives, tars of either.

    layout = Layout(tmp_path / "web")
    layout.image({"etc/": None, "etc/motd": "hi\\n"}, tag="latest", cmd=["sh"])
    layout.index(layout.image(TREE, listed=False), layout.image(TREE, platform="linux/arm64", listed=False))
    pack(layout.folder, tmp_path / "web.tar")

    DockerSave(tmp_path / "saved").image({"bin/sh": File("x", mode=0o755)}, tags=["web:latest"])

All is written at once and is the same on every run. To break something, write over `layout.blob(digest)`, or
change a descriptor (a dict) before it is listed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.support.tars import (
    Compression,
    Device,
    Dir,
    Entry,
    Fifo,
    File,
    Hardlink,
    Symlink,
    Tree,
    compress,
    tar,
)

__all__ = [
    "Compression",
    "Device",
    "Dir",
    "DockerSave",
    "Entry",
    "Fifo",
    "File",
    "Hardlink",
    "Layer",
    "Layout",
    "Symlink",
    "Tree",
    "compress",
    "digest_of",
    "image_config",
    "pack",
    "platform_fields",
    "tar",
    "to_json",
    "unpack",
]

Json = dict[str, Any]

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
REF_NAME = "org.opencontainers.image.ref.name"
_LAYER_SUFFIX = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}
_DOCKER_SUFFIX = {"gzip": ".gzip", "zstd": ".zstd", "none": ""}


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


@dataclass(frozen=True)
class Layer:
    """A layer to put in images: its tar, and how the blob is compressed and called."""

    content: bytes
    compression: Compression = "gzip"
    media_type: str | None = None

    @classmethod
    def of(cls, source: Layer | Tree | bytes, compression: Compression) -> Layer:
        if isinstance(source, Layer):
            return source
        return cls(source if isinstance(source, bytes) else tar(source), compression)

    @property
    def diff_id(self) -> str:
        return digest_of(self.content)

    @property
    def blob(self) -> bytes:
        return compress(self.content, self.compression)


def platform_fields(text: str) -> Json:
    """`linux/arm/v7` as an index or a config says it; empty parts are left out."""
    parts = zip(("os", "architecture", "variant"), text.split("/"), strict=False)
    return {key: part for key, part in parts if part}


def image_config(platform: str, diff_ids: Sequence[str], run: Json, more: Json | None = None) -> bytes:
    """An image config. `run` is its `config`, with a Cmd where it says nothing of what runs; fields of `more` replace
    or, where None, remove its own."""
    run = run if {"cmd", "entrypoint"} & run.keys() else {**run, "cmd": ["sh"]}
    document: Json = {
        "created": "2024-01-02T03:04:05Z",
        **platform_fields(platform),
        "config": {"".join(part.capitalize() for part in key.split("_")): value for key, value in run.items()},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        **(more or {}),
    }
    return to_json({key: value for key, value in document.items() if value is not None})


def to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")


class Layout:
    """An image layout, in `folder`. `listed` are the descriptors of its index.json."""

    def __init__(self, folder: Path, *, algorithm: str = "sha256") -> None:
        self.folder = folder
        self.algorithm = algorithm
        self.listed: list[Json] = []
        (folder / "blobs" / algorithm).mkdir(parents=True)
        (folder / "oci-layout").write_bytes(to_json({"imageLayoutVersion": "1.0.0"}))
        self.write_index()

    def write_index(self) -> None:
        """Writes index.json. Only needed where `listed` was changed by hand."""
        document = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": self.listed}
        (self.folder / "index.json").write_bytes(to_json(document))

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/")

    def put(self, content: bytes, media_type: str, **more: Any) -> Json:
        """Writes a blob; gives its descriptor, with the fields `more`."""
        digest = digest_of(content, self.algorithm)
        self.blob(digest).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content), **more}

    def image(
        self,
        *layers: Layer | Tree | bytes,
        platform: str = "linux/amd64",
        tag: str | None = None,
        listed: bool = True,
        described: bool | str = False,
        compression: Compression = "gzip",
        docker: bool = False,
        config: Json | None = None,
        config_type: str | None = None,
        manifest: Json | None = None,
        annotations: Json | None = None,
        **run: Any,
    ) -> Json:
        """Writes an image; gives its manifest's descriptor, and lists it in index.json if `listed`.

        `platform` is what the config says; with `described` the descriptor says it too, or the one given.
        `config` and `manifest` change fields of these documents, None removing them. `run` is the config's
        `config`: `cmd=["sh"]`, `env=[...]`, `working_dir="/"`, `user="app"`.
        """
        made = [Layer.of(layer, compression) for layer in layers]
        text = image_config(platform, [layer.diff_id for layer in made], run, config)
        kind = config_type or (f"{DOCKER}.container.image.v1+json" if docker else f"{OCI}.config.v1+json")
        manifest_type = f"{DOCKER}.distribution.manifest.v2+json" if docker else f"{OCI}.manifest.v1+json"
        document: Json = {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": self.put(text, kind),
            "layers": [self.put(layer.blob, layer.media_type or _layer_type(layer, docker)) for layer in made],
            **(manifest or {}),
        }
        content = to_json({key: value for key, value in document.items() if value is not None})
        descriptor = self.put(content, manifest_type, **_annotations(tag, annotations))
        if described:
            descriptor["platform"] = platform_fields(platform if described is True else described)
        return self.list(descriptor) if listed else descriptor

    def index(
        self, *descriptors: Json, tag: str | None = None, listed: bool = True, docker: bool = False, **more: Any
    ) -> Json:
        """Writes an index of `descriptors`; gives its own, with the fields `more`, and lists it if `listed`."""
        kind = f"{DOCKER}.distribution.manifest.list.v2+json" if docker else f"{OCI}.index.v1+json"
        content = to_json({"schemaVersion": 2, "mediaType": kind, "manifests": list(descriptors)})
        descriptor = self.put(content, kind, **_annotations(tag, None), **more)
        return self.list(descriptor) if listed else descriptor

    def list(self, descriptor: Json) -> Json:
        """Lists a descriptor in index.json."""
        self.listed.append(descriptor)
        self.write_index()
        return descriptor


def _layer_type(layer: Layer, docker: bool) -> str:
    if docker:
        return f"{DOCKER}.image.rootfs.diff.tar{_DOCKER_SUFFIX[layer.compression]}"
    return f"{OCI}.layer.v1.tar{_LAYER_SUFFIX[layer.compression]}"


def _annotations(tag: str | None, more: Json | None) -> Json:
    found = ({} if tag is None else {REF_NAME: tag}) | (more or {})
    return {"annotations": found} if found else {}


class DockerSave:
    """What `docker save` writes, unpacked in `folder`: `old` style `<id>/layer.tar`, or `new` style blobs."""

    def __init__(self, folder: Path, *, style: Literal["old", "new"] = "old") -> None:
        self.folder = folder
        self.style = style
        self.entries: list[Json] = []
        folder.mkdir(parents=True)

    def image(
        self,
        *layers: Layer | Tree | bytes,
        tags: Sequence[str] | None = ("web:latest",),
        platform: str = "linux/amd64",
        config: Json | None = None,
        **run: Any,
    ) -> Json:
        """Writes an image and lists it in manifest.json; gives its entry there. `run` as for a layout's."""
        made = [Layer.of(layer, "none") for layer in layers]
        text = image_config(platform, [layer.diff_id for layer in made], run, config)
        name = hashlib.sha256(text).hexdigest()
        entry = {
            "Config": self._write(f"blobs/sha256/{name}" if self.style == "new" else f"{name}.json", text),
            "RepoTags": None if tags is None else list(tags),
            "Layers": [self._write(self._layer_name(layer), layer.blob) for layer in made],
        }
        self.entries.append(entry)
        self.write_manifest()
        return entry

    def write_manifest(self) -> None:
        """Writes manifest.json. Only needed where `entries` was changed by hand."""
        (self.folder / "manifest.json").write_bytes(to_json(self.entries))

    def _layer_name(self, layer: Layer) -> str:
        name = hashlib.sha256(layer.blob).hexdigest()
        return f"blobs/sha256/{name}" if self.style == "new" else f"{name}/layer.tar"

    def _write(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name


def unpack(archive: Path, folder: Path) -> Path:
    """Writes what a tar of ours holds into `folder`, as it is. (`extractall(filter=)` came with Python 3.11.4.)"""
    with tarfile.open(archive) as members:
        members.extraction_filter = lambda member, _: member
        members.extractall(folder)
    return folder


def pack(folder: Path, archive: Path, *, prefix: str = "", format: int = tarfile.PAX_FORMAT) -> Path:
    """Writes the tar of a folder's content, links as links; each name begins with `prefix`. Gives `archive`."""
    with tarfile.open(archive, "w", format=format) as out:
        for base, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted([*folders, *files]):
                path = Path(base, name)
                info = out.gettarinfo(path, prefix + path.relative_to(folder).as_posix())
                info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
                if info.isreg():
                    with path.open("rb") as content:
                        out.addfile(info, content)
                else:
                    out.addfile(info)
    return archive
