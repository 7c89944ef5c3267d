#!/usr/bin/env python3
"""Rebuilds the example images from source, bit for bit; `--check` compares the committed ones with a rebuild.

Needs the `zstandard` package, Debian's compilers for amd64, arm64 and riscv64, and, for equal bits, their version
GCC. Exits 0 when done or equal, 1 where files differ, 77 where compilers are missing or are of another version.

A compressed layer is as good as any other that holds the same tar, and its bytes differ between versions of zlib
and zstd. So where the committed blob holds exactly the tar that was just built, that blob is kept, and with it
all digests above it; how often this machine's libraries would have written it otherwise is said in a note.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import zstandard

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "hello.c"
OUTPUTS = ("hello", "greeter", "legacy.tar", "archive.tar")
CANNOT_CHECK = 77  # what test runners take for "skipped"

CREATED = "2024-01-01T00:00:00Z"
MTIME = 1_704_067_200  # the same moment

GCC = "12.2.0"  # Debian 12's; another version writes other instructions
COMPILERS = {  # by architecture, and on any host: a native compiler has this name too
    "amd64": "x86_64-linux-gnu-gcc",
    "arm64": "aarch64-linux-gnu-gcc",
    "riscv64": "riscv64-linux-gnu-gcc",
}
PACKAGES = {  # Debian's; a machine's own compiler is in package gcc
    "amd64": "gcc on amd64, else gcc-x86-64-linux-gnu",
    "arm64": "gcc-aarch64-linux-gnu",
    "riscv64": "gcc-riscv64-linux-gnu",
}
FLAGS = [
    *("-std=c11", "-Os", "-Wall", "-Wextra", "-Werror"),
    *("-ffreestanding", "-static", "-nostdlib", "-fno-pie", "-no-pie", "-fno-stack-protector"),
    # Nothing in the file but what runs: no compiler's name, unwind tables, symbols, build ID or padding.
    *("-fno-ident", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
    *("-Wl,--strip-all", "-Wl,--build-id=none", "-Wl,-z,noseparate-code"),
]
FLAGS_OF = {"amd64": ["-fcf-protection=none"], "arm64": [], "riscv64": []}

Compression = Literal["", "gzip", "zstd"]
Json = dict[str, Any]

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
IN_TOTO = "application/vnd.in-toto+json"


# --- the program ---------------------------------------------------------------------------------------------


class CannotBuildError(Exception):
    """A compiler is missing; the message names it and its package."""


def compiler_versions() -> dict[str, str]:
    """The version of each compiler, by its name. Raises CannotBuildError."""
    missing = [f"{name} (package {PACKAGES[arch]})" for arch, name in COMPILERS.items() if not shutil.which(name)]
    if missing:
        raise CannotBuildError(f"missing: {', '.join(missing)}")
    return {
        name: subprocess.run([name, "-dumpfullversion"], check=True, capture_output=True, text=True).stdout.strip()
        for name in COMPILERS.values()
    }


def compile_program(architecture: str) -> bytes:
    with tempfile.TemporaryDirectory() as temporary:
        program = Path(temporary, "hello")
        command = [COMPILERS[architecture], *FLAGS, *FLAGS_OF[architecture], "-o", str(program), str(SOURCE)]
        subprocess.run(command, check=True)
        return program.read_bytes()


# --- layers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One entry of a tar. Owned by root where nothing else is said."""

    name: str
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    content: bytes = b""
    link: str = ""
    type: bytes = tarfile.REGTYPE


