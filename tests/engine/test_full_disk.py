"""A disk that fills up: one line that names the path and what was needed, nothing half-written, success when there
is room again."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.graph.catalogs import write_catalog
from tests.support.disks import NEEDS_ROOT, Mount, small_disks
from tests.support.images import File, Layout
from tests.support.running import executed, results, run_doit

pytestmark = NEEDS_ROOT

BUNDLE = "web@linux/amd64"
CONTENT = random.Random(1).randbytes(3_000_000)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Two images: one that fits on any disk here, and one that does not."""
    Layout(tmp_path / "web").image({"big": File(content=CONTENT), "small": "s"}, cmd=["sh"])
    Layout(tmp_path / "tiny").image({"small": "t"}, cmd=["sh"])
    write_catalog(tmp_path, {"web": "oci:web", "tiny": "oci:tiny"})
    return tmp_path


@pytest.fixture
def mount(catalog: Path) -> Iterator[Mount]:
    with small_disks(catalog) as call:
        yield call


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("args", [["-n", "0"], ["-n", "2"]], ids=" ".join)
def test_the_cache(catalog: Path, mount: Mount, args: list[str]) -> None:
    mount("cache", "1m")
    assert run_doit(catalog, "tiny").exit == 0  # before the other one takes all the room for a moment
    result = run_doit(catalog, *args)
    assert result.exit == 1
    warning, line = result.stderr.splitlines()
    assert warning == "warning: about 9.0 MB are needed in cache, 1.0 MB are free"
    assert line.startswith(f"{BUNDLE}: cache/layers: layer sha256:")
    assert re.search(r"cannot be stored: No space left on device \(after \d{6,7} bytes of its tar\)$", line)
    layers = list(files_below(catalog / "cache/layers"))
    assert len(layers) == 4, layers  # the tar of the small one, when it was used, its index and receipt
    assert (catalog / "bundles/tiny/linux-amd64/rootfs/small").read_text() == "t"
    mount("cache", "20m")
    assert {task.partition(":")[0] for task in executed(catalog)} > {"layer", "tree", "rootfs", "bundle", "catalog"}
    assert (catalog / "bundles/web/linux-amd64/rootfs/big").read_bytes() == CONTENT
    assert executed(catalog) == set()


def test_the_output(catalog: Path, mount: Mount) -> None:
    mount("bundles", "1m")
    result = run_doit(catalog, "-n", "0")  # or the other image, too, finds no room while this one's file is there
    assert result.exit == 1
    warning, line = result.stderr.splitlines()
    assert warning == "warning: about 9.0 MB are needed in bundles, 1.0 MB are free"
    assert line.startswith(f"{BUNDLE}: bundles/.parts/web/linux-amd64/.rootfs: big: No space left on device")
    assert line.endswith("(the whole root takes 3000001 bytes)")
    assert not (catalog / "bundles/web").exists()
    assert files_below(catalog / "bundles/.parts/web/linux-amd64") == [
        "image.json",
        "initconfig.json",
        "packages",
        "spec.json",
        "tree",
    ]
    assert not (catalog / "bundles/.parts/web/linux-amd64/.rootfs").exists()
    mount("bundles", "20m")
    assert executed(catalog) == {f"rootfs:{BUNDLE}:dir", f"bundle:{BUNDLE}", "catalog"}
    assert executed(catalog) == set()


def test_a_good_bundle_stays_when_there_is_no_room_for_the_next(catalog: Path, mount: Mount) -> None:
    mount("bundles", "4m")
    assert run_doit(catalog).exit == 0
    Layout(catalog / "next").image({"big": File(content=CONTENT[::-1])}, cmd=["sh"])
    write_catalog(catalog, {"web": "oci:next", "tiny": "oci:tiny"})
    result = run_doit(catalog)
    assert result.exit == 1
    warning, line = result.stderr.splitlines()
    assert warning.startswith("warning: about 9.0 MB are needed in bundles, ")
    assert "No space left on device" in line
    assert (catalog / "bundles/web/linux-amd64/rootfs/big").read_bytes() == CONTENT
    mount("bundles", "20m")
    assert run_doit(catalog).exit == 0
    assert (catalog / "bundles/web/linux-amd64/rootfs/big").read_bytes() == CONTENT[::-1]


def test_the_state(catalog: Path, mount: Mount) -> None:
    mount("state", "64k")
    (catalog / "state/filler").write_bytes(bytes(60_000))
    result = run_doit(catalog, "--db-file", "state/db")
    assert result.exit == 1
    lines = result.stderr.splitlines()
    assert lines
    assert all("state/db" in line for line in lines), lines
    assert "Traceback" not in result.stdout + result.stderr
    mount("state", "5m")
    assert run_doit(catalog, "--db-file", "state/db").exit == 0
    assert set(results(catalog, "--db-file", "state/db").values()) == {"up-to-date"}
