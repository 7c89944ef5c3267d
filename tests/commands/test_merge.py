"""Shards built each for itself and merged are what one machine makes, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.telling.sizes import counted
from tests.graph.catalogs import BASE, small_catalog, write_catalog
from tests.support import roots
from tests.support.disks import NEEDS_ROOT, small_disks
from tests.support.hooking import hooked
from tests.support.images import Device, Dir, Fifo, File, Hardlink, Layout, Symlink
from tests.support.running import run_doit

COUNT = 3
STOPPED_AS_IT_ENDS = """
import os, signal
import c2wtasks.commands.merge as _merge
_exit = _merge.Merging.__exit__
def _stopped(self, *error):
    os.kill(os.getpid(), signal.SIGINT)
    return _exit(self, *error)
_merge.Merging.__exit__ = _stopped
"""
"""Ctrl-C comes when all is merged, and not yet told."""


def contents(folder: Path) -> dict[str, bytes]:
    """The bundles' own files, and catalog.json. What is shown of them tells when that was."""
    found = {}
    shown = ("catalog.html", "feed.atom", "feeds")
    for path in sorted((folder / "bundles").rglob("*")):
        name = str(path.relative_to(folder / "bundles"))
        if path.is_file() and not path.is_symlink() and "/rootfs/" not in name and not name.startswith((".", *shown)):
            found[name] = path.read_bytes()
    return found


def in_roots(folder: Path) -> dict[str, list[str]]:
    found = sorted((folder / "bundles").glob("*/*/rootfs"))
    return {str(path.relative_to(folder)): roots.of_folder(str(path)) for path in found}


def is_whole(folder: Path, one: Path) -> None:
    assert contents(folder) == contents(one)
    assert in_roots(folder) == in_roots(one)


def published(folder: Path) -> set[str]:
    """The bundles that stand in the output."""
    return {f"{path.parts[-3]}@linux/amd64" for path in (folder / "bundles").glob("*/linux-amd64/bundle.json")}


