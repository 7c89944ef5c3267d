"""Every reference case resolves, or fails, as the original did."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.images import unpack

CASES = Path(__file__).parent.parent / "reference" / "cases"
NAMES = sorted(path.name for path in CASES.iterdir())


def unpacked(case: str, folder: Path) -> Path:
    return unpack(CASES / case / "image.tar", folder)


def test_all_cases_are_here():
    assert len(NAMES) > 60


@pytest.mark.parametrize("case", NAMES)
def test_case(case, tmp_path, image, refusal):
    expected = json.loads((CASES / case / "expected.json").read_text())
    folder = unpacked(case, tmp_path / "image")
    archive = CASES / case / "image.tar"
    docker = (folder / "manifest.json").exists()
    forms = (
        [f"docker-archive:{folder}", f"docker-archive:{archive}"]
        if docker
        else [f"oci:{folder}", f"oci-archive:{archive}"]
    )
    if "target config not found" in expected["now"].get("error", ""):
        for form in forms:
            assert "no image for linux/s390x; there are: linux/amd64, linux/arm64" in refusal(
                form, expected["platform"]
            )
        return
    from_folder, from_archive = (image(form, expected["platform"]) for form in forms)
    if expected["now"]["exit"] == 0:
        assert from_folder.config.decode() == expected["now"]["image.json"]
    assert from_folder.config == from_archive.config
    assert from_folder.manifest_digest == from_archive.manifest_digest
    assert [layer.digest for layer in from_folder.layers] == [layer.digest for layer in from_archive.layers]
    for layer, other in zip(from_folder.layers, from_archive.layers, strict=True):
        content = read(layer.place)
        assert content == read(other.place)
        if layer.digest is not None:
            assert layer.digest.hex == hashlib.sha256(content).hexdigest()


def read(place) -> bytes:
    with open(place.path, "rb") as file:
        file.seek(place.offset)
        return file.read(place.size)
