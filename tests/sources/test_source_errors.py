"""Broken image layouts: each gives one clear line that names the folder, and the digest."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket

import pytest

from tests.support.images import OCI, Layer, Layout, digest_of

TREE = {"etc/": None, "etc/motd": "hi\n"}


def short(digest: str) -> str:
    return digest[: len("sha256:") + 12]


def config_of(layout: Layout, manifest: dict) -> dict:
    return json.loads(layout.blob(manifest["digest"]).read_bytes())["config"]


def layer_of(layout: Layout, manifest: dict) -> dict:
    return json.loads(layout.blob(manifest["digest"]).read_bytes())["layers"][0]


# Each breaks a layout and gives what the line must hold.


def no_index(layout: Layout) -> str:
    (layout.folder / "index.json").unlink()
    return "has no index.json, so it is not an image layout"


def index_not_json(layout: Layout) -> str:
    (layout.folder / "index.json").write_text('{"manifests": [}')
    return "index.json is not JSON: Expecting value: line 1 column 16 (char 15)"


def index_of_wrong_type(layout: Layout) -> str:
    (layout.folder / "index.json").write_text('{"manifests": {}}')
    return "index.json: manifests: expected an array, found an object"


def index_too_deep(layout: Layout) -> str:
    (layout.folder / "index.json").write_text("[" * 100_000)
    return "index.json: nested too deeply"


def index_too_big(layout: Layout) -> str:
    os.truncate(layout.folder / "index.json", 33 << 20)
    return f"index.json is {33 << 20} bytes, more than the"


def index_is_a_folder(layout: Layout) -> str:
    (layout.folder / "index.json").unlink()
    (layout.folder / "index.json").mkdir()
    return "index.json is a folder, not a regular file"


def index_is_a_fifo(layout: Layout) -> str:
    (layout.folder / "index.json").unlink()
    os.mkfifo(layout.folder / "index.json")
    return "index.json is a FIFO, not a regular file"


def index_is_a_loop(layout: Layout) -> str:
    (layout.folder / "index.json").unlink()
    os.symlink("index.json", layout.folder / "index.json")
    return "index.json: Too many levels of symbolic links"


def index_of_nothing(layout: Layout) -> str:
    return "holds no image at all"


def index_with_bad_digest(layout: Layout) -> str:
    layout.list({"mediaType": "x", "digest": "sha256:abc", "size": 1})
    return "index.json: manifests[0].digest: 'sha256:abc' is not 64 lower-case hex digits after sha256:"


def index_with_other_digest(layout: Layout) -> str:
    layout.list({"mediaType": "x", "digest": "md5:abc", "size": 1})
    return "digest algorithm 'md5' is not supported"


def later_layout(layout: Layout) -> str:
    (layout.folder / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    return "oci-layout says version 2.0.0; only 1.x is supported"


def layout_file_not_json(layout: Layout) -> str:
    (layout.folder / "oci-layout").write_text("1.0")
    return "oci-layout: the document: expected an object, found a number"


def unknown_media_type(layout: Layout) -> str:
    digest = layout.list(layout.put(b"{}", "application/x"))["digest"]
    return f"{short(digest)} has an unsupported media type (application/x)"


def schema_1_by_type(layout: Layout) -> str:
    layout.list(layout.put(b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws"))
    return "is of Docker schema 1, which is not supported; push the image again"


def schema_1_by_version(layout: Layout) -> str:
    layout.image(TREE, manifest={"schemaVersion": 1})
    return "a Docker schema 1 manifest, which is not supported"


def manifest_missing(layout: Layout) -> str:
    digest = layout.image(TREE)["digest"]
    layout.blob(digest).unlink()
    return f"manifest {short(digest)} is not in the layout; copy the image again"


def manifest_damaged(layout: Layout) -> str:
    digest = layout.image(TREE)["digest"]
    content = layout.blob(digest).read_bytes().replace(b"schemaVersion", b"schemaVersioN")
    layout.blob(digest).write_bytes(content)
    return f"manifest {short(digest)} has another digest: its content is {short(digest_of(content))}"


def manifest_cut(layout: Layout) -> str:
    manifest = layout.image(TREE)
    os.truncate(layout.blob(manifest["digest"]), 10)
    return f"manifest {short(manifest['digest'])} is 10 bytes, its descriptor says {manifest['size']}"


def manifest_not_json(layout: Layout) -> str:
    digest = layout.list(layout.put(b"nope", f"{OCI}.manifest.v1+json"))["digest"]
    return f"manifest {short(digest)} is not JSON: Expecting value: line 1 column 1 (char 0)"


def manifest_too_big(layout: Layout) -> str:
    layout.list(layout.put(b" " * ((4 << 20) + 1), f"{OCI}.manifest.v1+json"))
    return "is 4194305 bytes, more than the 4194304"


def manifest_is_a_socket(layout: Layout) -> str:
    path = layout.blob(layout.image(TREE)["digest"])
    path.unlink()
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name[:20])
    os.rename(path.parent / path.name[:20], path)
    return "is a socket, not a regular file"


def nested_index_not_json(layout: Layout) -> str:
    layout.list(layout.put(b"{", f"{OCI}.index.v1+json"))
    return "index sha256:021fb596db81 is not JSON: Expecting property name"


def config_missing(layout: Layout) -> str:
    config = config_of(layout, layout.image(TREE))
    layout.blob(config["digest"]).unlink()
    return f"config {short(config['digest'])} is not in the layout"


def config_not_utf8_time(layout: Layout) -> str:
    layout.image(TREE, config={"created": "yesterday"})
    return ": created: 'yesterday' is not a time (RFC 3339)"


def config_of_wrong_type(layout: Layout) -> str:
    layout.image(TREE, env="A=b")
    return ": Env: expected an array, found a string"


def config_without_architecture(layout: Layout) -> str:
    layout.image(TREE, platform="linux")
    return "the image's config names no architecture, linux/amd64 was asked for"


def config_of_another_platform(layout: Layout) -> str:
    layout.image(TREE, platform="linux/arm64", described="linux/amd64")
    return "is for linux/amd64 by the index that lists it, for linux/arm64 by its own config"


def nothing_for_the_platform(layout: Layout) -> str:
    for platform in ("linux/arm64", "linux/s390x", "linux"):
        layout.image(TREE, platform=platform)
    return "no image for linux/amd64; there are: linux/arm64, linux/s390x, one that names no architecture"


def only_an_artifact(layout: Layout) -> str:
    digest = layout.image(TREE, config_type="application/vnd.oci.empty.v1+json")["digest"]
    return (
        f"holds no container image: manifest {short(digest)} has a config of type application/vnd.oci.empty.v1+json"
    )


def fewer_diff_ids(layout: Layout) -> str:
    layout.image(TREE, {"x": "y"}, config={"rootfs": {"type": "layers", "diff_ids": [digest_of(b"")]}})
    return "has 2 layers, its config has diffIDs of 1"


def no_diff_ids(layout: Layout) -> str:
    layout.image(TREE, config={"rootfs": None})
    return "has 1 layers, its config has diffIDs of 0"


def bad_diff_id(layout: Layout) -> str:
    layout.image(TREE, config={"rootfs": {"type": "layers", "diff_ids": ["x"]}})
    return "rootfs.diff_ids[0]: 'x' is not a digest"


def encrypted_layer(layout: Layout) -> str:
    media_type = f"{OCI}.layer.v1.tar+gzip+encrypted"
    layer = layer_of(layout, layout.image(Layer(b"x", "gzip", media_type)))
    return f"layer {short(layer['digest'])} is encrypted ({media_type}), which is not supported"


def layer_missing(layout: Layout) -> str:
    layer = layer_of(layout, layout.image(TREE))
    layout.blob(layer["digest"]).unlink()
    return f"layer {short(layer['digest'])} is not in the layout; copy"


def layer_elsewhere(layout: Layout) -> str:
    layer = {
        "mediaType": f"{OCI}.layer.v1.tar",
        "digest": digest_of(b"gone"),
        "size": 4,
        "urls": ["https://example.com/layer"],
    }
    layout.image(manifest={"layers": [layer]}, config={"rootfs": {"diff_ids": [digest_of(b"gone")]}})
    return (
        f"layer {short(layer['digest'])} is not in the layout (remote reference); fetch https://example.com/layer "
        f"and put it beside the image's other blobs, as {layer['digest'].replace(':', '/')}"
    )


def layer_cut(layout: Layout) -> str:
    layer = layer_of(layout, layout.image(TREE))
    os.truncate(layout.blob(layer["digest"]), 5)
    return f"layer {short(layer['digest'])} is 5 bytes, its descriptor says {layer['size']}"


def blobs_is_a_file(layout: Layout) -> str:
    layout.image(TREE)
    shutil.rmtree(layout.folder / "blobs")
    (layout.folder / "blobs").write_text("")
    return "is not in the layout"


BROKEN = [
    *(no_index, index_not_json, index_of_wrong_type, index_too_deep, index_too_big, index_is_a_folder),
    *(index_is_a_fifo, index_is_a_loop, index_of_nothing, index_with_bad_digest, index_with_other_digest),
    *(later_layout, layout_file_not_json, unknown_media_type, schema_1_by_type, schema_1_by_version),
    *(manifest_missing, manifest_damaged, manifest_cut, manifest_not_json, manifest_too_big, manifest_is_a_socket),
    *(nested_index_not_json, config_missing, config_not_utf8_time, config_of_wrong_type),
    *(config_without_architecture, config_of_another_platform, nothing_for_the_platform, only_an_artifact),
    *(fewer_diff_ids, no_diff_ids, bad_diff_id, encrypted_layer),
    *(layer_missing, layer_elsewhere, layer_cut, blobs_is_a_file),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_layout(layout, broken, refusal):
    expected = broken(layout)
    line = refusal(f"oci:{layout.folder}")
    assert expected in line
    assert str(layout.folder) in line
