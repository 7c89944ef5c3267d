"""`oci:` and `oci-archive:`, what they choose and what they give."""

from __future__ import annotations

import os
import tarfile

import pytest

from c2wtasks.oci.access import Access
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.sources import archive as archive_module
from c2wtasks.sources import model, reading
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.resolve import Resolver
from tests.support.images import DOCKER, OCI, Layer, Layout, pack, tar

TREE = {"etc/": None, "etc/motd": "hi\n"}


def cmd(image) -> str:
    return image.parsed.cmd[0]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_image(tmp_path, packed, algorithm, image):
    layout = Layout(tmp_path / "web", algorithm=algorithm)
    layer = Layer.of(TREE, "zstd")
    manifest = layout.image(layer, {"x": "y"}, cmd=["sh"], user="app")
    source = f"oci-archive:{pack(layout.folder, tmp_path / 'web.tar')}" if packed else f"oci:{layout.folder}"
    found = image(source)
    assert str(found.manifest_digest) == manifest["digest"]
    assert found.config == layout.blob(str(found.config_digest)).read_bytes()
    assert (found.parsed.cmd, found.parsed.user) == (("sh",), "app")
    assert len(found.layers) == 2
    assert str(found.layers[0].diff_id) == layer.diff_id
    place = found.layers[0].place
    with open(place.path, "rb") as file:
        file.seek(place.offset)
        assert file.read(place.size) == layer.blob
    folder = str(layout.folder)
    blobs = [str(layout.blob(manifest["digest"])), str(layout.blob(str(found.config_digest)))]
    names = [f"{folder}/oci-layout", f"{folder}/index.json", *blobs]
    assert list(found.files) == ([f"{folder}.tar"] if packed else names)


@pytest.mark.parametrize(
    ("media_type", "docker"),
    [
        (f"{OCI}.layer.nondistributable.v1.tar", False),
        (f"{OCI}.layer.nondistributable.v1.tar+gzip", False),
        (f"{OCI}.layer.nondistributable.v1.tar+zstd", False),
        (f"{DOCKER}.image.rootfs.foreign.diff.tar", True),
        (f"{DOCKER}.image.rootfs.foreign.diff.tar.gzip", True),
    ],
)
def test_a_nondistributable_layer_that_is_there(layout, image, media_type, docker):
    compression = {"gzip": "gzip", "zstd": "zstd"}.get(media_type[-4:], "none")
    layout.image(TREE, Layer(tar({"x": "y"}), compression, media_type), docker=docker)
    assert [layer.place.size for layer in image(f"oci:{layout.folder}").layers][1] > 0


def test_files_hold_all_that_was_asked(layout, image):
    other = layout.image(TREE, platform="linux/arm64")
    index = layout.index(layout.image(TREE, listed=False))
    files = image(f"oci:{layout.folder}").files
    assert str(layout.blob(other["digest"])) in files
    assert str(layout.blob(index["digest"])) in files


def test_tag_selects(layout, image, refusal):
    layout.image(TREE, tag="a", cmd=["a"])
    layout.image(TREE, tag="b:1", cmd=["b"])
    assert cmd(image(f"oci:{layout.folder}:a")) == "a"
    assert cmd(image(f"oci:{layout.folder}:b:1")) == "b"
    line = refusal(f"oci:{layout.folder}")
    assert line.startswith(f"{layout.folder} holds several images that fit: a (linux/amd64, sha256:")
    assert "created 2024-01-02T03:04:05Z), b:1 (linux/amd64, sha256:" in line
    assert line.endswith(f"; name one of them, such as oci:{layout.folder}:a")
    assert refusal(f"oci:{layout.folder}:c") == f"{layout.folder} has no tag 'c'; there are: a, b:1"


def test_no_tags_at_all(layout, refusal):
    layout.image(TREE)
    assert refusal(f"oci:{layout.folder}:c") == (
        f"{layout.folder} has no tag 'c', nor any other; leave it out: oci:{layout.folder}"
    )