def folder(name: str, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> Entry:
    return Entry(name, mode, owner, type=tarfile.DIRTYPE)


def text(name: str, *lines: str) -> Entry:
    return Entry(name, content="".join(f"{line}\n" for line in lines).encode())


def make_tar(entries: Iterable[Entry]) -> bytes:
    """A ustar archive of the entries, sorted by name, which puts folders before what is in them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry in sorted(entries, key=lambda entry: entry.name):
            info = tarfile.TarInfo(entry.name)
            info.type, info.mode, info.mtime = entry.type, entry.mode, MTIME
            info.uid, info.gid = entry.owner
            info.linkname, info.size = entry.link, len(entry.content)
            archive.addfile(info, io.BytesIO(entry.content))
    return stream.getvalue()


def base_layer(program: bytes) -> bytes:
    """What all the images stand on."""
    return make_tar(
        [
            Entry("hello", 0o755, content=program),
            folder("etc"),
            text(
                "etc/passwd",
                "root:x:0:0:root:/root:/hello",
                "app:x:1001:1001:The example's user:/home/app:/hello",
                "nobody:x:65534:65534:nobody:/nonexistent:/hello",
            ),
            text("etc/group", "root:x:0:", "staff:x:50:", "app:x:1001:", "nogroup:x:65534:"),
            text("etc/motd", "This file is in the base layer; greeter's upper layer removes it."),
            folder("etc/hello.d"),
            text("etc/hello.d/10-base.conf", "# hidden in greeter, whose upper layer makes this folder opaque"),
            text("etc/hello.d/20-base.conf", "# hidden in greeter as well"),
            folder("home"),
            folder("home/app", 0o700, (1001, 1001)),
            folder("root", 0o700),
            folder("tmp", 0o1777),
        ]
    )


def greeter_layer(program: bytes) -> bytes:
    """What `greeter` lays over the base: whiteouts, links, a setuid file, groups of its user."""
    return make_tar(
        [
            folder("etc"),
            Entry("etc/.wh.motd"),
            folder("etc/hello.d"),
            Entry("etc/hello.d/.wh..wh..opq"),
            text("etc/hello.d/10-greeter.conf", "# all that is left in this folder"),
            text(
                "etc/group",
                *("root:x:0:", "audio:x:29:app", "video:x:44:nobody,app", "staff:x:50:", "app:x:1001:"),
                "nogroup:x:65534:",
            ),
            folder("usr"),
            folder("usr/bin"),
            Entry("usr/bin/greet", 0o4755, content=program),
            Entry("usr/bin/hello", 0o777, link="/hello", type=tarfile.SYMTYPE),
            # A hard link follows its target in the archive, so its name sorts after it.
            Entry("usr/bin/salute", 0o4755, link="usr/bin/greet", type=tarfile.LNKTYPE),
        ]
    )


def note_layer(line: str) -> bytes:
    return make_tar([folder("home"), folder("home/app", 0o700, (1001, 1001)), text("home/app/note", line)])


def decompress(blob: bytes) -> tuple[Compression, bytes]:
    """A blob's compression and what it holds; a damaged one is taken as it is, so it equals nothing built."""
    try:
        if blob.startswith(b"\x1f\x8b"):
            return "gzip", gzip.decompress(blob)
        if blob.startswith(b"\x28\xb5\x2f\xfd"):
            return "zstd", zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        pass
    return "", blob


@dataclass
class Compressor:
    """Compresses layers, but keeps the committed blob of one whose content is unchanged."""

    committed: Mapping[tuple[Compression, str], bytes]  # by compression and diffID
    kept: set[str] = field(default_factory=set)  # diffIDs of blobs that this machine's libraries write otherwise

    @classmethod
    def keeping(cls, blobs: Iterable[Path]) -> Compressor:
        committed: dict[tuple[Compression, str], bytes] = {}
        for path in sorted(blobs):
            blob = path.read_bytes()
            compression, content = decompress(blob)
            if compression and path.name == hex_of(blob):
                committed[compression, digest(content)] = blob
        return cls(committed)

    def compress(self, tar: bytes, compression: Compression) -> bytes:
        if not compression:
            return tar
        blob = gzip.compress(tar, 9, mtime=0) if compression == "gzip" else zstandard.compress(tar, 19)
        diff_id = digest(tar)
        committed = self.committed.get((compression, diff_id), blob)
        if committed != blob:
            self.kept.add(diff_id)
        return committed


# --- images --------------------------------------------------------------------------------------------------


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def hex_of(content: bytes) -> str:
    return digest(content).removeprefix("sha256:")


def json_text(value: object) -> bytes:
    """Indented, because people look into examples."""
    return json.dumps(value, indent=2).encode()


def image_config(architecture: str, config: Json, layers: Iterable[bytes], comments: Iterable[str]) -> bytes:
    return json_text(
        {
            "created": CREATED,
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
            "history": [{"created": CREATED, "created_by": comment} for comment in comments],
        }
    )


@dataclass
class Layout:
    """An OCI image layout in the making: its blobs, and descriptors of them."""

    compressor: Compressor
    blobs: dict[str, bytes] = field(default_factory=dict)

    def add(self, media_type: str, blob: bytes, **more: object) -> Json:
        """Takes a blob in. Returns its descriptor, with what else it shall say."""
        self.blobs[hex_of(blob)] = blob
        return {"mediaType": media_type, "digest": digest(blob), "size": len(blob), **more}

    def add_layer(self, tar: bytes, compression: Compression) -> Json:
        media_type = f"{OCI_LAYER}+{compression}" if compression else OCI_LAYER
        return self.add(media_type, self.compressor.compress(tar, compression))

    def add_manifest(self, config: bytes, layers: list[Json], **more: object) -> Json:
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.add(OCI_CONFIG, config),
            "layers": layers,
        }
        return self.add(OCI_MANIFEST, json_text(manifest), **more)

    def add_index(self, manifests: list[Json], **more: object) -> Json:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        return self.add(OCI_INDEX, json_text(index), **more)

    def add_attestation(self, image: Json, name: str) -> Json:
        """A note on how an image was made, in the form and place that BuildKit gives it: beside the images."""
        predicate_type = "https://slsa.dev/provenance/v0.2"
        statement = {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": predicate_type,
            "subject": [{"name": name, "digest": {"sha256": image["digest"].removeprefix("sha256:")}}],
            "predicate": {"builder": {"id": ""}, "buildType": "examples/build.py", "materials": []},
        }
        layer = json_text(statement)
        unknown = {"architecture": "unknown", "os": "unknown"}
        config = {**unknown, "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}
        return self.add_manifest(
            json_text(config),
            [self.add(IN_TOTO, layer, annotations={"in-toto.io/predicate-type": predicate_type})],
            annotations={
                "vnd.docker.reference.digest": image["digest"],
                "vnd.docker.reference.type": "attestation-manifest",
            },
            platform=unknown,
        )

    def files(self, top: Json, tag: str) -> dict[str, bytes]:
        """All files of the layout, whose one name is `tag`."""
        index = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [{**top, "annotations": {"org.opencontainers.image.ref.name": tag}}],
        }
        return {
            "oci-layout": json_text({"imageLayoutVersion": "1.0.0"}),
            "index.json": json_text(index),
            **{f"blobs/sha256/{name}": blob for name, blob in self.blobs.items()},
        }


