"""Broken docker archives, misnamed, compressed and absent sources, and any damage at all: one clear line each."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c2wtasks.errors import SourceError
from c2wtasks.oci.access import Access
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.oci.transport import TRANSPORTS
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.opening import misnamed
from c2wtasks.sources.resolve import Resolver
from tests.support.images import DockerSave, Layout, pack

TREE = {"etc/": None, "etc/motd": "hi\n"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("[", "manifest.json is not JSON"),
        ("{}", "manifest.json: the document: expected an array, found an object"),
        ("null", "holds no image at all"),
        ('[{"Layers": []}]', "manifest.json: [0].Config: names no file"),
        ('[{"Config": "%s"}]' % ("a/" * 3000), "manifest.json: [0]: names a file by 6000 characters (4096 at most)"),
        ('[{"Config": "a", "Layers": ["%s"]}]' % ("a" * 5000), "[0]: names a file by 5000 characters (4096 at most)"),
        ('[{"Config": "nope.json"}]', "config 'nope.json' is not there; the copy is incomplete"),
        ('[{"Config": "a\\u0000b"}]', "embedded null "),
        ('[{"Config": "manifest.json"}]', "config 'manifest.json': the document: expected an object"),
        ('[{"Config": "%s.json"}]' % ("0" * 64), "has another digest: its content is sha256:"),
        ('[{"Config": "good.json", "Layers": ["a", "b"]}]', "'good.json' has 2 layers, its config has diffIDs of 1"),
        ('[{"Config": "good.json", "Layers": ["a"' + ', "a"' * 500 + "]}]", "has 501 layers (500 at most)"),
        ('[{"Config": "good.json", "Layers": ["gone/layer.tar"]}]', "layer 'gone/layer.tar' is not there"),
        ('[{"Config": "good.json", "Layers": ["folder"]}]', "folder is a folder, not a regular file"),
        ('[{"Config": "good.json", "Layers": ["pipe"]}]', "pipe is a FIFO, not a regular file"),
    ],
)
def test_broken_docker_archive(tmp_path, entries, message, refusal):
    saved = DockerSave(tmp_path / "saved")
    entry = saved.image(TREE)
    config = (saved.folder / entry["Config"]).read_bytes()
    (saved.folder / "good.json").write_bytes(config)
    (saved.folder / f"{'0' * 64}.json").write_bytes(config)
    (saved.folder / "folder").mkdir()
    os.mkfifo(saved.folder / "pipe")
    (saved.folder / "manifest.json").write_text(entries)
    assert message in refusal(f"docker-archive:{saved.folder}")
    packed = pack(saved.folder, tmp_path / "saved.tar")
    line = refusal(f"docker-archive:{packed}")
    if "null" not in message and "FIFO" not in message and "folder is" not in message:
        assert message in line


def test_not_there(tmp_path, refusal):
    assert refusal(f"oci:{tmp_path}/x") == f"{tmp_path}/x does not exist"
    assert refusal(f"oci-archive:{tmp_path}/x:y:z") == (
        f"{tmp_path}/x does not exist; a path ends at the first colon; what follows, 'y:z', was taken as the tag"
    )
    assert "Not a directory" in refusal(f"oci:{__file__}/x")
    os.mkfifo(tmp_path / "pipe")
    assert refusal(f"docker-archive:{tmp_path}/pipe") == f"{tmp_path}/pipe is a FIFO, not a regular file"


def test_misnamed_transports(tmp_path, layout, refusal):
    layout.image(TREE)
    oci = layout.folder
    docker = DockerSave(tmp_path / "saved")
    docker.image(TREE)
    oci_tar = pack(oci, tmp_path / "web.tar")
    docker_tar = pack(docker.folder, tmp_path / "saved.tar")
    for source, line in {
        f"oci:{docker.folder}": f"{docker.folder} has no index.json: it is a docker archive; "
        f"use docker-archive:{docker.folder}",
        f"oci:{oci_tar}": f"{oci_tar} is a file: it is a tar of an image layout; use oci-archive:{oci_tar}",
        f"oci:{docker_tar}": f"{docker_tar} is a file: it is a docker archive; use docker-archive:{docker_tar}",
        f"oci:{__file__}": f"{__file__} is a file, so it is not an image layout",
        f"oci-archive:{oci}": f"{oci} is a folder: it is an image layout; use oci:{oci}",
        f"oci-archive:{docker_tar}": f"{docker_tar} has no index.json: it is a docker archive; "
        f"use docker-archive:{docker_tar}",
        f"docker-archive:{oci}": f"{oci} has no manifest.json: it is an image layout; use oci:{oci}",
        f"docker-archive:{oci_tar}": f"{oci_tar} has no manifest.json: it is a tar of an image layout; "
        f"use oci-archive:{oci_tar}",
        f"docker-archive:{__file__}": f"{__file__} is not a tar archive",
    }.items():
        assert refusal(source) == line


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
def test_folders_that_both_have_a_manifest(tmp_path, layout, image, refusal):
    """A hint names the other kind, and leads to the image."""
    saved = DockerSave(tmp_path / "saved")
    saved.image(TREE, tags=["web:1"])
    layout.image(TREE)
    written = tmp_path / "written"
    copy = ["skopeo", "--insecure-policy", "copy", f"oci:{layout.folder}", f"dir:{written}"]
    subprocess.run(copy, check=True, capture_output=True)
    for wrong, right in (("dir", f"docker-archive:{saved.folder}"), ("docker-archive", f"dir:{written}")):
        line = refusal(f"{wrong}:{right.partition(':')[2]}")
        assert line.endswith(f"; use {right}, which has it"), line
        image(right)


PACKED_OTHERWISE = {
    "zip": (b"PK\x03\x04", "is a zip archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
    "lz4": (b"\x04\x22\x4d\x18", "is lz4 data"),
    "compress": (b"\x1f\x9d\x90", "is compress data"),
    "gzip in gzip": (gzip.compress(gzip.compress(b"x" * 2000)), "is gzip data and holds gzip data"),
    "zip in gzip": (gzip.compress(b"PK\x03\x04"), "is gzip data and holds a zip archive"),
}


@pytest.mark.parametrize("size", [0, 4096])
@pytest.mark.parametrize(("start", "kind"), PACKED_OTHERWISE.values(), ids=PACKED_OTHERWISE)
def test_what_is_packed_otherwise_is_named(tmp_path, refusal, start, kind, size):
    archive = tmp_path / "web.tar"
    archive.write_bytes(start + b"\x9d" * (0 if "gzip" in kind else size))
    line = refusal(f"oci-archive:{archive}")
    assert line.startswith(f"{archive} {kind}, not a tar archive; unpack it ("), line


@pytest.mark.parametrize("row", [row for row in TRANSPORTS.values() if row.needs], ids=lambda row: row.name)
@pytest.mark.parametrize("is_folder", [True, False])
@pytest.mark.parametrize("has", [set(), {"index.json"}, {"manifest.json"}, {"index.json", "manifest.json"}])
def test_misnamed_always_says_something(row, is_folder, has):
    fits = row.may_be_folder if is_folder else row.may_be_archive
    if fits and row.needs in has:
        return
    line = str(misnamed(row, "p", is_folder, has))
    assert line.startswith(f"p has no {row.needs}" if fits else f"p is a {'folder' if is_folder else 'file'}")
    assert (": it is " in line and "; use " in line) is bool(has)
    assert f"use {row.name}:p" not in line


def test_wrapped_archives(tmp_path, layout, refusal):
    layout.image(TREE)
    wrapped = pack(layout.folder, tmp_path / "my wrapped.tar", prefix="web/")
    assert refusal(f"oci-archive:{wrapped}") == (
        f"{wrapped} has index.json not at its top but in web/; unpack it: tar -xf '{wrapped}'; then use oci:web"
    )


def test_unreadable(layout, refusal):
    layout.image(TREE)
    os.chmod(layout.folder / "index.json", 0)
    try:
        if os.geteuid() == 0:  # who may read everything
            os.seteuid(65534)
        line = refusal(f"oci:{layout.folder}")
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
    assert line.startswith(f"cannot read {layout.folder}")
    assert line.endswith(": Permission denied")


def test_control_characters_are_escaped(layout, refusal):
    layout.image(TREE, tag="a\x1b[31m\n")
    assert "there are: a\\x1b[31m\\n" in refusal(f"oci:{layout.folder}:b")


def test_an_error_in_opening_is_the_same_the_second_time(tmp_path):
    resolver = Resolver(Access(offline=True), Documents(""))
    lines = []
    for tag in ("", ":x"):
        reference = Reference.parse(f"oci:{tmp_path}/x{tag}")
        with pytest.raises(SourceError) as caught:
            resolver.resolve(reference, reference.path, Platform("linux", "amd64"))
        lines.append(str(caught.value))
    assert lines[1].startswith(lines[0])
    assert "first colon" in lines[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    layout = Layout(folder / "web")
    layout.index(layout.image(TREE, listed=False, described=True, cmd=["x"]), tag="a")
    DockerSave(folder / "saved").image(TREE)
    return folder


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_is_a_source_error_or_none(small, data):
    """A byte changed, or the end cut off, of any file: the good image, or a SourceError."""
    transport, folder = data.draw(st.sampled_from([("oci", "web"), ("docker-archive", "saved")]))
    files = sorted(path for path in (small / folder).rglob("*") if path.is_file())
    victim = data.draw(st.sampled_from(files))
    good = victim.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + data.draw(st.sampled_from([b"", bytes([good[at] ^ 1]) + good[at + 1 :], b"9" + good[at + 1 :]]))
    archive = small / f"{folder}.tar"
    sources = [f"{transport}:{small / folder}"]
    victim.write_bytes(bad)
    try:
        pack(small / folder, archive)
        sources.append(f"{'oci-archive' if transport == 'oci' else transport}:{archive}")
        for source in sources:
            reference = Reference.parse(source)
            try:
                found = Resolver(Access(offline=True), Documents("")).resolve(
                    reference, reference.path, Platform("linux", "amd64")
                )
                assert all(layer.place.size >= 0 for layer in found.layers)
            except SourceError as error:
                assert "\n" not in str(error)
    finally:
        victim.write_bytes(good)