def test_tags_for_other_platforms_are_not_in_the_way(layout, image):
    layout.image(TREE, tag="arm", platform="linux/arm64", cmd=["arm"])
    layout.image(TREE, tag="pc", cmd=["pc"])
    assert cmd(image(f"oci:{layout.folder}")) == "pc"
    assert cmd(image(f"oci:{layout.folder}", "linux/arm64")) == "arm"


def test_a_broken_image_may_be_the_one_that_is_meant(layout, image, refusal):
    layout.image(TREE, tag="good", cmd=["good"])
    bad = layout.image(TREE, tag="bad", cmd=["bad"], described=True)
    layout.blob(bad["digest"]).unlink()
    line = refusal(f"oci:{layout.folder}")
    assert f"bad (manifest {bad['digest'][:19]} (linux/amd64) is not in the layout)" in line
    assert line.endswith(f"; name one of them, such as oci:{layout.folder}:good")
    assert cmd(image(f"oci:{layout.folder}:good")) == "good"
    bad["platform"]["architecture"] = "386"  # which would serve, but not as well
    layout.write_index()
    assert cmd(image(f"oci:{layout.folder}")) == "good"


def test_a_tagged_index_counts_as_a_candidate(layout, image, refusal):
    layout.index(layout.image(TREE, listed=False, described=True, cmd=["in"]), tag="multi")
    assert cmd(image(f"oci:{layout.folder}:multi")) == "in"
    layout.image(TREE, tag="plain", cmd=["out"])
    line = refusal(f"oci:{layout.folder}")
    assert "several images that fit: multi (linux/amd64, sha256:" in line
    assert "), plain (linux/amd64, sha256:" in line


def test_manifests_before_indexes(layout, image):
    inner = layout.index(layout.image(TREE, listed=False, described=True, cmd=["nested"]), listed=False)
    layout.index(inner, layout.image(TREE, listed=False, cmd=["top"]))
    assert cmd(image(f"oci:{layout.folder}")) == "top"


def test_best_platform_first_then_those_without(layout, image):
    def made(**kwargs):
        return layout.image(TREE, listed=False, **kwargs)

    nothing = made(cmd=["says nothing"])
    v6 = made(platform="linux/arm/v6", described=True, cmd=["v6"])
    v7 = made(platform="linux/arm/v7", described=True, cmd=["v7"])
    layout.index(nothing, v6, v7)
    assert cmd(image(f"oci:{layout.folder}", "linux/arm64")) == "v7"
    assert cmd(image(f"oci:{layout.folder}", "linux/arm/v6")) == "v6"
    assert cmd(image(f"oci:{layout.folder}", "linux/amd64")) == "says nothing"


def test_indexes_in_indexes(layout, image):
    deep = layout.index(layout.image(TREE, listed=False, cmd=["deep"]), listed=False, docker=True)
    layout.index(layout.index(deep, deep, listed=False))
    assert cmd(image(f"oci:{layout.folder}")) == "deep"


def test_an_index_bomb_ends(layout, refusal):
    inner = layout.image(TREE, listed=False, platform="linux/arm64")
    for _ in range(10):
        inner = layout.index(*[inner] * 20, listed=False)
    layout.list(inner)
    assert "no image for linux/amd64; there are: linux/arm64" in refusal(f"oci:{layout.folder}")
    layout.listed.clear()
    for _ in range(10):
        inner = layout.index(inner, listed=False)
    layout.list(inner)
    assert "indexes lie more than 16 deep" in refusal(f"oci:{layout.folder}")


def test_attestations_and_artifacts_are_passed_over(layout, image):
    unknown = {"os": "unknown", "architecture": "unknown"}
    layout.list(layout.put(b"{}", "application/x", platform=unknown))
    layout.list(layout.put(b"{}", f"{OCI}.manifest.v1+json", annotations={"vnd.docker.reference.type": "x"}))
    layout.image(TREE, config_type="application/vnd.oci.empty.v1+json")
    layout.image(Layer(b"signature", "none", "application/vnd.dev.cosign.simplesigning.v1+json"))
    layout.image(TREE, cmd=["image"])
    assert cmd(image(f"oci:{layout.folder}")) == "image"


