"""Whoever builds, with whatever rights and wherever: the root is as it should be, but for what bundle.json says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import write_catalog
from tests.support import mounts, rights
from tests.support.images import Device, Dir, Fifo, File, Hardlink, Layout, Symlink, Tree
from tests.support.roots import of_folder
from tests.support.running import environment, executed, run_doit

pytestmark = [rights.NEEDS_ROOT, rights.NEEDS_SETPRIV]

BUNDLE = "bundles/web/linux-amd64"
ROOTFS = f"{BUNDLE}/rootfs"
Run = Callable[[Sequence[str]], list[str]]

_CAPABILITY_SEEN_INSIDE = f"security.capability=01000002002000{'00' * 13}"
_CAPABILITY_SEEN_OUTSIDE = (
    f"security.capability=01000003002000{'00' * 13}{rights.FIRST_ID.to_bytes(4, 'little').hex()}"
)
CAPABILITY = "\1\0\0\2\0\x20\0\0" + "\0" * 12  # cap_net_raw+ep
IMAGE: Tree = {
    "./": Dir(mode=0o755),
    "bin/": Dir(),
    "bin/su": File(mode=0o4755, content="su"),
    "bin/wall": File(mode=0o2755, gid=8, content="wall"),
    "bin/at": File(mode=0o6755, uid=7, gid=8, content="at"),
    "bin/ping": File(mode=0o755, content="ping", xattrs={"security.capability": CAPABILITY}),
    "etc/": Dir(),
    "etc/shadow": File(mode=0o640, gid=42, content="s"),
    "home/": Dir(mode=0o700, uid=1000, gid=1000),
    "home/file": File(mode=0o600, uid=1000, gid=1000, content="f"),
    "home/file2": Hardlink("home/file", mode=0o600, uid=1000, gid=1000),
    "home/link": Symlink("file", uid=1000, gid=1000),
    "home/far": File(uid=172_761_424, gid=600_260_513, content="far"),
    "mail/": Dir(mode=0o2775, gid=8),
    "mail/box": File(mode=0o660, uid=1000, gid=8, content="m"),
    "shut/": Dir(mode=0o500, uid=7, gid=8),
    "shut/file": File(mode=0o400, uid=7, gid=8, content="x"),
    "tmp/": Dir(mode=0o1777),
    "dev/": Dir(),
    "dev/null": Device(1, 3, mode=0o666),
    "dev/null2": Hardlink("dev/null"),
    "dev/sda": Device(8, 0, block=True, mode=0o660, gid=6),
    "run/": Dir(),
    "run/fifo": Fifo(mode=0o620, gid=5),
}


def lay_out(folder: Path, *more: Tree) -> None:
    Layout(folder / "web").image(IMAGE, *more, cmd=["sh"])
    write_catalog(folder, {"web": "oci:web"})


def doit(folder: Path, by: Run, *args: str) -> subprocess.CompletedProcess[str]:
    command = by([sys.executable, "-m", "doit", *args])
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def left_out(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / BUNDLE / "bundle.json").read_text())["rootfs"]["leftOut"]
    return found


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that others may look into, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def become(folder: Path, run: Run, owner: tuple[int, int]) -> None:
    """Gives the folder away, if they can start what the tests run."""
    os.chown(folder, *owner)
    done = subprocess.run(
        run([sys.executable, "-c", "import c2wtasks"]), cwd=folder, capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"only root can reach this checkout, or make a user namespace: {done.stderr.decode()[-200:]}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The entries of the root as root makes it, by path: their words, as `of_folder` has them."""
    folder = tmp_path_factory.mktemp("whole")
    lay_out(folder)
    done = run_doit(folder)
    assert (done.exit, done.stderr) == (0, "")
    return entries(folder)


def entries(folder: Path, ids: int = 0) -> dict[str, list[str]]:
    """`ids` is where the ids of those who wrote begin."""
    found = {}
    for line in of_folder(str(folder / ROOTFS)):
        path, *words = line.split()
        if words[0] != "=":
            words[2] = ":".join(str(int(one) - ids) for one in words[2].split(":"))
            words[3:] = [_CAPABILITY_SEEN_INSIDE if word == _CAPABILITY_SEEN_OUTSIDE else word for word in words[3:]]
        found[path] = words
    return found


