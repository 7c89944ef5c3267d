"""A run that needs more room than there is says so before it begins."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.graph.catalogs import families, write_catalog
from tests.support.disks import NEEDS_ROOT, Mount, small_disks
from tests.support.images import File, Layer, Layout, Tree
from tests.support.running import executed, run_doit

CONTENT = random.Random(1).randbytes(3_000_000)
IMAGES = {"web": "oci:web", "tiny": "oci:tiny"}


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """An image of 3 MB, which compression cannot make smaller, and a tiny one."""
    Layout(tmp_path / "web").image({"big": File(content=CONTENT)}, cmd=["sh"])
    Layout(tmp_path / "tiny").image({"small": "t"}, cmd=["sh"])
    write_catalog(tmp_path, IMAGES)
    return tmp_path


@pytest.fixture
def mount(catalog: Path) -> Iterator[Mount]:
    with small_disks(catalog) as call:
        yield call


def warnings(text: str) -> list[tuple[str, str]]:
    """How much was said to be needed, and where; nothing else was said."""
    found = [
        re.fullmatch(r"warning: about (.*) are needed in (.*), [0-9.]+ [kM]B are free", x) for x in text.splitlines()
    ]
    assert all(found), text
    return [(one[1], one[2]) for one in found if one]


@NEEDS_ROOT
@pytest.mark.parametrize("args", [["-n", "0"], ["-n", "2"], ["-a"]], ids=" ".join)
def test_sizes_that_nobody_knows_yet(catalog: Path, mount: Mount, args: list[str]) -> None:
    mount("cache", "4m")
    mount("bundles", "5m")
    result = run_doit(catalog, *args)
    assert result.exit == 0  # it was only a guess
    assert warnings(result.stderr) == [("9.0 MB", "cache"), ("9.0 MB", "bundles")]
    assert run_doit(catalog).stderr == ""


@NEEDS_ROOT
def test_layers_that_are_not_compressed(catalog: Path, mount: Mount) -> None:
    Layout(catalog / "plain").image({"big": File(content=CONTENT)}, cmd=["sh"], compression="none")
    write_catalog(catalog, {"plain": "oci:plain"})
    mount("cache", "1m")
    result = run_doit(catalog)
    assert warnings(result.stderr.splitlines()[0]) == [("3.0 MB", "cache")]


@NEEDS_ROOT
def test_sizes_known_by_receipts(catalog: Path, mount: Mount) -> None:
    mount("cache", "20m")
    assert run_doit(catalog).exit == 0
    assert run_doit(catalog, "gc", "--max-size", "0").exit == 1
    shutil.rmtree(catalog / "bundles")
    mount("cache", "1m")
    result = run_doit(catalog)
    assert warnings(result.stderr.splitlines()[0]) == [("3.0 MB", "cache")]


@NEEDS_ROOT
def test_sizes_known_by_the_published_bundle(catalog: Path, mount: Mount) -> None:
    mount("bundles", "4m")
    assert run_doit(catalog).exit == 0
    shutil.rmtree(catalog / "cache")
    mount("cache", "1m")
    result = run_doit(catalog)
    assert warnings(result.stderr.splitlines()[0]) == [("3.0 MB", "cache")]  # and the roots stay as they are
    mount("cache", "4m")
    assert run_doit(catalog).stderr == ""
    shutil.rmtree(catalog / "bundles/.parts/web")
    result = run_doit(catalog)
    assert warnings(result.stderr.splitlines()[0]) == [("3.0 MB", "bundles")]


@NEEDS_ROOT
def test_what_a_root_shares_with_the_published_one_does_not_count(catalog: Path, mount: Mount) -> None:
    """Whether it is made of the spare one or written anew. A form that is a file is written whole."""
    layout = Layout(catalog / "on top")
    big = Layer.of({"big": File(content=CONTENT)}, "none")
    for number in range(4):
        top: Tree = {"top": File(content=CONTENT[:600_000] + bytes([number]))}
        layout.image(big, top, tag=f"v{number}", compression="none")
    mount("bundles", "5m")
    for number in range(3):
        write_catalog(catalog, {"web": f"oci:on top:v{number}"})
        result = run_doit(catalog)
        assert (result.exit, result.stderr) == (0, "")
    write_catalog(catalog, {"web": {"source": "oci:on top:v3", "rootfs": ["dir", "tar"]}})
    assert warnings(run_doit(catalog).stderr.splitlines()[0]) == [("4.2 MB", "bundles")]


@NEEDS_ROOT
def test_what_roots_share_counts_once(catalog: Path, mount: Mount) -> None:
    """Where it is there already it does not count at all."""
    layout = Layout(catalog / "many")
    big = Layer.of({"big": File(content=CONTENT)}, "none")
    images = {}
    for number in range(4):
        layout.image(big, {"top": str(number)}, tag=f"v{number}", compression="none")
        images[f"i{number}"] = f"oci:many:v{number}"
    mount("bundles", "5m")
    for count in 2, 4:
        write_catalog(catalog, dict(list(images.items())[:count]), share=True)
        result = run_doit(catalog, "-n", "1")  # two might both write what is to be one
        assert (result.exit, result.stderr) == (0, "")
    write_catalog(catalog, images)
    assert warnings(run_doit(catalog).stderr.splitlines()[0]) == [("12.0 MB", "bundles")]


@NEEDS_ROOT
def test_one_disk_for_both(catalog: Path, mount: Mount) -> None:
    write_catalog(catalog, IMAGES, cache="disk/store/cache", output="disk/out")
    mount("disk", "8m")
    result = run_doit(catalog)
    assert result.exit == 0
    assert warnings(result.stderr) == [("18.0 MB", "disk/store/cache and disk/out")]


@NEEDS_ROOT
def test_only_what_is_stale_counts(catalog: Path, mount: Mount) -> None:
    mount("bundles", "4m")
    mount("cache", "4m")
    run_doit(catalog)
    Layout(catalog / "next").image({"small": "u"}, cmd=["sh"])
    write_catalog(catalog, {**IMAGES, "tiny": "oci:next"})
    assert run_doit(catalog).stderr == ""
    shutil.rmtree(catalog / "bundles/tiny")
    assert run_doit(catalog).stderr == ""


def test_a_lost_cache_makes_no_tree_stale(catalog: Path) -> None:
    assert run_doit(catalog).exit == 0
    shutil.rmtree(catalog / "cache")
    plan = run_doit(catalog, "plan").stdout
    assert {line[0] for line in plan.splitlines() if "layer sha256:" in line} == {" "}
    assert {line[0] for line in plan.splitlines() if "@linux" in line} == {"?"}
    assert families(executed(catalog)) == {"layer"}


@pytest.mark.parametrize("args", [["-n", "0"], ["-n", "2"]], ids=" ".join)
def test_asked_once_before_the_first_heavy_task(toy: Path, args: list[str]) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(
            "def task_tree():\n"
            "    for name, layers in BUNDLES.items():\n"
            "        yield {'name': name, 'actions': [(tree, [name])], 'meta': {'blob_bytes': 1},\n"
            "               'file_dep': [f'out/{layer}.idx' for layer in layers], 'targets': [f'out/{name}.tree']}\n"
            "def warn_before(tasks):\n"
            "    yield ' '.join(['foreseen:', *sorted(task[5:] for task in tasks if task.startswith('tree:'))])\n"
            "HOOKS.warn_before = warn_before\n"
        )
    first = run_doit(toy, *args)
    assert first.exit == 0
    assert first.stderr == "foreseen: api@linux/amd64 web@linux/amd64 web@linux/arm64\n"
    assert run_doit(toy, *args).stderr == ""
    (toy / "blobs/web").write_text("changed")
    (toy / "out/web@linux/arm64.tree").unlink()
    assert run_doit(toy, *args, "web@linux/arm64").stderr == "foreseen: web@linux/arm64\n"


def test_tasks_of_ones_own_are_not_asked_out_of_turn(catalog: Path) -> None:
    with (catalog / "dodo.py").open("a") as dodo:
        dodo.write(
            "import os\n"
            "def task_note():\n"
            "    return {'actions': ['date > note'], 'task_dep': ['catalog'],\n"
            "            'uptodate': [lambda: os.path.getsize('bundles/catalog.json') == 0]}\n"
        )
    result = run_doit(catalog)
    assert (result.exit, result.stderr) == (0, "")
    assert run_doit(catalog, "why").stdout == "note: never built\n"
