"""`doit lock`, --locked and --offline, with real registries and real runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import write_catalog
from tests.support.faults import FaultyProxy, Stall
from tests.support.hooking import WORKERS_AT_ONCE, hooked
from tests.support.images import Layout
from tests.support.published import OF_RUNS
from tests.support.registries import Storage
from tests.support.running import Result, environment, run_doit


class Catalog:
    """A catalog whose images are in a registry of its own, behind a proxy that counts."""

    def __init__(self, folder: Path, storage: Storage, address: str, proxy: FaultyProxy) -> None:
        self.folder = folder
        self.storage = storage
        self.address = address
        self.proxy = proxy
        self.images: dict[str, Any] = {}
        self._made = 0
        folder.mkdir()

    def push(self, name: str, text: str, platforms: tuple[str, ...] = ("linux/amd64", "linux/arm64")) -> None:
        """Moves the tag `name`:1 to images that hold `text`."""
        self._made += 1
        layout = Layout(self.storage.folder.parent / f"layout-{self._made}")
        made = [
            layout.image({"etc/": None, "etc/os": f"{text} {p}"}, platform=p, described=True, listed=False, cmd=["x"])
            for p in platforms
        ]
        layout.index(*made, tag="1")
        self.storage.push_to(self.address, layout.folder, f"{name}:1")

    def write(self, folder: Path | None = None, **more: Any) -> None:
        sources = {name: f"docker://{self.proxy.address}/{name}:1" for name in ("web", "db")}
        write_catalog(folder or self.folder, sources | self.images, **more)

    def doit(self, *args: str, **env: str) -> Result:
        result = run_doit(self.folder, *args, env=env)
        assert "Traceback" not in result.stderr
        return result

    @property
    def lock(self) -> Path:
        return self.folder / "bundle.lock"

    def outputs(self, folder: Path | None = None) -> dict[str, bytes]:
        """What is for consumers."""
        root = (folder or self.folder) / "bundles"
        files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if name.partition("/")[0] not in OF_RUNS}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a registry that has `web` and `db`."""
    folder = tmp_path_factory.mktemp("pushed")
    storage = Storage(folder / "registry/storage")
    with storage.serve() as address, FaultyProxy(address) as proxy:
        made = Catalog(folder / "catalog", storage, address, proxy)
        made.push("web", "web 1")
        made.push("db", "db 1")
    return storage.folder


@pytest.fixture
def catalog(pushed: Path, tmp_path: Path) -> Iterator[Catalog]:
    storage = Storage(tmp_path / "registry/storage")
    shutil.copytree(pushed, storage.folder, dirs_exist_ok=True)
    with storage.serve() as address, FaultyProxy(address) as proxy:
        made = Catalog(tmp_path / "catalog", storage, address, proxy)
        made.write()
        yield made


def test_a_run_locks_what_it_looked_up_and_then_asks_nothing(catalog: Catalog) -> None:
    first = catalog.doit()
    assert first.exit == 0, first.stderr
    assert "bundle.lock: added db@linux/amd64, web@linux/amd64" in first.stderr
    text = catalog.lock.read_text()
    assert text.count("\nimage ") == 2
    before = catalog.outputs()
    catalog.proxy.asked.clear()
    for args in ((), ("--locked",), ("--offline",), ("--locked", "--offline"), ("why",), ("plan",), ("lock",)):
        again = catalog.doit(*args)
        assert again.exit == 0, again.stderr
        assert "added" not in again.stderr
    assert catalog.proxy.asked == []
    assert catalog.lock.read_text() == text
    assert catalog.outputs() == before