def difference(whole: dict[str, list[str]], here: dict[str, list[str]], builder: str) -> dict[str, Any]:
    """What `here` lacks of `whole`, in the words of bundle.json."""
    owners, set_ids, xattrs = Counter[str](), Counter[str](), Counter[str]()
    devices = modes = 0
    for path, want in whole.items():
        have = here.get(path)
        first = whole[want[1]] if want[0] == "=" else want
        if have is None:
            assert first[0] in "cb", path
            devices += 1
            continue
        seen = here[have[1]] if have[0] == "=" else have
        assert (seen[0], seen[3]) == (first[0], first[3]), path  # kind and mtime
        if seen[2] != first[2]:
            pairs = zip(seen[2].split(":"), first[2].split(":"), builder.split(":"), strict=True)
            assert all(is_now in (image, own) for is_now, image, own in pairs), path
            owners[first[2]] += 1
        if seen[1] != first[1] and first[0] != "l":
            lost = int(seen[1], 8) ^ int(first[1], 8)
            if lost & ~0o6000:
                modes += 1
            else:
                set_ids[f"{first[1]} {first[2]}"] += 1
        for word in set(first[4:]) - set(seen[4:]):
            assert word.startswith("security.capability="), word
            xattrs["security.capability"] += 1
        assert set(seen[4:]) <= set(first[4:])
    assert here.keys() <= whole.keys()
    counts = [dict(sorted(counted.items())) for counted in (owners, set_ids, xattrs)]
    return {"owners": counts[0], "setIds": counts[1], "modes": modes, "devices": devices, "xattrs": counts[2]}


USER = (54321, 54321)
OF_GROUPS = {"0:42", "0:5", "0:6", "0:8"}
OTHERS = {*OF_GROUPS, "1000:1000", "1000:8", "172761424:600260513", "7:8"}
SET_IDS = {"6755 7:8", "2755 0:8", "2775 0:8"}
DEVICES = 3


def with_(names: set[str]) -> Run:
    return lambda command: rights.with_capabilities(names, command)


def without(name: str) -> Run:
    return lambda command: rights.without_capability(name, command)


def as_user(uid: int, gid: int) -> Run:
    return lambda command: rights.as_user(uid, gid, command)


def in_namespace(ids: int) -> Run:
    return lambda command: rights.in_user_namespace(ids, command)


@dataclass(frozen=True)
class Who:
    """`become` makes a command theirs; `owner` is what their files have, seen by themselves, where ids begin at
    `first`. The rest is what they leave out."""

    become: Run
    owner: tuple[int, int] = (0, 0)
    first: int = 0
    owners: Set[str] = frozenset()
    set_ids: Set[str] = frozenset()
    devices: int = 0
    capabilities: int = 0


MATRIX = {
    "root": Who(list),
    "root without chown": Who(without("chown"), owners=OTHERS),
    "root without dac_override": Who(without("dac_override"), owners=OTHERS - OF_GROUPS),
    "root without fowner": Who(without("fowner"), owners=OTHERS - OF_GROUPS),
    "root without fsetid": Who(without("fsetid"), set_ids=SET_IDS),
    "root without setfcap": Who(without("setfcap"), capabilities=1),
    "root without mknod": Who(without("mknod"), devices=DEVICES),
    "root without sys_admin": Who(without("sys_admin")),
    "root without any": Who(with_(set()), owners=OTHERS - {"0:6"}, devices=DEVICES, capabilities=1),
    "Docker": Who(with_(rights.DOCKER)),
    "Podman": Who(with_(rights.PODMAN), devices=DEVICES),
    "OpenShift, anyuid": Who(with_(rights.OPENSHIFT_ANYUID), devices=DEVICES, capabilities=1),
    "OpenShift, restricted": Who(
        as_user(1_000_770_000, 0),
        (1_000_770_000, 0),
        owners={*OTHERS, "0:0"} - {"0:6"},
        devices=DEVICES,
        capabilities=1,
    ),
    "kaniko": Who(with_(rights.KANIKO), set_ids=SET_IDS, devices=DEVICES, capabilities=1),
    "a user": Who(as_user(*USER), USER, owners={*OTHERS, "0:0"} - {"0:6"}, devices=DEVICES, capabilities=1),
    "namespace of 1 id": Who(in_namespace(1), first=rights.FIRST_ID, owners=OTHERS - {"0:6"}, devices=DEVICES),
    "namespace of 65,536 ids": Who(
        in_namespace(65536), first=rights.FIRST_ID, owners={"172761424:600260513"}, devices=DEVICES
    ),
}


