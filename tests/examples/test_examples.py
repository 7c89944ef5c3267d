"""The committed example images are whole, small, show what they are for, and equal a rebuild from source."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
BUILD = EXAMPLES / "build.py"
CANNOT_CHECK = 77  # build.py's exit status where the compilers are missing or of another version

ARCHITECTURES = {
    "hello": ["amd64", "arm64", "riscv64"],
    "greeter": ["amd64", "arm64", "riscv64"],
    "legacy.tar": ["amd64"],
    "archive.tar": ["amd64", "riscv64"],
}
EMULATORS = {"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static", "riscv64": "qemu-riscv64-static"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "riscv64": "riscv64"}

Json = dict[str, Any]


@dataclass(frozen=True)
class Layer:
    media_type: str
    digest: str  # of the blob
    content: bytes  # uncompressed
    diff_id: str  # as the config has it

    def entries(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(self.content)) as archive:
            return {entry.name: entry for entry in archive}

    def read(self, name: str) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(self.content)) as archive:
            stream = archive.extractfile(name)
            assert stream is not None
            return stream.read()


@dataclass(frozen=True)
class Image:
    config: Json
    layers: list[Layer]

    @property
    def architecture(self) -> str:
        name = self.config["architecture"]
        assert isinstance(name, str)
        return name


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def decompress(media_type: str, blob: bytes) -> bytes:
    if media_type.endswith("+gzip"):
        return gzip.decompress(blob)
    if media_type.endswith("+zstd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    return blob


def files_of(name: str) -> dict[str, bytes]:
    """All files of an example, by their path in its folder or its tar."""
    path = EXAMPLES / name
    if path.is_dir():
        return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    files = {}
    with tarfile.open(path) as archive:
        for entry in archive:
            stream = archive.extractfile(entry)
            if stream is not None:
                files[entry.name] = stream.read()
    return files


def blob_of(files: dict[str, bytes], descriptor: Json) -> bytes:
    """A descriptor's blob, its digest and size checked."""
    digest = descriptor["digest"]
    blob = files["blobs/" + digest.replace(":", "/")]
    assert sha256(blob) == digest
    assert len(blob) == descriptor["size"], digest
    return blob


def manifests(files: dict[str, bytes], index: Json) -> Iterator[tuple[Json, Json]]:
    """The manifests below an index, each with its descriptor."""
    for descriptor in index["manifests"]:
        document = json.loads(blob_of(files, descriptor))
        assert document["mediaType"] == descriptor["mediaType"]
        if "manifests" in document:
            yield from manifests(files, document)
        else:
            yield descriptor, document


def image_of(files: dict[str, bytes], manifest: Json) -> Image:
    config = json.loads(blob_of(files, manifest["config"]))
    diff_ids = config["rootfs"]["diff_ids"]
    layers = [
        Layer(
            descriptor["mediaType"],
            descriptor["digest"],
            decompress(descriptor["mediaType"], blob_of(files, descriptor)),
            diff_id,
        )
        for descriptor, diff_id in zip(manifest["layers"], diff_ids, strict=True)
    ]
    return Image(config, layers)


def images(name: str) -> dict[str, Image]:
    """The images of an example, by architecture; of a docker archive, too."""
    files = files_of(name)
    if "manifest.json" in files:
        (entry,) = json.loads(files["manifest.json"])
        config = json.loads(files[entry["Config"]])
        assert sha256(files[entry["Config"]]) == "sha256:" + entry["Config"].removesuffix(".json")
        blobs = [files[path] for path in entry["Layers"]]
        layers = [
            Layer("", sha256(blob), blob, diff_id)
            for blob, diff_id in zip(blobs, config["rootfs"]["diff_ids"], strict=True)
        ]
        found = [Image(config, layers)]
    else:
        found = []
        for descriptor, manifest in manifests(files, json.loads(files["index.json"])):
            image = image_of(files, manifest)
            assert descriptor["platform"] == {key: image.config[key] for key in ("architecture", "os")}
            if image.architecture != "unknown":
                found.append(image)
    return {image.architecture: image for image in found}