def test_a_moved_tag_changes_nothing_until_it_is_asked_for(catalog: Catalog) -> None:
    catalog.doit()
    before, text = catalog.outputs(), catalog.lock.read_text()
    assert catalog.doit("lock", "--check") == Result(0, "", "")
    catalog.push("web", "web 2")
    assert catalog.doit().exit == 0
    assert catalog.outputs() == before
    check = catalog.doit("lock", "--check")
    assert check.exit == 1
    assert check.stdout.startswith("web@linux/amd64: manifest sha256:")
    assert " -> sha256:" in check.stdout
    assert catalog.lock.read_text() == text
    assert catalog.doit("lock", "--update", "db").stdout == "nothing moved\n"
    update = catalog.doit("lock", "--update", "web")
    assert (update.exit, update.stdout) == (0, check.stdout)
    assert catalog.doit("--locked").exit == 0
    assert catalog.outputs()["web/linux-amd64/rootfs/etc/os"] == b"web 2 linux/amd64"


def test_a_deleted_tag(catalog: Catalog) -> None:
    catalog.doit()
    catalog.storage.delete_tag("web:1")
    assert catalog.doit("--locked").exit == 0
    shutil.rmtree(catalog.folder / "cache")
    assert catalog.doit("--locked").exit == 0, "the manifest is still there, by digest"
    check = catalog.doit("lock", "--check")
    assert (check.exit, check.stdout) == (4, "")
    assert "web@linux/amd64: " in check.stderr
    assert "status 404" in check.stderr
    update = catalog.doit("lock", "--update")
    assert (update.exit, update.stdout) == (4, "")
    assert "image web@linux/amd64" in catalog.lock.read_text(), "what cannot be looked up stays as it was"


def test_what_moved_counts_for_more_than_what_could_not_be_asked(catalog: Catalog) -> None:
    catalog.doit()
    catalog.storage.delete_tag("web:1")
    catalog.push("db", "db 2")
    check = catalog.doit("lock", "--check")
    assert (check.exit, check.stdout.startswith("db@linux/amd64: ")) == (1, True)
    assert "web@linux/amd64: " in check.stderr


def test_platforms_added_and_removed(catalog: Catalog) -> None:
    catalog.doit()
    catalog.write(platforms=["linux/amd64", "linux/arm64"])
    refused = catalog.doit("--locked")
    assert refused.exit == 3
    assert "db@linux/arm64: is not in the lock\nweb@linux/arm64: is not in the lock\n" in refused.stderr
    assert catalog.doit("list", C2WTASKS_LOCKED="1").exit == 3
    added = catalog.doit("lock")
    assert added.stdout == "db@linux/arm64: added\nweb@linux/arm64: added\n"
    assert catalog.doit("--locked").exit == 0
    catalog.write(platforms=["linux/arm64"])
    refused = catalog.doit(C2WTASKS_LOCKED="1")
    assert refused.exit == 3
    assert "web@linux/amd64: is in the lock, but no longer in bundle.yaml" in refused.stderr
    assert catalog.doit().exit == 0, "a plain run leaves it be"
    assert catalog.doit("lock", C2WTASKS_LOCKED="1").stdout == "db@linux/amd64: dropped\nweb@linux/amd64: dropped\n"
    assert catalog.doit("--locked").exit == 0
    assert catalog.doit("lock").stdout == "bundle.lock fits\n"


def test_another_source(catalog: Catalog) -> None:
    catalog.doit()
    catalog.push("other", "other 1")
    catalog.images["web"] = f"docker://{catalog.proxy.address}/other:1"
    catalog.write()
    refused = catalog.doit("--locked")
    assert (refused.exit, "web@linux/amd64: has another source now" in refused.stderr) == (3, True)
    check = catalog.doit("lock", "--check")
    assert (check.exit, check.stdout) == (1, "web@linux/amd64: has another source now than in the lock\n")
    assert "bundle.lock: added web@linux/amd64\n" in catalog.doit().stderr
    assert catalog.doit("--locked").exit == 0
    assert catalog.outputs()["web/linux-amd64/rootfs/etc/os"] == b"other 1 linux/amd64"