@pytest.mark.parametrize("who", MATRIX.values(), ids=MATRIX)
def test_what_is_written_and_told(place: Path, whole: dict[str, list[str]], who: Who) -> None:
    lay_out(place)
    become(place, who.become, (who.first + who.owner[0], who.first + who.owner[1]))
    done = doit(place, who.become)
    assert done.returncode == 0, done.stderr

    told = left_out(place)
    assert told == difference(whole, entries(place, who.first), "{}:{}".format(*who.owner))
    assert (told["owners"].keys(), told["setIds"].keys()) == (who.owners, who.set_ids)
    assert (told["devices"], sum(told["xattrs"].values()), told["modes"]) == (who.devices, who.capabilities, 0)
    notes = {
        "owner": sum(told["owners"].values()),
        "file's set-id bits": len(who.set_ids),
        "device": who.devices,
        "file capability": who.capabilities,
    }
    assert done.stderr.count("\n") == any(notes.values())
    for what, count in notes.items():
        many = {"file's set-id bits": "files' set-id bits"}.get(what, f"{what}s")
        assert (f" {count} {what if count == 1 else many}" in done.stderr) == bool(count)
    assert ("makes it anew" in done.stderr) == any(notes.values())

    verified = doit(place, who.become, "verify")
    assert (verified.returncode, verified.stderr) == (0, "")
    again = doit(place, who.become)
    assert (again.returncode, again.stderr) == (0, done.stderr)
    assert "built" not in again.stdout
    (folder,) = (line for line in doit(place, who.become, "doctor").stdout.splitlines() if " dir " in line)
    for what, count in {
        "owners": len(who.owners),
        "set-group-id": len(who.set_ids),
        "devices": who.devices,
        "file capabilities": who.capabilities,
    }.items():
        assert (what in folder) == bool(count)

    os.chown(place, 0, 0)
    not_believed = {"layer", "tree"} if (place / "cache").stat().st_uid != 0 else set()  # root reads for itself
    ran = {task.partition(":")[0] for task in executed(place)}
    assert ran == ({"rootfs", "bundle", "catalog"} | not_believed if any(notes.values()) else set())
    assert entries(place) == whole
    assert run_doit(place).stderr == ""


@pytest.mark.parametrize("who", ["Podman", "OpenShift, anyuid", "kaniko"])
def test_one_with_fewer_rights_leaves_a_better_root_alone(
    tmp_path: Path, whole: dict[str, list[str]], who: str
) -> None:
    lay_out(tmp_path)
    assert run_doit(tmp_path).exit == 0
    done = doit(tmp_path, MATRIX[who].become)
    assert (done.returncode, done.stderr, "built" in done.stdout) == (0, "", False)
    assert entries(tmp_path) == whole
    # What they make themselves they tell of, though the root is not what has changed.
    write_catalog(tmp_path, {"web": {"source": "oci:web", "process": {"cwd": "/home"}}})
    done = doit(tmp_path, MATRIX[who].become)
    told = left_out(tmp_path)
    assert told == difference(whole, entries(tmp_path), "0:0")
    assert told["devices"] == 0  # these are those of before
    assert ("note: " in done.stderr) == any(told.values())
    assert doit(tmp_path, MATRIX[who].become, "verify").returncode == 0