def catalog(folder: Path) -> dict[str, Any]:
    """Images that share layers, with all kinds of files, and forms that are files."""
    images = small_catalog(folder)
    kinds = Layout(folder / "kinds")
    kinds.image(
        BASE,
        {
            "a": File(content="x" * 5000, mode=0o4755, uid=7, gid=8, mtime=5, xattrs={"user.note": "kept"}),
            "b": Hardlink(target="a"),
            "fifo": Fifo(),
            "null": Device(major=1, minor=3),
            "c": Symlink(target="nowhere"),
            "deep/": Dir(mode=0o700, mtime=99, uid=3),
            "deep/more/": Dir(mode=0o555, mtime=98),
            "deep/more/file": "text",
        },
    )
    images["kinds"] = {"source": "oci:kinds"}
    images["forms"] = {"source": "oci:kinds", "rootfs": ["tar", "cpio"], "process": {"args": ["sh"]}}
    images["forms"]["sbom"] = ["spdx", "cyclonedx"]
    write_catalog(folder, images)
    return images


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one` was built by one machine; `shard-1` to `shard-3` by three; `merged` has nothing yet."""
    folder = tmp_path_factory.mktemp("shards")
    (folder / "one").mkdir()
    catalog(folder / "one")
    assert run_doit(folder / "one", "lock").exit == 0
    for name in ("merged", *(f"shard-{number}" for number in range(1, COUNT + 1))):
        shutil.copytree(folder / "one", folder / name)
    assert run_doit(folder / "one").exit == 0
    for number in range(1, COUNT + 1):
        run = run_doit(folder / f"shard-{number}", env={"C2WTASKS_SHARD": f"{number}/{COUNT}"})
        assert run.exit == 0, run.stderr
    return folder


@pytest.fixture
def shards(built: Path, tmp_path: Path) -> Path:
    """The same, for a test that changes it."""
    for name in ("one", "merged", *(f"shard-{number}" for number in range(1, COUNT + 1))):
        subprocess.run(["cp", "-a", built / name, tmp_path / name], check=True)
    return tmp_path


OUTPUTS = [f"../shard-{number}/bundles" for number in range(1, COUNT + 1)]


def test_merged_is_what_one_machine_makes(shards: Path) -> None:
    merged = shards / "merged"
    run = run_doit(merged, "merge", *OUTPUTS)
    assert (run.exit, run.stderr) == (0, "")
    assert run.stdout == "5 merged, 0 current\n"
    assert contents(merged) == contents(shards / "one")
    assert in_roots(merged) == in_roots(shards / "one")
    again = run_doit(merged, "merge", *OUTPUTS)
    assert (again.exit, again.stdout) == (0, "0 merged, 5 current\n")
    assert run_doit(merged, "verify").exit == 0
    assert "5 current" in run_doit(merged).stdout.splitlines()[-1], "a run there has nothing to do but to read layers"
    assert contents(merged) == contents(shards / "one")


def test_each_shard_builds_its_own_and_is_left_as_it_is(built: Path, shards: Path) -> None:
    outputs = [built / f"shard-{number}" / "bundles" for number in range(1, COUNT + 1)]
    names = [path.parent.name for output in outputs for path in output.glob("*/linux-amd64")]
    assert sorted(names) == ["db", "forms", "kinds", "other", "web"]
    assert run_doit(shards / "merged", "merge", *map(str, outputs)).exit == 0
    for number in range(1, COUNT + 1):
        run = run_doit(built / f"shard-{number}", env={"C2WTASKS_SHARD": f"{number}/{COUNT}"})
        assert " current in " in run.stdout
        assert "built" not in run.stdout


@NEEDS_ROOT
def test_from_another_disk(shards: Path) -> None:
    """Where nothing can be linked all is copied, hard links, owners and xattrs too."""
    with small_disks(shards) as mount:
        mount("disk", "64M")
        for name in ("bundle.yaml", "dodo.py", "web", "db", "other", "kinds"):
            source = shards / "merged" / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, shards / "disk" / name)
        run = run_doit(shards / "disk", "merge", *OUTPUTS)
        assert (run.exit, run.stderr) == (0, "")
        assert contents(shards / "disk") == contents(shards / "one")
        assert in_roots(shards / "disk") == in_roots(shards / "one")
        assert run_doit(shards / "disk", "verify").exit == 0


def test_an_output_can_be_one_of_the_shards(shards: Path) -> None:
    run = run_doit(shards / "shard-2", "merge", "bundles", OUTPUTS[0], OUTPUTS[2])
    assert (run.exit, run.stderr) == (0, "")
    assert contents(shards / "shard-2") == contents(shards / "one")


def test_a_change_on_one_shard_replaces_its_bundles_alone(shards: Path) -> None:
    assert run_doit(shards / "merged", "merge", *OUTPUTS).exit == 0
    before = (shards / "merged/bundles/db/linux-amd64").stat()
    for name in ("one", "merged", *(f"shard-{number}" for number in range(1, COUNT + 1))):
        text = json.loads((shards / name / "bundle.yaml").read_text())
        text["images"]["web"]["process"] = {"cwd": "/srv"}
        (shards / name / "bundle.yaml").write_text(json.dumps(text))
        shard = {"C2WTASKS_SHARD": f"{name[-1]}/{COUNT}"} if name.startswith("shard") else {}
        if name != "merged":
            assert run_doit(shards / name, env=shard).exit == 0
    assert run_doit(shards / "merged", "merge", *OUTPUTS).stdout == "1 merged, 4 current\n"
    assert contents(shards / "merged") == contents(shards / "one")
    assert (shards / "merged/bundles/db/linux-amd64").stat().st_ino == before.st_ino


def test_what_failed_on_a_shard_has_failed(shards: Path) -> None:
    shutil.rmtree(shards / "one/web/blobs")
    for name in ("one", *(f"shard-{number}" for number in range(1, COUNT + 1))):
        shutil.rmtree(shards / name / "web/blobs", ignore_errors=True)
        shutil.rmtree(shards / name / "cache")
        shutil.rmtree(shards / name / "bundles")
        for left in (shards / name).glob(".doit*"):
            left.unlink()
        shard = {"C2WTASKS_SHARD": f"{name[-1]}/{COUNT}"} if name.startswith("shard") else {}
        run_doit(shards / name, env=shard)
    run = run_doit(shards / "merged", "merge", *OUTPUTS)
    assert run.exit == 1
    assert run.stdout.splitlines()[0].startswith("web@linux/amd64: ")
    assert run.stdout.splitlines()[-1] == "4 merged, 0 current, 1 failed"
    assert contents(shards / "merged") == contents(shards / "one")


GAPS: dict[str, tuple[list[str], str]] = {
    "none": ([], "which folders? give the output of each shard: doit merge shard-1 shard-2"),
    "a gap": (OUTPUTS[1:], "in none of the folders: "),
    "a double": ([*OUTPUTS, OUTPUTS[0]], " is in ../shard-1/bundles and in ../shard-1/bundles; give each shard once"),
    "no output": (
        ["../shard-1"],
        "../shard-1/catalog.json: cannot be read: No such file or directory; give the",
    ),
    "another catalog": ([*OUTPUTS, "other"], "other: has no@linux/amd64, which bundle.yaml has not; "),
    "no catalog": (["text"], "text/catalog.json: is no catalog of this version of c2wtasks; "),
}


@pytest.mark.parametrize(("words", "said"), GAPS.values(), ids=GAPS)
def test_gaps_and_doubles_are_refused(shards: Path, words: list[str], said: str) -> None:
    merged = shards / "merged"
    line = {"name": "no", "platform": "linux/amd64", "path": "no/linux-amd64", "status": "missing"}
    for name, text in (("other", json.dumps({"version": 1, "bundles": [line]})), ("text", "{")):
        (merged / name).mkdir(exist_ok=True)
        (merged / name / "catalog.json").write_text(text)
    run = run_doit(merged, "merge", *words)
    assert run.exit == 3
    assert run.stderr.count("\n") == 1
    assert said in run.stderr
    assert not (merged / "bundles").exists()


def edit_record(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def edit(bundle: Path) -> None:
        record = json.loads((bundle / "bundle.json").read_text())
        change(record)
        (bundle / "bundle.json").write_text(json.dumps(record))

    return edit


def outside(record: dict[str, Any]) -> None:
    record["outputs"]["../../../../stolen"] = record["outputs"]["spec.json"]


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda bundle: (bundle / name).write_bytes(content)


def as_link(bundle: Path) -> None:
    (bundle / "spec.json").unlink()
    (bundle / "spec.json").symlink_to("/etc/passwd")


def record_with(**changes: object) -> Callable[[Path], object]:
    return edit_record(lambda record: record.update(changes))


ANOTHER_IMAGE = f"sha256:{1:064}"
BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a file was changed": ("forms", write("rootfs.tar", b"other"), "rootfs.tar: is not as bundle.json says"),
    "a small file was changed": ("web", write("spec.json", b"{}"), "spec.json: is not as bundle.json says"),
    "a file is gone": (
        "forms",
        lambda at: (at / "rootfs.tar").unlink(),
        "rootfs.tar: cannot be merged: No such",
    ),
    "a link": ("web", as_link, "spec.json: cannot be merged: "),
    "no record": ("web", lambda at: (at / "bundle.json").unlink(), "is no bundle of this version of c2wtasks"),
    "other options": ("web", record_with(options={}), "it was made from other options"),
    "another image": ("web", record_with(configDigest=ANOTHER_IMAGE), "another image than bundle.lock names"),
    "another bundle": ("web", record_with(name="db"), "it was made from db@linux/amd64"),
    "another source": ("web", record_with(source="oci:db"), "it was made from the source oci:db"),
    "a path that leads out": ("web", edit_record(outside), "it has files that no bundle has"),
    "another tree": ("web", write("../../.parts/web/linux-amd64/tree", b"x"), "is not the tree that"),
    "no tree": (
        "web",
        lambda at: (at.parents[1] / ".parts/web/linux-amd64/tree").unlink(),
        "tree: cannot be merged: No",
    ),
    "nothing private": (
        "web",
        lambda at: shutil.rmtree(at.parents[1] / ".parts"),
        ".parts/web/linux-amd64: is not there; pack all of that shard's output",
    ),
}


@pytest.mark.parametrize(("name", "change", "said"), BAD.values(), ids=BAD)
def test_a_bundle_that_is_not_as_it_should_be_fails_alone(
    shards: Path, name: str, change: Callable[[Path], object], said: str
) -> None:
    text = json.loads((shards / "merged/bundle.yaml").read_text())
    for folder in shards.iterdir():
        (folder / "bundle.yaml").write_text(json.dumps(text | {"lock": "all"}))
    assert run_doit(shards / "merged", "lock").exit == 0
    at = next(path for path in shards.glob(f"shard-*/bundles/{name}/linux-amd64"))
    change(at)
    run = run_doit(shards / "merged", "merge", *OUTPUTS)
    assert run.exit == 1
    failed = [line for line in run.stdout.splitlines()[:-1] if line.startswith(f"{name}@linux/amd64: ")]
    assert len(failed) == 1
    assert said in failed[0]
    assert any(word in failed[0] for word in ("; build that shard again", "; pack all", "cannot be merged"))
    assert not (shards / "merged/bundles" / name / "linux-amd64").exists()
    assert not list(shards.rglob("stolen"))
    left = {path.parent.name for path in (shards / "merged/bundles").glob("*/linux-amd64")}
    others = {path.parent.name for path in at.parents[1].glob("*/linux-amd64")} - {name}
    assert left >= {"web", "db", "other", "kinds", "forms"} - {name} - others
    listed = json.loads((shards / "merged/bundles/catalog.json").read_text())["bundles"]
    assert {line["name"]: line["status"] for line in listed}[name] == "failed"


def test_a_merge_that_fails_leaves_what_stands(shards: Path) -> None:
    """Its parts too, by which runs and `verify` know what they need not make again."""
    merged = shards / "merged"
    assert run_doit(merged, "merge", *OUTPUTS).exit == 0
    parts = merged / "bundles/.parts/web/linux-amd64"
    before = {path.name: path.read_bytes() for path in parts.iterdir()}, contents(merged)
    at = next(path for path in shards.glob("shard-*/bundles/web/linux-amd64"))
    edit_record(lambda record: record.update(notes=["another"]))(at)
    (at / "image.json").write_bytes(b"{}")
    assert run_doit(merged, "merge", *OUTPUTS).exit == 1
    after = {path.name: path.read_bytes() for path in parts.iterdir()}, contents(merged)
    assert after[0] == before[0]
    assert {name for name, text in after[1].items() if before[1][name] != text} == {"catalog.json"}
    assert run_doit(merged, "verify").exit == 0


def test_forms_lead_nowhere_else(shards: Path) -> None:
    """The facts file of a form names its files: those of another are not to be written outside."""
    at = next(path for path in shards.glob("shard-*/bundles/forms/linux-amd64"))
    facts_file = at.parents[1] / ".parts/forms/linux-amd64/form-tar.json"
    facts, record = (json.loads(path.read_text()) for path in (facts_file, at / "bundle.json"))
    for files in (facts["files"], record["outputs"]):
        files["../../../../../stolen"] = files["rootfs.tar"]
    facts_file.write_text(json.dumps(facts))
    (at / "bundle.json").write_text(json.dumps(record))
    run = run_doit(shards / "merged", "merge", *OUTPUTS)
    assert run.exit == 1
    assert "form-tar.json: does not fit" in run.stdout
    assert not list(shards.rglob("stolen"))


def test_commands_for_the_whole_catalog_take_no_shard(shards: Path) -> None:
    """`prune` would remove the bundles of the other shards, `gc` their layers, `lock` their lines."""
    shard = {"C2WTASKS_SHARD": f"1/{COUNT}"}
    before = contents(shards / "one"), (shards / "one/bundle.lock").exists()
    assert run_doit(shards / "one", "prune", env=shard).stdout == "removed no bundles\n"
    assert run_doit(shards / "one", "lock", env=shard).exit == 0
    assert run_doit(shards / "one", "gc", env=shard).exit == 0
    assert (contents(shards / "one"), (shards / "one/bundle.lock").exists()) == before
    assert run_doit(shards / "one", "verify").exit == 0


@pytest.mark.parametrize("text", ["4/3", "x"])
def test_a_variable_that_names_no_shard(shards: Path, text: str) -> None:
    run = run_doit(shards / "one", env={"C2WTASKS_SHARD": text})
    assert run.exit == 3
    assert run.stderr.splitlines()[0].startswith(f"ERROR: C2WTASKS_SHARD: '{text}' is no shard; give a number")


@pytest.mark.parametrize("words", [("{}",), ("list", "{}"), ("bundle:{}@linux/amd64",), ("why", "{}*")], ids=" ".join)
def test_a_bundle_of_another_shard_is_told(words: tuple[str, ...], shards: Path) -> None:
    shard = {"C2WTASKS_SHARD": f"1/{COUNT}"}
    rows = json.loads(run_doit(shards / "one", "list", "--json", env=shard).stdout)["bundles"]
    mine = {row["image"] for row in rows}
    other = min({"web", "db", "other"} - mine)
    run = run_doit(shards / "one", *(word.format(other) for word in words), env=shard)
    assert run.exit == 3
    assert f"is not in shard 1/{COUNT} (C2WTASKS_SHARD); to see what is, run: doit list" in run.stderr
    assert run_doit(shards / "one", "plan", min(mine), env=shard).exit == 0


def test_how_the_shards_are_told(shards: Path) -> None:
    run = run_doit(shards / "one", "shard", f"--of={COUNT}", "--json")
    lines = json.loads(run.stdout)["include"]
    assert [line["shard"] for line in lines] == [f"{number}/{COUNT}" for number in range(1, COUNT + 1)]
    assert sum(line["bundles"] for line in lines) == 5
    told = run_doit(shards / "one", "shard", f"--of={COUNT}").stdout.splitlines()
    assert [line.split()[:3] for line in told] == [
        [line["shard"], *counted(line["bundles"], "bundle").split()] for line in lines
    ]
    many = json.loads(run_doit(shards / "one", "shard", "--of=9", "--json").stdout)["include"]
    assert len(many) == 5, "a shard without bundles needs no machine"
    assert run_doit(shards / "one", "shard").exit == 3


def test_a_root_is_deeper_than_pythons_stack(tmp_path: Path) -> None:
    for name in ("shard", "merged"):
        (tmp_path / name).mkdir()
        Layout(tmp_path / name / "image").image({"d/" * 600: Dir(), "d/" * 600 + "file": "text"})
        write_catalog(tmp_path / name, {"deep": {"source": "oci:image"}})
    env = {"C2WTASKS_SHARD": "1/1"}
    assert run_doit(tmp_path / "shard", env=env).exit == 0
    run = run_doit(tmp_path / "merged", "merge", "../shard/bundles")
    assert (run.exit, run.stderr) == (0, "")
    assert run_doit(tmp_path / "merged", "verify").exit == 0


DEFAULT_ACL = bytes.fromhex(
    "02000000 01000700ffffffff 02000700e8030000 04000500ffffffff 10000700ffffffff 20000500ffffffff"
)


def test_an_output_with_a_default_acl_passes_it_on_to_no_root(shards: Path) -> None:
    bundles = shards / "merged/bundles"
    bundles.mkdir()
    try:
        os.setxattr(bundles, "system.posix_acl_default", DEFAULT_ACL)
    except OSError as error:
        pytest.skip(f"no ACLs here: {error}")
    run = run_doit(shards / "merged", "merge", *OUTPUTS)
    assert (run.exit, run.stderr) == (0, "")
    for root in bundles.glob("*/*/rootfs"):
        for path in (root, *root.rglob("*")):
            assert not [name for name in os.listxattr(path, follow_symlinks=False) if "acl" in name], path
    assert in_roots(shards / "merged") == in_roots(shards / "one")


def test_a_signal_as_it_ends_leaves_nothing_untold(shards: Path) -> None:
    run = run_doit(shards / "merged", "merge", *OUTPUTS, env=hooked(shards / "hook", STOPPED_AS_IT_ENDS))
    assert (run.exit, run.stderr) == (0, "")
    is_whole(shards / "merged", shards / "one")
    history = json.loads(run_doit(shards / "merged", "history", "--json").stdout)
    assert {row["state"] for row in history["runs"][0]["bundles"]} == {"built"}


def test_a_form_that_was_lengthened_is_not_read_to_its_end(shards: Path) -> None:
    """A hole of a terabyte would take a quarter of an hour."""
    (found,) = shards.glob("shard-*/bundles/forms/linux-amd64/rootfs.tar")
    os.truncate(found, 1 << 40)
    run = run_doit(shards / "merged", "merge", *OUTPUTS)
    assert run.exit == 1
    assert "rootfs.tar: is not as bundle.json says" in run.stdout


def test_a_root_that_is_a_link_is_not_merged(shards: Path) -> None:
    """Not even where it is root's own, which is followed elsewhere."""
    (found,) = shards.glob("shard-*/bundles/web/linux-amd64/rootfs")
    found.rename(shards / "elsewhere")
    found.symlink_to(shards / "elsewhere")
    run = run_doit(shards / "merged", "merge", *OUTPUTS)
    assert run.exit == 1
    assert not (shards / "merged/bundles/web/linux-amd64").exists()


@NEEDS_ROOT
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (Debian: util-linux)")
def test_what_only_root_can_merge_is_told_by_its_path(shards: Path) -> None:
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "doit", "merge", *OUTPUTS]
    run = subprocess.run(command, cwd=shards / "merged", capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 1
    assert "/kinds/linux-amd64/rootfs/deep: cannot be merged: Permission denied; merge as root" in run.stdout
    assert "4 merged, 0 current, 1 failed" in run.stdout