def test_docker_media_types(layout, image):
    layout.index(
        layout.image(Layer.of(TREE, "gzip"), Layer.of(TREE, "zstd"), listed=False, docker=True, cmd=["x"]),
        docker=True,
    )
    assert cmd(image(f"oci:{layout.folder}")) == "x"


def test_variant_missing_from_config(layout, image, refusal):
    manifest = layout.image(TREE, platform="linux/arm", described="linux/arm/v6", listed=False)
    layout.index(manifest)
    assert image(f"oci:{layout.folder}", "linux/arm/v6").parsed.architecture == "arm"
    del manifest["platform"]
    layout.listed.clear()
    layout.list(manifest)
    assert "the image is for linux/arm/v7, linux/arm/v6 was asked for" in refusal(
        f"oci:{layout.folder}", "linux/arm/v6"
    )


def test_without_oci_layout_and_with_links(layout, tmp_path, image):
    (layout.folder / "oci-layout").unlink()
    layout.image(TREE)
    os.rename(layout.folder / "blobs", tmp_path / "shared")
    os.symlink(tmp_path / "shared", layout.folder / "blobs")
    image(f"oci:{layout.folder}")


def test_archive_names_links_and_duplicates(layout, tmp_path, image):
    layout.image(TREE, cmd=["old"])
    path = pack(layout.folder, tmp_path / "web.tar", prefix="./")
    old = image(f"oci-archive:{path}")
    assert cmd(old) == "old"
    layout.listed.clear()
    new = layout.image(TREE, cmd=["new"])
    digest = new["digest"].partition(":")[2]
    with tarfile.open(path, "a") as out:
        out.add(layout.folder / "index.json", "index.json")  # the last one of a name counts
        for name in os.listdir(layout.folder / "blobs/sha256"):
            out.add(layout.folder / "blobs/sha256" / name, f"data/{name}")
            link = tarfile.TarInfo(f"blobs/sha256/{name}")
            hard = name == digest
            link.type, link.linkname = tarfile.LNKTYPE if hard else tarfile.SYMTYPE, f"data/{name}"
            link.linkname = link.linkname if hard else f"../../{link.linkname}"
            out.addfile(link)
    assert cmd(image(f"oci-archive:{path}")) == "new"


def test_a_thousand_images_read_index_json_once(layout, tmp_path, monkeypatch):
    for number in range(30):
        layout.image(TREE, tag=f"t{number}", cmd=[str(number)])
    path = pack(layout.folder, tmp_path / "web.tar")
    opened = []
    monkeypatch.setattr(
        reading, "open_regular", lambda name, real=reading.open_regular: opened.append(name) or real(name)
    )
    monkeypatch.setattr(
        archive_module,
        "open_regular",
        lambda name, real=archive_module.open_regular: opened.append("scan") or real(name),
    )
    monkeypatch.setattr(
        model,
        "open_below",
        lambda top, name, leave, real=model.open_below: (
            opened.append(f"{top}/{name}") or real(top, name, leave=leave)
        ),
    )
    resolver = Resolver(Access(offline=True), Documents(""))
    for _ in range(2):
        for number in range(30):
            for source in (f"oci:{layout.folder}:t{number}", f"oci-archive:{path}:t{number}"):
                reference = Reference.parse(source)
                found = resolver.resolve(reference, reference.path, Platform("linux", "amd64"))
                assert cmd(found) == str(number)
    assert opened.count(str(layout.folder / "index.json")) == 1
    assert opened.count("scan") == 1
    assert len(opened) == len(set(opened)) + 30 * 2 + 1  # of the archive: its manifests, configs, index, oci-layout