def test_xattrs_that_only_the_machines_root_may_set(tmp_path: Path) -> None:
    Layout(tmp_path / "web").image({"x": File(xattrs={"security.x": "1", "user.c": "1"}, content="x")}, cmd=["sh"])
    write_catalog(tmp_path, {"web": "oci:web"})
    done = doit(tmp_path, with_(rights.DOCKER))
    assert (done.returncode, left_out(tmp_path)["xattrs"]) == (0, {"security.x": 1})
    assert "lacks 1 xattr (security.x); bundle.json says so" in done.stderr
    assert doit(tmp_path, with_(rights.DOCKER), "verify").returncode == 0
    done = doit(tmp_path, list)
    assert (done.returncode, done.stderr, left_out(tmp_path)["xattrs"]) == (0, "", {})


def test_a_root_of_another_user_namespace_is_made_anew(place: Path) -> None:
    """Nothing is left out of it, but its owners are others to all but those who made it."""
    Layout(place / "web").image({"f": "x"}, cmd=["sh"])
    write_catalog(place, {"web": "oci:web"})
    become(place, in_namespace(65536), (rights.FIRST_ID, rights.FIRST_ID))
    done = doit(place, in_namespace(65536))
    assert (done.returncode, done.stderr) == (0, "")
    assert (place / ROOTFS / "f").stat().st_uid == rights.FIRST_ID
    assert "its owners are those of another user namespace" in run_doit(place, "why").stdout
    assert "rootfs:web@linux/amd64:dir" in executed(place)
    assert (place / ROOTFS / "f").stat().st_uid == 0


def test_more_rights_are_a_reason(tmp_path: Path) -> None:
    lay_out(tmp_path)
    assert doit(tmp_path, with_(rights.PODMAN)).returncode == 0
    assert "it was written without the rights sys_admin, mknod" in run_doit(tmp_path, "why").stdout


def test_a_memory_that_is_lost_proves_only_what_cannot_be_better(tmp_path: Path) -> None:
    lay_out(tmp_path)
    for who, is_proven in ((with_(set()), False), (with_(set()), True), (list, False), (with_(set()), True)):
        for path in tmp_path.glob(".doit.db*"):
            path.unlink()
        done = doit(tmp_path, who, "-r", "json")
        ran = [one["name"] for one in json.loads(done.stdout)["tasks"] if one["result"] == "success"]
        assert ("rootfs:web@linux/amd64:dir" in ran) != is_proven


def test_a_record_of_an_earlier_version_is_rebuilt(tmp_path: Path) -> None:
    lay_out(tmp_path)
    assert run_doit(tmp_path).exit == 0
    path = tmp_path / BUNDLE / "bundle.json"
    record = json.loads(path.read_text())
    for key in ("leftOut", "ids"):
        del record["rootfs"][key]
    record["rootfs"] |= {"owners": "builder", "devicesLeftOut": 3}
    path.write_text(json.dumps(record | {"outputVersion": 2}))
    for state in tmp_path.glob(".doit.db*"):
        state.unlink()
    assert run_doit(tmp_path, "verify").exit == 1
    assert executed(tmp_path) >= {"rootfs:web@linux/amd64:dir", "bundle:web@linux/amd64"}
    assert json.loads(path.read_text())["outputVersion"] > 2
    assert run_doit(tmp_path, "verify").exit == 0


# File systems that do not do what they are told: options of bindfs, the owner that files have there, what is told.
PLACES = {
    "no chown, silently": (["--chown-ignore", "--chgrp-ignore"], "0:0", "14 owners"),
    "no chown of the user, silently": (["--chown-ignore"], "0:0", "9 owners"),
    "no chown of the group, silently": (["--chgrp-ignore"], "0:0", "14 owners"),
    "no chown": (["--chown-deny"], "0:0", "14 owners"),
    "all belong to one": (["--chown-ignore", "--force-user=1000", "--force-group=1000"], "1000:1000", "20 owners"),
    "no chmod, silently": (["--chmod-ignore"], "0:0", "modes"),
    "no chmod": (["--chmod-deny"], "0:0", "modes"),
    "modes of its own": (["--perms=a+r"], "0:0", "modes"),
    "no xattrs": (["--xattr-none"], "0:0", "1 file capability"),
}