def test_are_small() -> None:
    sizes = {path: path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 1_000_000


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_digest_size_and_diff_id_is_right(name: str) -> None:
    found = images(name)
    assert list(found) == ARCHITECTURES[name]
    for image in found.values():
        assert [sha256(layer.content) for layer in image.layers] == [layer.diff_id for layer in image.layers]


@pytest.mark.parametrize("name", ["hello", "greeter", "archive.tar"])
def test_every_blob_is_named_by_its_digest_and_used(name: str) -> None:
    files = files_of(name)
    index = json.loads(files["index.json"])
    used = {descriptor["digest"] for descriptor in index["manifests"]}
    for descriptor, manifest in manifests(files, index):
        used |= {part["digest"] for part in (descriptor, manifest["config"], *manifest["layers"])}
    blobs = {path: content for path, content in files.items() if path.startswith("blobs/")}
    assert {"blobs/" + sha256(content).replace(":", "/") for content in blobs.values()} == set(blobs)
    assert {"blobs/" + digest.replace(":", "/") for digest in used} == set(blobs)
    assert set(files) - set(blobs) == {"oci-layout", "index.json"}


def test_hello_has_one_tag_a_nested_index_and_attestations_to_skip() -> None:
    files = files_of("hello")
    (top,) = json.loads(files["index.json"])["manifests"]
    assert top["annotations"] == {"org.opencontainers.image.ref.name": "latest"}
    entries = json.loads(blob_of(files, top))["manifests"]
    by_digest = {entry["digest"]: entry["platform"] for entry in entries}
    attestations = [entry for entry in entries if entry["platform"] == {"architecture": "unknown", "os": "unknown"}]
    assert [
        by_digest[entry["annotations"]["vnd.docker.reference.digest"]]["architecture"] for entry in attestations
    ] == ARCHITECTURES["hello"]


@pytest.mark.parametrize("architecture", ARCHITECTURES["greeter"])
def test_greeter_stands_on_hellos_layer(architecture: str) -> None:
    base = images("hello")[architecture].layers[0]
    shared, upper = images("greeter")[architecture].layers
    assert shared.digest == base.digest
    assert (base.media_type[-5:], upper.media_type[-5:]) == ("+gzip", "+zstd")


@pytest.mark.parametrize("name", ["legacy.tar", "archive.tar"])
def test_archives_hold_hellos_layer_uncompressed(name: str) -> None:
    base = images("hello")["amd64"].layers[0]
    copy = images(name)["amd64"].layers[0]
    assert copy.diff_id == base.diff_id
    assert copy.digest == copy.diff_id != base.digest


def test_base_has_the_usual_folders() -> None:
    entries = images("hello")["amd64"].layers[0].entries()
    assert entries["hello"].mode == 0o755
    assert entries["tmp"].mode == 0o1777
    home = entries["home/app"]
    assert (home.mode, home.uid, home.gid) == (0o700, 1001, 1001)


def test_greeter_hides_links_and_sets_uid() -> None:
    base, upper = images("greeter")["riscv64"].layers
    entries = upper.entries()
    assert ".wh.motd" in {Path(name).name for name in entries}
    assert "etc/motd" in base.entries()
    assert "etc/hello.d/.wh..wh..opq" in entries
    assert entries["usr/bin/hello"].issym()
    assert entries["usr/bin/hello"].linkname.removeprefix("/") in base.entries()
    assert entries["usr/bin/salute"].islnk()
    assert entries["usr/bin/salute"].linkname == "usr/bin/greet"
    assert entries["usr/bin/greet"].mode == 0o4755


def test_greeters_user_has_a_name_and_more_groups() -> None:
    image = images("greeter")["arm64"]
    user = image.config["config"]["User"]
    groups = [line.split(":") for line in image.layers[1].read("etc/group").decode().splitlines()]
    assert user == "app"
    assert [int(gid) for _, _, gid, members in groups if user in members.split(",")] == [29, 44]


def test_legacy_is_an_old_docker_archive() -> None:
    files = files_of("legacy.tar")
    (entry,) = json.loads(files["manifest.json"])
    top = json.loads(files["repositories"])["legacy"]["latest"]
    assert entry["Layers"][-1] == f"{top}/layer.tar"
    assert entry["RepoTags"] == ["legacy:latest"]


def test_the_catalog_names_them_all() -> None:
    catalog = yaml.safe_load((ROOT / "bundle.yaml").read_text())
    sources = [image if isinstance(image, str) else image["source"] for image in catalog["images"].values()]
    assert {source.split(":")[1] for source in sources} == {f"examples/{name}" for name in ARCHITECTURES}
    assert {source.split(":")[0] for source in sources} == {"oci", "oci-archive", "docker-archive"}


@pytest.mark.parametrize("architecture", ARCHITECTURES["hello"])
def test_the_program_tells_what_it_sees(architecture: str, tmp_path: Path) -> None:
    command = []
    if platform.machine() != MACHINES[architecture]:
        emulator = shutil.which(EMULATORS[architecture])
        if emulator is None:
            pytest.skip(f"{EMULATORS[architecture]} (package qemu-user-static) is not installed")
        command = [emulator]
    program = tmp_path / "hello"
    program.write_bytes(images("hello")[architecture].layers[0].read("hello"))
    program.chmod(0o755)
    run = subprocess.run(
        [*command, str(program), "one", "", "two words"],
        env={"IMAGE": "a test", "EMPTY": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *lines = run.stdout.splitlines()
    assert first == f"Hello from a test on linux/{architecture}"
    assert [line for line in lines if not line.startswith("env ")] == [
        f"uid {os.getuid()}",
        f"gid {os.getgid()}",
        *(f"group {group}" for group in os.getgroups()),
        f"cwd {tmp_path.resolve()}",
        f"arg {program}",
        *("arg one", "arg ", "arg two words"),
    ]
    # An emulator may pass the environment in another order.
    assert sorted(line for line in lines if line.startswith("env ")) == ["env EMPTY=", "env IMAGE=a test"]


def run_check(script: Path) -> subprocess.CompletedProcess[str]:
    run = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    if run.returncode == CANNOT_CHECK:
        pytest.skip(f"{script.name} --check: {run.stderr.strip()}")
    return run


def test_equal_a_rebuild() -> None:
    run = run_check(BUILD)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout


def test_check_names_what_differs(tmp_path: Path) -> None:
    examples = tmp_path / "examples"
    shutil.copytree(EXAMPLES, examples)
    blob, *_ = sorted((examples / "hello/blobs/sha256").iterdir())
    blob.write_bytes(blob.read_bytes() + b" ")
    (examples / "greeter/oci-layout").unlink()
    (examples / "greeter/stray").touch()
    run = run_check(examples / BUILD.name)
    assert run.returncode == 1
    found = [line for line in run.stdout.splitlines() if not line.startswith("note: ")]  # of another zlib
    assert found == [
        "greeter/oci-layout: is missing",
        "greeter/stray: is not among what is built",
        f"hello/blobs/sha256/{blob.name}: differs from what is built",
    ]


def test_check_compares_compressed_layers_by_content(tmp_path: Path) -> None:
    """As if another zlib had made the committed layers: they are kept, and so is all that names them."""
    examples = tmp_path / "examples"
    shutil.copytree(EXAMPLES, examples)
    script = examples / BUILD.name
    script.write_text(script.read_text().replace("gzip.compress(tar, 9,", "gzip.compress(tar, 1,"))
    run = run_check(script)
    assert run.returncode == 0, run.stdout
    assert run.stdout.startswith("note: 3 layers would be compressed to other bytes here")