def platform(architecture: str) -> Json:
    return {"architecture": architecture, "os": "linux"}


def hello(programs: Mapping[str, bytes], compressor: Compressor) -> dict[str, bytes]:
    """One index for three platforms, nested as buildx writes it, attestations and all."""
    layout = Layout(compressor)
    config = {
        "Env": ["PATH=/usr/bin:/", "IMAGE=hello"],
        "Entrypoint": ["/hello"],
        "Cmd": ["what", "Cmd says"],
        "WorkingDir": "/tmp",
    }
    images = []
    for architecture, program in programs.items():
        base = base_layer(program)
        images.append(
            layout.add_manifest(
                image_config(architecture, config, [base], ["the base"]),
                [layout.add_layer(base, "gzip")],
                platform=platform(architecture),
            )
        )
    attestations = [layout.add_attestation(image, "hello") for image in images]
    return layout.files(layout.add_index(images + attestations), "latest")


def greeter(programs: Mapping[str, bytes], compressor: Compressor) -> dict[str, bytes]:
    """Hello's very base layer, and one on top with all that layers can do; runs as a named user."""
    layout = Layout(compressor)
    config = {
        "User": "app",
        "Env": ["PATH=/usr/bin:/", "IMAGE=greeter"],
        "Entrypoint": ["/usr/bin/hello"],
        "WorkingDir": "/home/app",
    }
    images = []
    for architecture, program in programs.items():
        base, upper = base_layer(program), greeter_layer(program)
        images.append(
            layout.add_manifest(
                image_config(architecture, config, [base, upper], ["the base", "the greeter"]),
                [layout.add_layer(base, "gzip"), layout.add_layer(upper, "zstd")],
                platform=platform(architecture),
            )
        )
    return layout.files(layout.add_index(images), "latest")


def archive(programs: Mapping[str, bytes], compressor: Compressor) -> bytes:
    """A tar of an OCI layout, for two platforms; its base layer is hello's, but not compressed."""
    layout = Layout(compressor)
    note = note_layer("From an OCI archive.")
    config = {"User": "1001:50", "Env": ["IMAGE=archive"], "Cmd": ["/hello"], "WorkingDir": "/home/app"}
    images = []
    for architecture in ("amd64", "riscv64"):
        base = base_layer(programs[architecture])
        images.append(
            layout.add_manifest(
                image_config(architecture, config, [base, note], ["the base", "a note"]),
                [layout.add_layer(base, ""), layout.add_layer(note, "")],
                platform=platform(architecture),
            )
        )
    return tar_of_files(layout.files(layout.add_index(images), "1.0"))