@pytest.mark.parametrize("place", PLACES)
def test_file_systems_that_do_not_do_it(tmp_path: Path, whole: dict[str, list[str]], place: str) -> None:
    options, owner, note = PLACES[place]
    (tmp_path / "behind").mkdir()
    lay_out(tmp_path / "behind")
    with mounts.bindfs(tmp_path / "behind", tmp_path / "here", *options) as here:
        done = run_doit(here)
        assert done.exit == 0, done.stderr
        told = left_out(here)
        assert told == difference(whole, entries(here), owner)
        assert note in done.stderr
        assert done.stderr.endswith("; bundle.json says so\n")
        assert run_doit(here).stderr == done.stderr
        assert executed(here) == set()
        verified = run_doit(here, "verify")
        found = [line for line in verified.stdout.splitlines() if "rootfs" in line]
        assert verified.exit == bool(told["modes"])
        assert all(": mode: want " in line for line in found)
        assert (len(found) > 0) == (told["modes"] > 0)
        shutil.rmtree(here / "bundles")


def test_a_file_system_that_knows_none_of_it(tmp_path: Path) -> None:
    with mounts.exfat(tmp_path / "disk", tmp_path / "here") as here:
        tree: Tree = {
            "bin/": Dir(),
            "bin/su": File(mode=0o4755, content="su"),
            "etc/shadow": File(mode=0o640, gid=42, content="s", xattrs={"user.a": "1"}),
            "dev/null": Device(1, 3, mode=0o666),
        }
        Layout(here / "web").image(tree, cmd=["sh"])
        write_catalog(here, {"web": "oci:web"})
        done = run_doit(here)
        assert done.exit == 0, done.stderr
        told = left_out(here)
        assert (told["owners"], told["devices"], told["xattrs"]) == ({"0:42": 1}, 1, {"user.a": 1})
        assert told["modes"] > 0
        assert "lacks 1 owner (0:42), " in done.stderr
        assert ", 1 device, 1 xattr (user.a); bundle.json says so" in done.stderr
        doctor = run_doit(here, "doctor").stdout
        assert "owners other than this user, the modes of the image, devices, file capabilities" in doctor


def test_what_was_left_out_excuses_nothing_else(tmp_path: Path) -> None:
    lay_out(tmp_path)
    assert doit(tmp_path, with_(rights.KANIKO)).returncode == 0
    root = tmp_path / ROOTFS
    (root / "bin/su").chmod(0o755)  # it had its set-user-id bit
    (root / "bin/wall").chmod(0o711)  # it had lost its set-group-id bit, and no other
    os.chown(root / "etc/shadow", 0, 43)
    (root / "etc/shadow").chmod(0o640)
    before = root.joinpath("dev").stat()
    os.mknod(root / "dev/null", 0o020644, os.makedev(1, 3))
    os.utime(root / "dev/null", ns=(0, 0))
    os.utime(root / "dev", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run_doit(tmp_path, "verify").stdout.splitlines()[:-1] == [
        f"{ROOTFS}/bin/su: mode: want 4755, have 0755",
        f"{ROOTFS}/bin/wall: mode: want 2755, have 0711",
        f"{ROOTFS}/etc/shadow: owner: want 0:42, have 0:43",
        f"{ROOTFS}/dev/null: entry: want none, have an extra one",
    ]


def test_what_is_said_of_many_is_said_in_one_line(tmp_path: Path) -> None:
    Layout(tmp_path / "web").image({"dev/null": Device(1, 3)}, cmd=["sh"])
    write_catalog(tmp_path, {f"web{number}": "oci:web" for number in range(21)})
    done = doit(tmp_path, with_(rights.PODMAN))
    (line,) = done.stderr.splitlines()
    assert line.startswith("note: 21 bundles (web0@linux/amd64, web10@linux/amd64, ")
    assert line.endswith(
        "): the folder of the root lacks 21 devices; bundle.json says so, and a run with more rights makes it anew"
    )