def test_a_lock_that_git_or_an_editor_has_changed(catalog: Catalog) -> None:
    catalog.doit()
    text = catalog.lock.read_text()
    before = catalog.outputs()
    head, db, web = text.split("\nimage ")
    catalog.lock.write_bytes(f"{head}\nimage {web}\nimage {db}".replace("\n", "\r\n").encode())
    assert catalog.doit("--locked").exit == 0
    assert catalog.outputs() == before
    catalog.lock.write_text(text.replace("image web", "<<<<<<< HEAD\nimage web"))
    number = text[: text.index("image web")].count("\n") + 1
    for args in ((), ("--locked",), ("lock",), ("list",)):
        refused = catalog.doit(*args)
        assert refused.exit == 3
        assert f"bundle.lock:{number}:1: a merge was left unfinished here" in refused.stderr


def with_another_digest(text: str, line: str) -> str:
    """`text`, with the first digest changed in the last of its lines that begin with `line`."""
    lines = text.splitlines()
    at = max(at for at, one in enumerate(lines) if one.startswith(line))
    before, _, after = lines[at].partition("sha256:")
    lines[at] = f"{before}sha256:{'0' * 64}{after[64:]}"
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("line", ["  config", "  layer", "  manifest"])
def test_an_edited_digest_is_noticed(catalog: Catalog, line: str) -> None:
    catalog.doit()
    text = catalog.lock.read_text()
    catalog.lock.write_text(with_another_digest(text, line))
    failed = catalog.doit()
    assert failed.exit == 1
    assert "web@linux/amd64: " in failed.stderr
    if line != "  manifest":
        assert "bundle.lock:" in failed.stderr
        assert "run: doit lock --update web" in failed.stderr
    assert catalog.doit("lock", "--update", "web").exit == 0
    assert catalog.lock.read_text() == text


def test_a_manifest_of_another_platform_is_refused(catalog: Catalog) -> None:
    catalog.write(platforms=["linux/amd64", "linux/arm64"])
    catalog.doit("lock")
    text = catalog.lock.read_text()
    blocks = text.split("\nimage ")
    arm = next(block for block in blocks if block.startswith("web@linux/arm64"))
    amd = next(block for block in blocks if block.startswith("web@linux/amd64"))
    catalog.lock.write_text(text.replace(amd.partition("\n")[2], arm.partition("\n")[2]))
    failed = catalog.doit()
    assert failed.exit == 1
    assert "its manifest is of an image for linux/arm64" in failed.stderr


def test_another_machine_makes_the_same_bytes(catalog: Catalog, tmp_path: Path) -> None:
    catalog.write(platforms=["linux/amd64", "linux/arm64"])
    catalog.doit()
    catalog.push("web", "web 2")
    other = tmp_path / "elsewhere/catalog"
    other.mkdir(parents=True)
    for name in ("bundle.yaml", "bundle.lock", "dodo.py"):
        shutil.copy(catalog.folder / name, other / name)
    done = run_doit(other, "--locked")
    assert done.exit == 0, done.stderr
    assert catalog.outputs(other) == catalog.outputs()


def test_no_registry_is_needed_when_all_is_here(catalog: Catalog) -> None:
    catalog.doit()
    shutil.rmtree(catalog.folder / "bundles")
    (catalog.folder / ".doit.db").unlink()
    catalog.proxy.asked.clear()
    done = catalog.doit("--offline")
    assert done.exit == 0, done.stderr
    assert catalog.proxy.asked == []
    shutil.rmtree(catalog.folder / "cache")
    failed = catalog.doit("--offline")
    assert failed.exit == 1
    assert "would be asked, but this run is offline; run without --offline" in failed.stderr
    assert catalog.proxy.asked == []


def test_with_names_only_theirs_has_to_fit(catalog: Catalog) -> None:
    catalog.doit()
    locked = catalog.lock.read_bytes()
    catalog.push("other", "other 1")
    catalog.images["web"] = f"docker://{catalog.proxy.address}/other:1"
    catalog.images["new"] = f"docker://{catalog.proxy.address}/other:1"
    catalog.write(lock="all")
    catalog.proxy.asked.clear()
    assert catalog.doit("--locked", "db").exit == 0
    assert catalog.doit("why", "db*", C2WTASKS_LOCKED="1").exit == 0
    assert catalog.proxy.asked == []
    for words in (("web",), ("db", "new"), ("*",), ()):
        refused = catalog.doit("--locked", *words)
        assert (refused.exit, "bundle.lock does not fit" in refused.stderr) == (3, True)
        assert ("web@linux/amd64: has another source" in refused.stderr) == ("new" not in words)
    assert catalog.lock.read_bytes() == locked
    text = (catalog.folder / "bundle.yaml").read_text()
    write_catalog(catalog.folder, {"db": json.loads(text)["images"]["db"]})  # web is gone
    assert catalog.doit("--locked", "db").exit == 0
    assert catalog.doit("--locked").exit == 3


