"""How many CPUs a process may keep busy, by its control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from c2wtasks.process import cpus

V1 = "4:memory:/a\n3:cpuset:/\n2:cpu,cpuacct:{path}\n0::/\n"
V1_MOUNT = "31 23 0:28 {top} {at} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
V1_OTHER = "33 23 0:30 / {at}-memory rw - cgroup cgroup rw,memory\n"
V2 = "0::{path}\n"
V2_MOUNT = "31 23 0:28 {top} {at} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

# what is told, the group's path, the one that is mounted, quotas by folder below the mount, the CPUs
ROWS = [
    ("none", "/", "/", {}, None),
    ("at the top, as a container sees it", "/", "/", {"": "200000 100000"}, 2),
    ("half a CPU", "/", "/", {"": "50000 100000"}, 1),
    ("one and a half", "/a", "/", {"a": "150000 100000"}, 2),
    ("another period", "/a", "/", {"a": "60000 20000"}, 3),
    ("the group has none, that above has", "/a/b/c", "/", {"a": "300000 100000", "a/b/c": "max 100000"}, 3),
    ("the least of all counts", "/a/b", "/", {"": "900000 100000", "a": "200000 100000", "a/b": "400000 100000"}, 2),
    ("not that of a neighbour", "/a/b", "/", {"a/c": "100000 100000", "ab": "100000 100000"}, None),
    ("a container's group, mounted", "/docker/1f", "/docker/1f", {"": "100000 100000"}, 1),
    ("a group in a container's", "/docker/1f/x", "/docker/1f", {"x": "100000 100000", "": "max 100000"}, 1),
    ("the path of another name space", "/kubepods/pod1", "/docker/1f", {"": "400000 100000"}, 4),
    ("a path like the mounted one's", "/docker/1f2", "/docker/1f", {"": "400000 100000", "2": "100000 100000"}, 4),
    ("outside of what is mounted", "/../x", "/", {"": "400000 100000", "x": "100000 100000"}, 4),
    ("nonsense", "/", "/", {"": "lots of"}, None),
    ("zero", "/", "/", {"": "0 0"}, None),
    ("negative", "/", "/", {"": "-1 100000"}, None),
]  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("path", "top", "quotas", "want"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_quotas(tmp_path: Path, version: int, path: str, top: str, quotas: dict[str, str], want: int | None) -> None:
    mounted = tmp_path / "cgroup of mine"
    for below, text in quotas.items():
        folder = mounted / below
        folder.mkdir(parents=True, exist_ok=True)
        if version == 2:
            (folder / "cpu.max").write_text(f"{text}\n")
        else:
            quota, period = text.replace("max", "-1").split()
            (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
            (folder / "cpu.cfs_period_us").write_text(f"{period}\n")
    at = str(mounted).replace(" ", "\\040")
    groups, mounts = (V2, V2_MOUNT) if version == 2 else (V1, V1_OTHER + V1_MOUNT)
    assert cpus.quota(groups.format(path=path), mounts.format(top=top, at=at)) == want


@pytest.mark.parametrize("text", ["", "\n", "::", "x", "1:cpu", "0::/\n0::/x\n\x00", "1:cpu:/" + "a" * 10_000])
@pytest.mark.parametrize("mounts", ["", "\n", " - ", "1 2 3 / /x rw - cgroup", "1 2 3 / /nowhere rw - cgroup2 x rw"])
def test_what_is_odd_is_no_quota(text: str, mounts: str) -> None:
    assert cpus.quota(text, mounts) is None


def usable(*before: str) -> int:
    code = "from c2wtasks.process import cpus; print(cpus.usable())"
    return int(subprocess.check_output([*before, sys.executable, "-c", code], cwd=Path(__file__).parents[2]))


def test_the_affinity_mask_bounds_it() -> None:
    assert usable("taskset", "-c", str(min(os.sched_getaffinity(0)))) == 1


def test_a_real_quota() -> None:
    """Of a group in one that has none, in version 1 or 2, whichever is here to write to."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    before = usable()
    for top, quota in (("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us"), ("/sys/fs/cgroup", "cpu.max")):
        above = Path(top) / f"c2wtasks-test-{os.getpid()}"
        inner = above / "inner"
        try:
            inner.mkdir(parents=True)
        except OSError:
            continue
        try:
            if not (above / quota).exists():
                continue
            (above / quota).write_text("100000" if "quota" in quota else "100000 100000")
            enter = f'echo $$ > {inner}/cgroup.procs && exec "$@"'
            assert before > 1
            assert usable("sh", "-c", enter, "sh") == 1
            return
        except PermissionError:
            continue
        finally:
            inner.rmdir()
            above.rmdir()
    pytest.skip("needs a control group with the CPU controller that may be written to")
