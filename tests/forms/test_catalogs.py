"""Every form of every bundle of the example catalog and of the reference images, made by a real run and read back by
others: each entry is that of the tree, as far as the form holds it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from c2wtasks.tree import treefile
from tests.reference import test_reference as reference
from tests.rootfs.reading import by_python, by_tool
from tests.rootfs.test_cpio import without_symlinks_of_more_names
from tests.support import roots
from tests.support.running import run_doit

PROJECT = Path(__file__).parents[2]
FORMS = ["tar", "cpio", "iso", "ext4", "squashfs", "erofs"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: images are mounted, owners compared")

Lines = list[str]


def mounted(kind: str, image: Path, place: Path) -> Lines:
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", kind, "-o", "loop,ro", image, place], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount {kind}: {done.stderr.strip()}")
    try:
        return [line for line in roots.of_folder(str(place)) if not line.startswith("lost+found ")]
    finally:
        subprocess.run(["umount", place], check=True)


def by_cpio(image: Path, place: Path) -> Lines:
    return by_tool(place, "cpio", ["cpio", "--quiet", "-idm"], image)


def by_bsdtar(image: Path, place: Path) -> Lines:
    return by_tool(place, "libarchive-tools", ["bsdtar", "-xpf", str(image), "--numeric-owner"])


READERS: dict[str, Callable[[Path, Path], Lines]] = {
    "tar": lambda image, _place: by_python(image),
    "cpio": by_cpio,
    "iso": by_bsdtar,
    **{kind: lambda image, place, kind=kind: mounted(kind, image, place) for kind in ("ext4", "squashfs", "erofs")},  # type: ignore[misc]
}


def seconds(line: str) -> str:
    """The line without parts of seconds."""
    return re.sub(r"( [dflcbp] \d{4} \d+:\d+ -?\d+)\d{9}\b", r"\1", line)


def without_xattrs(line: str) -> str:
    return re.sub(r" [a-z]+\.[^ =]+=[0-9a-f]*", "", line)


def without_times_of_folders_and_links(line: str) -> str:
    return re.sub(r"( [dl] \d{4} \d+:\d+) -?\d+", r"\1", line)


HELD: dict[str, list[Callable[[str], str]]] = {
    "tar": [],
    "cpio": [without_xattrs, seconds, without_times_of_folders_and_links],  # the latter GNU cpio leaves alone
    "iso": [without_xattrs, seconds],
    "ext4": [],
    "squashfs": [seconds],
    "erofs": [],
}


def build(folder: Path, images: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The good bundles of a catalog of these images in all forms."""
    defaults = {**more.pop("defaults", {}), "rootfs": FORMS}
    text = json.dumps({"defaults": defaults, "images": images, **more})
    (folder / "bundle.yaml").write_text(text)
    shutil.copy(PROJECT / "dodo.py", folder)
    done = run_doit(folder)
    assert "Traceback" not in done.stdout + done.stderr
    bundles = json.loads((folder / "bundles/catalog.json").read_text())["bundles"]
    return [one for one in bundles if one["status"] == "built"]


def check(folder: Path, bundles: list[dict[str, Any]], form: str, scratch: Path) -> int:
    """Holds the form against the tree in each bundle; says how many have it."""
    count = 0
    for bundle in bundles:
        image = folder / "bundles" / bundle["path"] / f"rootfs.{form}"
        if not image.exists():  # an external bundle
            continue
        tree = treefile.decode((folder / "bundles/.parts" / bundle["path"] / "tree").read_bytes())
        tars = [(folder / f"cache/layers/{one.replace(':', '/')}.tar").read_bytes() for one in tree.layers]
        if form == "cpio":
            tree = without_symlinks_of_more_names(tree)
        have, want = READERS[form](image, scratch / str(count)), roots.of_tree(tree, tars)
        for change in HELD[form]:
            have, want = [change(line) for line in have], [change(line) for line in want]
        # What is unpacked into a folder does not always leave that as the root is.
        skipped = 1 if form in ("cpio", "iso") else 0
        assert have[skipped:] == want[skipped:], bundle["name"]
        count += 1
    return count


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(PROJECT / "examples", folder / "examples")
    catalog = yaml.safe_load((PROJECT / "bundle.yaml").read_text())
    return folder, build(folder, catalog.pop("images"), **catalog)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("references")
    for case, _ in reference.GOOD:
        with tarfile.open(reference.CASES / case / "image.tar") as archive:
            archive.extractall(folder / "images" / case, filter="fully_trusted")
    return folder, build(folder, {case: reference._image_entry(case, which) for case, which in reference.GOOD})


@pytest.mark.parametrize("form", FORMS)
def test_examples(examples: tuple[Path, list[dict[str, Any]]], form: str, tmp_path: Path) -> None:
    assert check(*examples, form, tmp_path) == 10


@pytest.mark.parametrize("form", FORMS)
def test_references(references: tuple[Path, list[dict[str, Any]]], form: str, tmp_path: Path) -> None:
    assert check(*references, form, tmp_path) > 40