def test_local_sources_are_locked_where_all_are(catalog: Catalog) -> None:
    layout = Layout(catalog.folder / "local")
    layout.image({"a": "1"})
    catalog.images["local"] = "oci:local"
    catalog.write()
    catalog.doit()
    assert "local" not in catalog.lock.read_text()
    refused = catalog.doit("lock", "--update", "local")
    assert (refused.exit, "lock: all" in refused.stderr) == (3, True)
    catalog.write(lock="all")
    assert catalog.doit("lock").stdout == "local@linux/amd64: added\n"
    assert catalog.doit("--locked").exit == 0
    shutil.rmtree(layout.folder)
    Layout(catalog.folder / "local").image({"a": "2"})
    failed = catalog.doit("--locked")
    assert failed.exit == 1
    assert "local@linux/amd64: the image is another than the lock says: manifest sha256:" in failed.stderr
    assert catalog.doit("lock", "--update", "local").exit == 0
    assert catalog.doit("--locked").exit == 0


def test_wrong_command_lines(catalog: Catalog) -> None:
    for args in (
        ("lock", "--check", "--update"),
        ("lock", "web"),
        ("lock", "--check", "web"),
        ("lock", "--update", "x"),
    ):
        assert catalog.doit(*args).exit == 3


def test_workers_pull_too(catalog: Catalog, tmp_path: Path) -> None:
    env = hooked(tmp_path / "hooks", WORKERS_AT_ONCE)
    done = catalog.doit("-n", "2", **env)
    assert done.exit == 0, done.stderr
    assert json.loads((catalog.folder / "bundles/catalog.json").read_text())["bundles"]


def test_an_absent_platform_fails_alone(catalog: Catalog) -> None:
    catalog.push("web", "web 1", platforms=("linux/arm64", "linux/s390x"))
    done = catalog.doit()
    assert done.exit == 1
    assert "no image for linux/amd64; there are: linux/arm64, linux/s390x; ask for one of these" in done.stderr
    assert not any("/blobs/" in asked.path and "/web/" in asked.path for asked in catalog.proxy.asked)
    assert (catalog.folder / "bundles/db/linux-amd64/bundle.json").exists()
    assert "image db@" in catalog.lock.read_text()
    assert "image web@" not in catalog.lock.read_text()


def test_gc_keeps_what_the_lock_names_where_a_tool_is_missing(catalog: Catalog) -> None:
    """Nothing of it was built, so only the lock tells that it is needed."""
    web, db = ({"source": f"docker://{catalog.proxy.address}/{name}:1"} for name in ("web", "db"))
    write_catalog(catalog.folder, {"web": {**web, "rootfs": ["squashfs"]}, "db": db})
    without = {"PATH": str(catalog.folder / "nothing")}
    assert catalog.doit("lock", **without).exit == 0
    assert catalog.doit(**without).exit == 1
    catalog.doit("gc", **without)  # the indexes that the tags lead to
    before = sorted(path.name for path in (catalog.folder / "cache/documents").rglob("*"))
    assert catalog.doit("gc", **without).stdout.startswith("freed nothing")
    assert sorted(path.name for path in (catalog.folder / "cache/documents").rglob("*")) == before
    _, _, block = catalog.lock.read_text().partition("image web@linux/amd64\n")
    assert {line.split()[1].removeprefix("sha256:") for line in block.splitlines()[1:3]} <= {*before}


