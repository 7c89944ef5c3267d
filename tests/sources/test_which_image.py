"""Which image of several is taken, by name, digest or position; and that it is never silently another than was
meant: where images differ, it is told what tells them apart, and each way named in a hint leads to one of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sources.layouts import TREE, archives, cmd, short, sources
from tests.support.images import REF_NAME, DockerSave, Layout, digest_of, pack

NAME = "io.containerd.image.name"


def config_digest(saved: DockerSave, entry: dict) -> str:
    return digest_of((saved.folder / entry["Config"]).read_bytes())


@pytest.fixture
def ambiguous(image, refusal) -> Callable[..., str]:
    """The refusal of a source that names several images. Its hint is followed: it must give one of them."""

    def check(source: str, platform: str = "linux/amd64") -> str:
        line = refusal(source, platform)
        assert " holds several images that fit: " in line
        hint = re.search(r"; name one of them, such as (.*)$", line)
        assert hint is not None
        image(hint[1], platform)
        return line

    return check


# -- layouts and their archives


def test_names_that_a_source_cannot_hold_are_no_hint(layout, ambiguous):
    layout.image(TREE, tag="@a", cmd=["first"])
    layout.image(TREE, tag="b@sha256:12", cmd=["second"])
    for source in sources(layout):
        ambiguous(source)


def test_one_name_twice(layout, image, ambiguous):
    first = layout.image(TREE, tag="a", cmd=["first"])
    second = layout.image(TREE, tag="a", cmd=["second"])
    for source in sources(layout):
        for chosen in (source, f"{source}:a"):
            line = ambiguous(chosen)
            for one in (first, second):
                assert f"a (linux/amd64, {short(one)}, created 2024-01-02T03:04:05Z)" in line
            assert line.endswith(f"{source}:@{first['digest']}")
        assert cmd(image(f"{source}:a@{second['digest']}")) == "second"


def test_one_image_listed_twice_is_no_question(layout, image):
    one = layout.image(TREE, tag="a", cmd=["one"])
    layout.list(one | {"annotations": {REF_NAME: "b"}})
    layout.list(one)
    layout.index(one, tag="c")
    for source in sources(layout):
        assert cmd(image(source)) == "one"


def test_a_nameless_one_beside_a_named_one(layout, ambiguous):
    layout.image(TREE, cmd=["old"])
    layout.image(TREE, tag="latest", cmd=["new"])
    for source in sources(layout):
        line = ambiguous(source)
        assert "one without a name (linux/amd64, sha256:" in line
        assert line.endswith(f"{source}:latest")


def test_two_nameless_ones(layout, image, ambiguous):
    made = [layout.image(TREE, cmd=["first"]), layout.index(layout.image(TREE, cmd=["second"], listed=False))]
    for source in sources(layout):
        ambiguous(source)
        for at, want in enumerate(("first", "second")):
            assert cmd(image(f"{source}:@{at}")) == want
            assert cmd(image(f"{source}:@{made[at]['digest']}")) == want
            assert cmd(image(f"{source}@{made[at]['digest']}")) == want


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
def test_copied_twice_by_skopeo(tmp_path, layout, image, ambiguous):
    """skopeo takes the name from the old image, which stays in the list: the name means the newer one."""
    for name in ("old", "new"):
        made = Layout(tmp_path / name)
        made.image(TREE, tag="x", cmd=[name])
        copy = ["skopeo", "--insecure-policy", "copy", f"oci:{made.folder}:x", f"oci:{layout.folder}:latest"]
        subprocess.run(copy, check=True, capture_output=True)
    assert cmd(image(f"oci:{layout.folder}:latest")) == "new"
    assert ambiguous(f"oci:{layout.folder}").endswith(f"oci:{layout.folder}:latest")
    subprocess.run(copy, check=True, capture_output=True)  # the same image once more
    assert cmd(image(f"oci:{layout.folder}:latest")) == "new"


@pytest.mark.parametrize("first", ["linux/386", "linux/amd64"])
def test_the_best_platform_is_no_question(layout, image, first):
    second = "linux/amd64" if first == "linux/386" else "linux/386"
    for platform in (first, second):
        layout.image(TREE, platform=platform, cmd=[platform])
    for source in sources(layout):
        assert cmd(image(source)) == "linux/amd64"
        assert cmd(image(source, "linux/386")) == "linux/386"


def test_of_one_platform_in_one_index_the_first(layout, image):
    """As image-index.md says of it."""
    layout.index(*(layout.image(TREE, listed=False, described=True, cmd=[name]) for name in ("first", "second")))
    for source in sources(layout):
        assert cmd(image(source)) == "first"


FULL_NAMES = {
    "web": ["docker.io/library/web:latest", "web:latest", "web", "library/web"],
    "db": ["docker.io/library/db:latest", "index.docker.io/library/db"],
    "app": ["quay.example:5000/team/app:1", "quay.example:5000/team/app:1"],
}


@pytest.mark.parametrize("key", [NAME, REF_NAME])
def test_whole_references(layout, image, ambiguous, key):
    for name, (full, *_) in FULL_NAMES.items():
        layout.image(TREE, annotations={REF_NAME: full.rpartition(":")[2], key: full}, cmd=[name])
    for source in sources(layout):
        for name, forms in FULL_NAMES.items():
            for form in forms:
                assert cmd(image(f"{source}:{form}")) == name
        if key == NAME:  # the ref.name is one for two
            assert ambiguous(f"{source}:latest").endswith(f"{source}:docker.io/library/web:latest")
            assert cmd(image(f"{source}:1")) == "app"


def test_a_name_as_it_stands_comes_first(layout, image, ambiguous):
    layout.image(TREE, annotations={REF_NAME: "1", NAME: "docker.io/library/web:1"}, cmd=["by another name"])
    layout.image(TREE, tag="web:1", cmd=["as it stands"])
    layout.image(TREE, tag=f"web@{digest_of(b'x')}", cmd=["with a digest in it"])
    source = f"oci:{layout.folder}"
    assert cmd(image(f"{source}:web:1")) == "as it stands"
    assert cmd(image(f"{source}:1")) == "by another name"
    ambiguous(f"{source}:docker.io/library/web:1")
    assert cmd(image(f"{source}:web@{digest_of(b'x')}")) == "with a digest in it"


def test_digests_in_nested_indexes(layout, image, refusal):
    arm = layout.image(TREE, listed=False, platform="linux/arm64", described=True, cmd=["arm"])
    pc = layout.image(TREE, listed=False, described=True, cmd=["pc"])
    inner = layout.index(arm, pc, listed=False)
    outer = layout.index(inner, tag="a")
    layout.image(TREE, tag="b", cmd=["other"])
    for source in sources(layout):
        for one in (outer, inner, pc):
            assert cmd(image(f"{source}:@{one['digest']}")) == "pc"
            assert cmd(image(f"{source}:a@{one['digest']}")) == "pc"
            assert f"has no tag 'b@{one['digest']}'" in refusal(f"{source}:b@{one['digest']}")
        assert "the image is for linux/arm64, linux/amd64 was asked for" in refusal(f"{source}:@{arm['digest']}")
        assert cmd(image(f"{source}:@{arm['digest']}", "linux/arm64")) == "arm"


@pytest.mark.parametrize(
    ("tags", "asked", "line"),
    [
        (["a"], ":b", "has no tag 'b'; there are: a"),
        (["a", "b"], ":@2", "has no image '@2'; there are: a, b"),
        ([None], ":@1", "has no image '@1', nor any other; leave it out: {source}"),
        ([None, None], ":a", "has no tag 'a'; there are 2 without a name: {source}:@0 is the first"),
        (["a"], f"@{digest_of(b'')}", f"has no image '@{digest_of(b'')}'; there are: a"),
    ],
)
def test_what_is_not_there(layout, refusal, tags, asked, line):
    for at, tag in enumerate(tags):
        layout.image(TREE, tag=tag, cmd=[str(at)])
    for source in sources(layout):
        assert line.format(source=source) in refusal(source + asked)


def test_an_index_that_cannot_be_read_is_not_in_the_way_of_a_digest(layout, image, refusal):
    layout.blob(layout.index(layout.image(TREE, listed=False), tag="bad")["digest"]).unlink()
    good = layout.image(TREE, listed=False, cmd=["good"])
    layout.index(good, tag="good")
    for source in sources(layout):
        assert cmd(image(f"{source}:@{good['digest']}")) == "good"
        assert "is not in the layout" in refusal(f"{source}:@{digest_of(b'')}")


# -- docker archives


@pytest.mark.parametrize("tags", [(None, None), (["web:1"], None), (["web:1"], ["web:1"]), (["a:1", "b:1"], ["c:1"])])
def test_two_images_of_a_docker_archive(saved, image, ambiguous, tags):
    """`docker save ID ID` among them."""
    made = [saved.image(TREE, tags=names, cmd=[str(at)]) for at, names in enumerate(tags)]
    for source in archives(saved):
        line = ambiguous(source)
        for at, entry in enumerate(made):
            called = ", ".join(tags[at]) if tags[at] else "one without a name"
            digest = config_digest(saved, entry)
            assert f"{called} (linux/amd64, {digest[:19]}, created 2024-01-02T03:04:05Z)" in line
            assert cmd(image(f"{source}:@{at}")) == str(at)
            assert cmd(image(f"{source}@{digest}")) == str(at)


def test_one_image_saved_twice_is_no_question(saved, image):
    saved.image(TREE, tags=["a:1"], cmd=["one"])
    saved.image(TREE, tags=None, cmd=["one"])
    for source in archives(saved):
        assert cmd(image(source)) == "one"


def test_a_damaged_image_of_a_docker_archive_may_be_the_one_that_is_meant(saved, image, ambiguous):
    saved.image(TREE, tags=["good:1"], cmd=["good"])
    (saved.folder / saved.image(TREE, tags=["bad:1"], cmd=["bad"])["Config"]).unlink()
    for source in archives(saved):
        assert "bad:1 (config '" in ambiguous(source)
        assert cmd(image(f"{source}:good:1")) == "good"


@pytest.mark.parametrize(
    ("count", "asked", "line"),
    [
        (1, ":web:1", "has no image 'web:1'; it has none; leave it out: {source}"),
        (2, ":web:1", "has no image 'web:1'; there are 2 without a name: {source}:@0 is the first"),
        (2, ":@2", "has no image '@2'; there are 2 without a name: {source}:@0 is the first"),
    ],
)
def test_what_is_not_in_a_docker_archive(saved, refusal, count, asked, line):
    for at in range(count):
        saved.image(TREE, tags=None, cmd=[str(at)])
    for source in archives(saved):
        assert line.format(source=source) in refusal(source + asked)


def test_no_architecture_in_a_docker_archive(saved, image, refusal):
    saved.image(TREE, platform="linux", cmd=["only"])
    for source in archives(saved):
        for platform in ("linux/amd64", "linux/arm/v6"):
            assert str(image(source, platform).parsed.platform) == platform
    saved.image(TREE, tags=["arm:1"], platform="linux/arm64")
    for source in archives(saved):
        assert "one that names no architecture, linux/arm64" in refusal(source)


def both(folder: Path, saved: DockerSave, layout: Layout) -> list[tuple[str, str]]:
    """An archive and a folder that are both, as (docker's, OCI's) sources."""
    shutil.copytree(layout.folder, saved.folder, dirs_exist_ok=True)
    archive = pack(saved.folder, folder / "both.tar")
    return [
        (f"docker-archive:{saved.folder}", f"oci:{saved.folder}"),
        (f"docker-archive:{archive}", f"oci-archive:{archive}"),
    ]


def test_the_other_reading_of_the_same_archive_has_it(tmp_path, saved, layout, image, refusal):
    saved.image(TREE, tags=["web:1"], cmd=["pc"])
    saved.image(TREE, tags=["docker:1"], cmd=["docker"])
    made = [
        layout.image(TREE, platform=platform, described=True, listed=False, cmd=[platform])
        for platform in ("linux/amd64", "linux/arm64")
    ]
    layout.index(*made)["annotations"] = {NAME: "docker.io/library/web:1"}
    layout.write_index()
    for docker, oci in both(tmp_path, saved, layout):
        for asked, platform, way in (
            (f"{docker}:web:1", "linux/arm64", f"{oci}:web:1"),
            (f"{oci}:docker:1", "linux/amd64", f"{docker}:docker:1"),
        ):
            assert refusal(asked, platform).endswith(f"; use {way}, which has it")
            image(way, platform)
        assert "use " not in refusal(f"{docker}:web:1", "linux/s390x")
    (tmp_path / "saved/blobs/sha256" / layout.listed[0]["digest"].partition(":")[2]).unlink()
    way = f"docker-archive:{saved.folder}:web:1"
    assert refusal(f"oci:{saved.folder}:web:1").endswith(f"is not in the layout; use {way}, which has it")
    assert cmd(image(way)) == "pc"


# -- dir: folders


def test_folders_with_colons(tmp_path, image, refusal):
    layout = Layout(tmp_path / "layout")
    one = layout.image(TREE, cmd=["one"])
    for name in ("web:1", "a:b:c"):
        folder = tmp_path / name
        shutil.copytree(layout.folder / "blobs/sha256", folder)
        shutil.copy(layout.blob(one["digest"]), folder / "manifest.json")
        for end in ("", ":@0", f"@{one['digest']}", f":@{one['digest']}"):
            assert cmd(image(f"dir:{folder}{end}")) == "one"
        assert f"has no image '@{digest_of(b'')}'" in refusal(f"dir:{folder}@{digest_of(b'')}")
        wrong = f"dir:{folder}:latest"
        assert refusal(wrong) == f"{folder}:latest does not exist; such a folder has no tag: use dir:{folder}"
    assert refusal(f"dir:{tmp_path}/none:1") == f"{tmp_path}/none:1 does not exist"


def test_digests_in_folders(tmp_path, image):
    layout = Layout(tmp_path / "layout")
    made = [
        layout.image(TREE, platform=platform, described=True, cmd=[platform])
        for platform in ("linux/amd64", "linux/386")
    ]
    index = layout.index(*made)
    folder = tmp_path / "all:1"
    shutil.copytree(layout.folder / "blobs/sha256", folder)
    for one in made:
        (folder / one["digest"].partition(":")[2]).rename(folder / f"{one['digest'].partition(':')[2]}.manifest.json")
    shutil.copy(layout.blob(index["digest"]), folder / "manifest.json")
    assert cmd(image(f"dir:{folder}")) == "linux/amd64"
    assert cmd(image(f"dir:{folder}@{made[1]['digest']}")) == "linux/386"
