"""Nothing is done twice: for each change, doit's own report of what ran."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import BASE, families, small_catalog, write_catalog
from tests.support.images import DockerSave, Layout, pack
from tests.support.running import executed, results, run_doit

WEB = "web@linux/amd64"
Images = dict[str, Any]


@pytest.fixture
def catalog(tmp_path: Path) -> tuple[Path, Images]:
    """A catalog that has been built."""
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    return tmp_path, images


def test_the_first_run_does_all(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    ran = executed(tmp_path)
    assert len({task for task in ran if task.startswith("layer:")}) == 4  # of five, one is shared
    bundles = [f"{name}@linux/amd64" for name in ("db", "other", "web")]
    assert families(ran) == {"layer", "catalog"} | {
        task for b in bundles for task in (f"tree:{b}", f"rootfs:{b}:dir", f"spec:{b}", f"boot:{b}", f"bundle:{b}")
    }


def test_nothing_changed(catalog: tuple[Path, Images]) -> None:
    assert executed(catalog[0]) == set()


def test_blobs_touched(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    for path in folder.glob("*/blobs/sha256/*"):
        os.utime(path)
    assert executed(folder) == set()
    # and on the run after, no layer's content is looked at
    layers = {path.name for path in folder.glob("*/blobs/sha256/*") if not path.read_bytes().startswith(b"{")}
    opened = opened_files(folder)
    assert layers and not layers & {Path(path).name for path in opened}
    assert "bundle.yaml" in opened  # the measure works


def test_a_docker_archive_touched(tmp_path: Path) -> None:
    DockerSave(tmp_path / "saved").image(BASE, {"srv/index": "web\n"})
    pack(tmp_path / "saved", tmp_path / "web.tar")
    write_catalog(tmp_path, {"web": {"source": "docker-archive:web.tar"}})
    assert len(families(executed(tmp_path))) == 7
    assert executed(tmp_path) == set()
    assert opened_files(tmp_path).count("web.tar") == 0  # what it says is remembered
    os.utime(tmp_path / "web.tar")
    assert opened_files(tmp_path).count("web.tar") > 0  # to see that it is the same
    assert opened_files(tmp_path).count("web.tar") == 0


def opened_files(folder: Path) -> list[str]:
    """What a run opens, as its own interpreter sees it."""
    hook, log = folder / "hook", folder / "opened"
    hook.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    (hook / "sitecustomize.py").write_text(
        "import os, sys\n"
        "log = os.open(os.environ['OPENED'], os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "sys.addaudithook(lambda event, args: event == 'open' and os.write(log, f'{args[0]}\\n'.encode()))\n"
    )
    run = run_doit(folder, env={"PYTHONPATH": str(hook), "OPENED": str(log)})
    assert run.exit == 0, run.stderr
    return log.read_text().splitlines()


OPTIONS: list[tuple[str, Callable[[Images], Any], set[str]]] = [
    (
        "a boot setting",
        lambda images: images["web"].update(boot={"vmtouch": False}),
        {f"boot:{WEB}", f"bundle:{WEB}", "catalog"},
    ),
    (
        "the arguments",
        lambda images: images["web"].update(process={"args": ["sh"]}),
        {f"spec:{WEB}", f"bundle:{WEB}", "catalog"},
    ),
    (
        "the profile",
        lambda images: images["web"].update(profile="v0.3"),
        {f"spec:{WEB}", f"boot:{WEB}", f"bundle:{WEB}", "catalog"},
    ),
    (
        "the owner",  # the tree comes out the same here, since all belongs to root
        lambda images: images["web"].update(same_owner=False),
        {f"tree:{WEB}", f"bundle:{WEB}", "catalog"},
    ),
]


@pytest.mark.parametrize(("change", "expected"), [row[1:] for row in OPTIONS], ids=[row[0] for row in OPTIONS])
def test_one_option_of_one_image(
    catalog: tuple[Path, Images], change: Callable[[Images], Any], expected: set[str]
) -> None:
    folder, images = catalog
    change(images)
    write_catalog(folder, images)
    assert executed(folder) == expected
    assert executed(folder) == set()


def test_comments_and_order_are_no_change(catalog: tuple[Path, Images]) -> None:
    folder, images = catalog
    write_catalog(folder, dict(reversed(images.items())))
    with (folder / "bundle.yaml").open("a") as stream:
        stream.write("# a comment\n")
    assert executed(folder) == set()


def test_one_top_layer_replaced(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    shutil.rmtree(folder / "web")
    Layout(folder / "web").image(BASE, {"srv/": None, "srv/index": "changed\n"}, cmd=["httpd"], user="app")
    ran = executed(folder)
    assert len({task for task in ran if task.startswith("layer:")}) == 1
    assert families(ran) == {"layer", f"tree:{WEB}", f"rootfs:{WEB}:dir", f"spec:{WEB}", f"bundle:{WEB}", "catalog"}
    assert (folder / "bundles/web/linux-amd64/rootfs/srv/index").read_text() == "changed\n"


@pytest.mark.parametrize("file", ["spec.json", "image.json", "initconfig.json", "bundle.json"])
@pytest.mark.parametrize("how", ["deleted", "edited", "replaced by a folder"])
def test_a_published_file_is_made_again(catalog: tuple[Path, Images], file: str, how: str) -> None:
    folder, _ = catalog
    path = folder / "bundles/web/linux-amd64" / file
    content = path.read_bytes()
    if how == "edited":
        path.write_bytes(content.replace(b"1", b"2"))
    else:
        path.unlink()
        if how != "deleted":
            path.mkdir()
    assert executed(folder) == {f"bundle:{WEB}"}
    assert path.read_bytes() == content
    assert executed(folder) == set()


@pytest.mark.parametrize("file", ["spec.json", "image.json", "initconfig.json", "tree", "rootfs.json"])
def test_a_part_is_made_again(catalog: tuple[Path, Images], file: str) -> None:
    folder, _ = catalog
    path = folder / "bundles/.parts/web/linux-amd64" / file
    content = path.read_bytes()
    path.unlink()
    makers = {"tree": "tree", "rootfs.json": "rootfs", "initconfig.json": "boot"}
    ran = {task.partition(":")[0] for task in executed(folder)}
    assert makers.get(file, "spec") in ran
    assert ran <= {makers.get(file, "spec"), "bundle"}  # the same bytes again: it ends there
    assert path.read_bytes() == content


def test_a_published_folder_removed(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    shutil.rmtree(folder / "bundles/web")
    assert f"bundle:{WEB}" in executed(folder)
    assert (folder / "bundles/web/linux-amd64/rootfs/srv/index").read_text() == "web\n"
    assert executed(folder) == set()


def test_something_put_into_a_published_folder(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    (folder / "bundles/web/linux-amd64/stray").write_text("")
    assert executed(folder) == {f"bundle:{WEB}"}
    assert not (folder / "bundles/web/linux-amd64/stray").exists()


def test_an_unchanged_rootfs_keeps_its_inodes(catalog: tuple[Path, Images]) -> None:
    folder, images = catalog
    path = folder / "bundles/web/linux-amd64/rootfs/srv/index"
    before = path.stat()
    images["web"]["process"] = {"args": ["sh"]}
    write_catalog(folder, images)
    assert f"bundle:{WEB}" in executed(folder)
    assert (path.stat().st_ino, path.stat().st_nlink) == (before.st_ino, 2)  # the spare root has it, too


def test_an_image_removed(catalog: tuple[Path, Images]) -> None:
    folder, images = catalog
    del images["web"]
    write_catalog(folder, images)
    assert executed(folder) == {"catalog"}
    listed = json.loads((folder / "bundles/catalog.json").read_text())["bundles"]
    assert [bundle["name"] for bundle in listed] == ["db", "other"]


def test_the_cache_removed(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    shutil.rmtree(folder / "cache")
    assert families(executed(folder)) == {"layer"}  # the same layers again: nothing after them is stale
    assert executed(folder) == set()


def test_an_evicted_tar_is_no_reason_to_run(catalog: tuple[Path, Images]) -> None:
    folder, images = catalog
    for tar in folder.glob("cache/layers/sha256/*.tar"):
        tar.unlink()
    assert executed(folder) == set()
    shutil.rmtree(folder / "bundles/web/linux-amd64")  # now its root is needed again
    assert run_doit(folder).exit == 0
    assert (folder / "bundles/web/linux-amd64/rootfs/srv/index").read_text() == "web\n"
    assert images


def test_selecting(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    shutil.rmtree(folder / "bundles/db")
    shutil.rmtree(folder / "bundles/web")
    assert set(results(folder, "web")) >= {f"bundle:{WEB}", f"spec:{WEB}"}
    assert (folder / "bundles/web").exists()
    assert not (folder / "bundles/db").exists()
    assert "bundle:db@linux/amd64" in executed(folder, "bundle:d*@linux/amd64")


def test_clean_removes_exactly_that_bundle(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog

    def everything() -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if ".history" not in path.parts}

    before = everything()
    assert run_doit(folder, "clean", f"bundle:{WEB}").exit == 0
    gone = before - everything()
    assert gone
    assert all(path.startswith(("bundles/web", "bundles/.parts/web")) for path in gone)
    assert not (folder / "bundles/web").exists()
    ran = executed(folder)
    assert {task.partition(":")[0] for task in ran} == {"tree", "rootfs", "spec", "boot", "bundle", "catalog"}
    assert everything() == before


def test_forget_runs_again(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    assert run_doit(folder, "forget", f"boot:{WEB}").exit == 0
    assert f"boot:{WEB}" in executed(folder)


def test_list_and_info(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    listed = run_doit(folder, "list", "--all")
    again = run_doit(folder, "list", "--all")
    assert listed.exit == 0
    assert listed.stdout == again.stdout
    assert f"bundle:{WEB}" in listed.stdout
    info = run_doit(folder, "info", f"bundle:{WEB}")
    assert info.exit == 0
    assert "up-to-date" in info.stdout


def test_two_runs_with_two_workers(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    assert run_doit(tmp_path, "-n", "2").exit == 0
    time.sleep(0.05)
    assert executed(tmp_path, "-n", "2") == set()


@pytest.mark.parametrize(
    ("place", "maker"),
    [
        ("bundles/.parts/web/linux-amd64/tree", "tree"),
        ("bundles/.parts/web/linux-amd64/rootfs.json", "rootfs"),
        ("bundles/.parts/web/linux-amd64/image.json", "spec"),
        ("bundles/.parts/web/linux-amd64/initconfig.json", "boot"),
        ("bundles/web/linux-amd64/bundle.json", "bundle"),
        ("bundles/web/linux-amd64", "bundle"),
        ("cache/layers/receipts/sha256/*", "layer"),
        ("cache/layers/sha256/*.idx", "layer"),
    ],
)
def test_a_link_to_the_same_in_the_place_of_what_was_made(
    catalog: tuple[Path, Images], place: str, maker: str
) -> None:
    folder, _ = catalog
    path = min(folder.glob(place))
    path.rename(folder / "moved")
    path.symlink_to(folder / "moved")
    assert maker in {task.partition(":")[0] for task in executed(folder)}
    assert not path.is_symlink()
    assert executed(folder) == set()


def test_a_link_of_the_users_own_is_followed(catalog: tuple[Path, Images]) -> None:
    """A layout that is moved to another disk is the same."""
    folder, _ = catalog
    (folder / "web").rename(folder / "moved")
    (folder / "web").symlink_to("moved")
    assert executed(folder) == set()