def test_gc_keeps_what_the_lock_names_of_an_image_that_cannot_be_read(catalog: Catalog) -> None:
    assert catalog.doit().exit == 0
    catalog.doit("gc")
    shutil.rmtree(catalog.folder / "bundles")
    shutil.rmtree(catalog.folder / "cache/memo")
    _, _, block = catalog.lock.read_text().partition("image web@linux/amd64\n")
    digests = dict(line.split()[:2] for line in block.splitlines() if line)
    documents = catalog.folder / "cache/documents/sha256"
    (documents / digests["manifest"].removeprefix("sha256:")).unlink()
    assert catalog.doit("gc", C2WTASKS_OFFLINE="1").stdout.startswith("freed nothing")
    assert (documents / digests["config"].removeprefix("sha256:")).exists()
    assert (catalog.folder / "cache/layers/receipts/sha256" / digests["layer"].removeprefix("sha256:")).exists()


BLOBS: dict[str, Callable[[Path], object]] = {
    "another bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "endless": lambda path: os.truncate(path, 8 << 40),
    "a link to itself": lambda path: (path.rename(path.with_name("good")), path.symlink_to("good")),
    "a FIFO": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("forge", BLOBS.values(), ids=BLOBS)
def test_a_kept_blob_that_is_forged_is_found_and_fetched_again(
    catalog: Catalog, forge: Callable[[Path], object]
) -> None:
    catalog.write(keep_blobs=True)
    assert catalog.doit().exit == 0
    assert catalog.doit("verify").exit == 0
    blobs = catalog.folder / "cache/blobs/sha256"
    path = min(blobs.iterdir())
    content = path.read_bytes()
    forge(path)
    found = catalog.doit("verify")
    assert (found.exit, [line.split(": ")[0] for line in found.stdout.splitlines()[:-1]]) == (
        1,
        [f"cache/blobs/sha256/{path.name}"],
    )
    repaired = catalog.doit("verify", "--repair")
    assert (repaired.exit, f"mended: blob sha256:{path.name}" in repaired.stdout) == (0, True)
    assert not os.path.lexists(path)
    assert catalog.doit("verify").exit == 0
    shutil.rmtree(catalog.folder / "cache/layers")
    assert catalog.doit().exit == 0
    assert path.read_bytes() == content


def test_gc_keeps_what_an_offline_run_needs(catalog: Catalog) -> None:
    catalog.write(keep_blobs=True)
    catalog.doit()
    assert catalog.doit("gc").stdout.startswith("removed"), "the indexes that the tags lead to"
    shutil.rmtree(catalog.folder / "bundles")
    (catalog.folder / "cache/layers").rename(catalog.folder / "cache/gone")
    shutil.rmtree(catalog.folder / "cache/gone")
    assert catalog.doit("--offline").exit == 0, "the blobs were kept"
    write_catalog(catalog.folder, {"web": f"docker://{catalog.proxy.address}/web:1"}, keep_blobs=True)
    catalog.doit("lock")
    shutil.rmtree(catalog.folder / "bundles")
    report = json.loads(catalog.doit("gc", "--json").stdout)
    assert sorted(one["kind"] for one in report["removed"]) == [
        "blob",
        "document",
        "document",
        "index",
        "receipt",
        "tar",
    ]
    assert catalog.doit("--offline").exit == 0


@pytest.mark.parametrize("where", ["manifests", "blobs"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_an_interrupt_does_not_wait_for_the_network(catalog: Catalog, where: str, threads: str) -> None:
    if where == "blobs":
        assert catalog.doit("lock").exit == 0  # which reads the configs, too
    catalog.proxy.plan = lambda asked: Stall(-1) if where in asked.path else None
    catalog.proxy.asked.clear()
    run = subprocess.Popen(
        [sys.executable, "-m", "doit", "-n", threads],
        cwd=catalog.folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while not any(where in asked.path for asked in catalog.proxy.asked):
        time.sleep(0.02)
    time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in said
    catalog.proxy.plan = lambda _asked: None
    assert catalog.doit().exit == 0
