"""Every form of every bundle of the example catalog and of the reference images, made by a real run and read back by
others: each entry is that of the tree, as far as the form holds it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from c2wtasks.tree import treefile
from tests.forms.reading import assert_holds
from tests.reference import test_reference as reference
from tests.support.images import unpack
from tests.support.running import run_doit

PROJECT = Path(__file__).parents[2]
FORMS = ["tar", "cpio", "iso", "ext4", "squashfs", "erofs"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: images are mounted, owners compared")


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
        assert_holds(form, image.parent, tree, tars, scratch / str(count))
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
        unpack(reference.CASES / case / "image.tar", folder / "images" / case)
    return folder, build(folder, {case: reference._image_entry(case, which) for case, which in reference.GOOD})


@pytest.mark.parametrize("form", FORMS)
def test_examples(examples: tuple[Path, list[dict[str, Any]]], form: str, tmp_path: Path) -> None:
    assert check(*examples, form, tmp_path) == 10


@pytest.mark.parametrize("form", FORMS)
def test_references(references: tuple[Path, list[dict[str, Any]]], form: str, tmp_path: Path) -> None:
    assert check(*references, form, tmp_path) > 40
