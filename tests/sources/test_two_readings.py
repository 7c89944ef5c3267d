"""Documents of an image that can be read in two ways, contradict each other, or are none: what is taken of them, and
what is refused."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from tests.sources.layouts import TREE, archives, cmd, short, sources
from tests.support.images import REF_NAME, to_json

# -- documents that can be read in two ways, wherever they come from


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"manifests": []}, "it is listed as a manifest and has manifests, so it can be read in two ways"),
        (
            {"mediaType": "application/vnd.oci.image.index.v1+json"},
            "it is listed as a manifest, its own mediaType is",
        ),
    ],
)
def test_a_manifest_with_two_readings(layout, tmp_path, refusal, fields, problem):
    one = layout.image(TREE, manifest=fields)
    for source in sources(layout):
        assert problem in refusal(source)
    folder = tmp_path / "dir"
    shutil.copytree(layout.folder / "blobs/sha256", folder)
    shutil.copy(layout.blob(one["digest"]), folder / "manifest.json")
    assert re.search("neither an index nor a manifest|of another kind", refusal(f"dir:{folder}"))


@pytest.mark.parametrize("extra", [{"config": {}}, {"layers": []}, {"mediaType": "application/x"}])
@pytest.mark.parametrize("where", ["index.json", "nested"])
def test_an_index_with_two_readings(layout, refusal, extra, where):
    if where == "index.json":
        layout.image(TREE)
        path = layout.folder / "index.json"
        path.write_bytes(to_json(json.loads(path.read_bytes()) | extra))
    else:
        kind = "application/vnd.oci.image.index.v1+json"
        document = {"schemaVersion": 2, "manifests": [layout.image(TREE, listed=False)]} | extra
        layout.list(layout.put(to_json(document), kind))
    for source in sources(layout):
        assert re.search("so it can be read in two ways|its own mediaType is application/x", refusal(source))


def test_documents_without_a_media_type_have_the_descriptors(layout, image):
    inner = layout.image(TREE, docker=True, manifest={"mediaType": None}, listed=False, described=True, cmd=["x"])
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    layout.list(layout.put(to_json({"schemaVersion": 2, "manifests": [inner]}), kind))
    for source in sources(layout):
        assert cmd(image(source)) == "x"


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("platform", [None, {"os": "linux", "architecture": "amd64"}])
def test_entries_of_unknown_media_types_are_passed_over(layout, image, refusal, nested, platform):
    more = {"platform": platform} if platform else {}
    other = layout.put(b"<sbom/>", "application/xml", **more)
    one = layout.image(TREE, listed=False, platform="linux/arm64", described=True, cmd=["arm"])
    layout.index(other, one, other) if nested else [layout.list(entry) for entry in (other, one, other)]
    for source in sources(layout):
        assert cmd(image(source, "linux/arm64")) == "arm"
        assert "the image is for linux/arm64, linux/amd64 was asked for" in refusal(source)


@pytest.mark.parametrize("nested", [False, True])
def test_features_of_the_operating_system(layout, image, refusal, nested):
    def made(name: str, *features: str) -> dict:
        one = layout.image(TREE, listed=False, described=True, cmd=[name])
        if features:
            one["platform"]["os.features"] = list(features)
        return one

    needy, plain = made("needy", "erofs", "x"), made("plain")
    layout.index(needy, plain, tag="both") if nested else [layout.list(entry) for entry in (needy, plain)]
    layout.index(needy, tag="alone")
    for source in sources(layout):
        assert cmd(image(f"{source}:both" if nested else source)) == "plain"
        line = refusal(f"{source}:alone")
        assert f"{short(needy)} needs features of the operating system (erofs, x)" in line
        assert cmd(image(line.rpartition("name it by its digest: ")[2])) == "needy"


# -- the index's word and the config's


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("asked", ["linux/amd64", "linux/arm64"])
@pytest.mark.parametrize("beside", [False, True])
def test_index_and_config_disagree(layout, image, refusal, nested, asked, beside):
    """Both are told, whichever is asked, and the way out is one."""
    wrong = layout.image(TREE, listed=False, described="linux/arm64", cmd=["wrong"])
    entries = [wrong] + [layout.image(TREE, listed=False, platform="linux/s390x", described=True)] * beside
    layout.index(*entries) if nested else [layout.list(entry) for entry in entries]
    for source in sources(layout):
        line = refusal(source, asked)
        assert (
            f"manifest {short(wrong)} is for linux/arm64 by the index that lists it, "
            f"for linux/amd64 by its own config; "
            f"both must serve {asked}, which was asked for"
        ) in line
        way, platform = re.search(r"what its config says: (\S+) for (\S+)$", line).groups()
        assert cmd(image(way, platform)) == "wrong"


def test_one_that_agrees_is_taken(layout, image, refusal):
    wrong = layout.image(TREE, listed=False, described="linux/arm64", cmd=["wrong"])
    right = layout.image(TREE, listed=False, platform="linux/arm64", described=True, cmd=["right"])
    layout.index(wrong, right)
    assert cmd(image(f"oci:{layout.folder}", "linux/arm64")) == "right"
    assert "there are:" not in refusal(f"oci:{layout.folder}", "linux/amd64")


def test_no_architecture_but_in_the_index(layout, image, refusal):
    layout.index(layout.image(TREE, platform="linux", described="linux/arm/v6", listed=False))
    found = image(f"oci:{layout.folder}", "linux/arm/v6")
    assert str(found.parsed.platform) == "linux/arm/v6"
    assert b"architecture" not in found.config
    assert "the image is for linux/arm/v6" in refusal(f"oci:{layout.folder}", "linux/amd64")


# -- what lies in a file's place


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
PAGE = b"\xef\xbb\xbf\n <!DOCTYPE html>\n<html><body>404</body></html>\n"
MISTAKEN = {
    POINTER: "is a Git LFS pointer, not the file itself; fetch it: git lfs pull",
    PAGE: "is an HTML page, not the file itself; download it again",
    PAGE * 100: "is an HTML page, not the file itself; download it again",
    b"<?xml version='1.0'?><Error/>": "is an XML document, not the file itself; download it again",
}


@pytest.mark.parametrize("content", MISTAKEN)
def test_pointers_and_pages(tmp_path, layout, saved, refusal, content):
    said = MISTAKEN[content]
    path = tmp_path / "web.tar"
    path.write_bytes(content)
    for transport in ("oci-archive", "docker-archive"):
        assert refusal(f"{transport}:{path}") == f"{path} {said}"
    manifest = layout.image(TREE)
    document = json.loads(layout.blob(manifest["digest"]).read_bytes())
    for descriptor, what in (
        (document["layers"][0], "layer"),
        (document["config"], "config"),
        (manifest, "manifest"),
    ):
        layout.blob(descriptor["digest"]).write_bytes(content)
        for source in sources(layout):
            place = source.partition(":")[2]
            assert refusal(source) == f"{place}: {what} {descriptor['digest'][:19]} {said}"
    (layout.folder / "index.json").write_bytes(content)
    for source in sources(layout):
        assert refusal(source).endswith(f": index.json {said}")
    entry = saved.image(TREE)
    for name, what in ((entry["Layers"][0], "layer"), (entry["Config"], "config")):
        (saved.folder / name).write_bytes(content)
        for source in archives(saved):
            assert refusal(source) == f"{source.partition(':')[2]}: {what} {name!r} {said}"


# -- digests of algorithms that are not known


def foreign(one: dict, **more: object) -> dict:
    """The entry of an index, under a digest of an unknown algorithm."""
    return {**one, "digest": f"blake3:{'0' * 64}", **more}


def platform(architecture: str) -> dict:
    return {"os": "linux", "architecture": architecture}


def test_a_digest_that_is_not_known_is_passed_over(layout, image):
    one = layout.image(TREE, cmd=["one"], described=True, listed=False)
    other = foreign(one, platform=platform("arm64"))
    nameless = {key: value for key, value in foreign(one).items() if key != "platform"}
    layout.index(foreign(one), other, nameless, one)
    for source in sources(layout):
        assert cmd(image(source)) == "one"
        assert cmd(image(f"{source}:@{one['digest']}")) == "one"


def test_it_keeps_its_position(layout, image, refusal):
    layout.list(foreign(layout.image(TREE, listed=False), annotations={REF_NAME: "a"}))
    layout.image(TREE, cmd=["second"])
    for source in sources(layout):
        assert cmd(image(source)) == "second"
        assert cmd(image(f"{source}:@1")) == "second"
        for asked in (f"{source}:a", f"{source}:@0"):
            assert "blake3:000000000000: digest algorithm 'blake3' is not supported" in refusal(asked)


def test_it_is_told_of_where_it_is_needed(layout, refusal):
    one = layout.image(TREE, described=True, listed=False)
    arm = layout.image(TREE, platform="linux/arm64", described=True, listed=False)
    layout.index(foreign(one), arm, foreign(one, platform=platform("s390x")))
    for source in sources(layout):
        assert (
            "no image for linux/amd64 that can be used: blake3:000000000000: digest algorithm 'blake3' is not "
            "supported (sha256 and sha512 are)"
        ) in refusal(source)
        assert "the image is for linux/arm64, linux/riscv64 was asked for" in refusal(source, "linux/riscv64")


@pytest.mark.parametrize("where", ["config", "layers"])
def test_a_manifest_needs_its_parts(layout, refusal, where):
    part = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"blake3:{'0' * 64}", "size": 1}
    layout.image(TREE, manifest={where: part if where == "config" else [part]})
    assert "digest algorithm 'blake3' is not supported" in refusal(f"oci:{layout.folder}")