def legacy(programs: Mapping[str, bytes]) -> bytes:
    """What `docker save` wrote before Docker 25: one platform, a folder for each layer, no digests of them."""
    architecture = "amd64"
    layers = [base_layer(programs[architecture]), note_layer("From a docker archive.")]
    config = {"User": "app:staff", "Env": ["IMAGE=legacy"], "Cmd": ["/hello"], "WorkingDir": "/home/app"}
    config_text = image_config(architecture, config, layers, ["the base", "a note"])

    files: dict[str, bytes] = {}
    parent = ""
    layer_files = []
    for layer in layers:
        # These IDs need only be unique; Docker's, too, are hashes of the parent and the layer.
        layer_id = hex_of(f"{parent} {digest(layer)}".encode())
        ancestry = {"parent": parent} if parent else {}
        files[f"{layer_id}/VERSION"] = b"1.0"
        files[f"{layer_id}/json"] = json_text({"id": layer_id, **ancestry, "created": CREATED, "os": "linux"})
        files[f"{layer_id}/layer.tar"] = layer
        layer_files.append(f"{layer_id}/layer.tar")
        parent = layer_id

    config_file = f"{hex_of(config_text)}.json"
    files[config_file] = config_text
    files["manifest.json"] = json_text(
        [{"Config": config_file, "RepoTags": ["legacy:latest"], "Layers": layer_files}]
    )
    files["repositories"] = json_text({"legacy": {"latest": parent}})
    return tar_of_files(files)


def tar_of_files(files: Mapping[str, bytes]) -> bytes:
    """The files and the folders they are in."""
    folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    return make_tar([*map(folder, folders), *(Entry(name, content=content) for name, content in files.items())])


# --- the committed files -------------------------------------------------------------------------------------


def build(compressor: Compressor) -> dict[str, bytes]:
    """Every file of the examples that is made, by its path."""
    programs = {architecture: compile_program(architecture) for architecture in COMPILERS}
    return {
        **{f"hello/{path}": content for path, content in hello(programs, compressor).items()},
        **{f"greeter/{path}": content for path, content in greeter(programs, compressor).items()},
        "legacy.tar": legacy(programs),
        "archive.tar": archive(programs, compressor),
    }


def committed_paths() -> Iterator[str]:
    for name in OUTPUTS:
        for path in [HERE / name, *(HERE / name).rglob("*")]:
            if path.is_file():
                yield path.relative_to(HERE).as_posix()


def differences(built: Mapping[str, bytes]) -> list[str]:
    committed = set(committed_paths())
    found = [f"{path}: is missing" for path in built.keys() - committed]
    found += [f"{path}: is not among what is built" for path in committed - built.keys()]
    found += [
        f"{path}: differs from what is built"
        for path in committed & built.keys()
        if (HERE / path).read_bytes() != built[path]
    ]
    return sorted(found)


def write(built: Mapping[str, bytes]) -> None:
    for path in set(committed_paths()) - built.keys():
        (HERE / path).unlink()
    for path, content in built.items():
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (HERE / path).write_bytes(content)


def main() -> int:
    parser = argparse.ArgumentParser(description="Rebuilds the example images from source.")
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the committed files")
    check: bool = parser.parse_args().check

    try:
        versions = compiler_versions()
    except CannotBuildError as error:
        print(error, file=sys.stderr)
        return CANNOT_CHECK
    others = [f"{name} is {version}" for name, version in versions.items() if version != GCC]
    if others:
        print(f"the images are made with gcc {GCC} (Debian 12), but {', '.join(others)}", file=sys.stderr)
        if check:
            return CANNOT_CHECK

    compressor = Compressor.keeping(HERE.glob("*/blobs/sha256/*"))
    built = build(compressor)
    if compressor.kept:
        print(f"note: {len(compressor.kept)} layers would be compressed to other bytes here; their content is equal")
    if not check:
        write(built)
        print(f"{len(built)} files, {sum(map(len, built.values()))} bytes")
        return 0
    found = differences(built)
    print("\n".join(found) if found else f"{len(built)} files equal a rebuild")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
