"""What the original program made of each image, byte for byte, against what we make of it: through a bundle.yaml and
`doit`, as a user would. `README.md` says what the cases are, and where we do better on purpose.

`seed` is what profile v0.3 equals, `now` what v0.8 equals.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import unpack

CASES = Path(__file__).parent / "cases"
DODO = Path(__file__).parents[2] / "dodo.py"
PROFILES = {"seed": "v0.3", "now": "v0.8"}
FLAGS = {
    "-debug": ("debug", True),
    "-debug-init": ("debug_init", True),
    "-no-vmtouch": ("vmtouch", False),
    "-no-binfmt": ("binfmt", False),
    "-external-bundle": ("external_bundle", True),
    "-image-config-path": ("image_config_path", None),
    "-runtime-config-path": ("runtime_config_path", None),
    "-rootfs-path": ("rootfs_path", None),
}

# Where we do better than the program: what is expected instead (README.md).
USERS_DONE_BETTER = {
    "user-passwd-symlink-absolute": {"uid": 1001, "gid": 1001, "additionalGids": [50, 60]},
    "bad-user-no-passwd-uid": {"uid": 1000, "gid": 0},
}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners and devices are compared")


@dataclass(frozen=True)
class Built:
    folder: Path
    lines: list[str]  # what the run said at its end
    catalog: dict[str, Any]


def _cases() -> list[str]:
    return sorted(path.name for path in CASES.iterdir())


def _expected(case: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CASES / case / "expected.json").read_text())
    return loaded


def _pairs() -> list[tuple[str, str]]:
    return [(case, which) for case in _cases() for which in PROFILES if which in _expected(case)]


def _image_entry(case: str, which: str) -> dict[str, Any]:
    expected = _expected(case)
    boot = {}
    for flag in expected["flags"]:
        name, _, value = flag.partition("=")
        key, switched = FLAGS[name]
        boot[key] = value if switched is None else switched
    transport = "oci" if (CASES / case / "image.tar").exists() and _holds_index(case) else "docker-archive"
    return {
        "source": f"{transport}:images/{case}",
        "platforms": [expected["platform"]],
        "profile": PROFILES[which],
        "boot": boot,
        "same_owner": expected["env"].get("_NO_SAME_OWNER") != "1",
    }


def _holds_index(case: str) -> bool:
    with tarfile.open(CASES / case / "image.tar") as tar:
        return any(Path(name).name == "index.json" for name in tar.getnames())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """All cases, for both profiles, as one catalog."""
    folder = tmp_path_factory.mktemp("reference")
    for case in _cases():
        unpack(CASES / case / "image.tar", folder / "images" / case)
    images = {f"{case}.{which}": _image_entry(case, which) for case, which in _pairs()}
    (folder / "bundle.yaml").write_text(json.dumps({"images": images}))  # JSON is YAML too
    shutil.copy(DODO, folder / "dodo.py")
    run = subprocess.run([sys.executable, "-m", "doit"], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr  # some cases are meant to fail
    assert "Traceback" not in run.stdout + run.stderr
    catalog = json.loads((folder / "bundles/catalog.json").read_text())
    return Built(folder, run.stderr.splitlines(), {line["name"]: line for line in catalog["bundles"]})


def _bundle(built: Built, case: str, which: str) -> Path:
    return built.folder / "bundles" / built.catalog[f"{case}.{which}"]["path"]


GOOD = [pair for pair in _pairs() if _expected(pair[0])[pair[1]]["exit"] == 0]
BAD = [pair for pair in _pairs() if pair not in GOOD and pair[0] not in USERS_DONE_BETTER]
BETTER = [pair for pair in _pairs() if pair[0] in USERS_DONE_BETTER]


def test_the_cases_are_there() -> None:
    assert len(GOOD) >= 120
    assert BAD and BETTER


@pytest.mark.parametrize(("case", "which"), GOOD)
@pytest.mark.parametrize("file", ["image.json", "spec.json", "initconfig.json"])
def test_json_text(built: Built, case: str, which: str, file: str) -> None:
    result = _expected(case)[which]
    if file in result:
        assert (_bundle(built, case, which) / file).read_bytes() == result[file].encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(("case", "which"), GOOD)
def test_rootfs(built: Built, case: str, which: str) -> None:
    want = _expected(case)[which].get("rootfs")
    if want is None:
        return
    have = describe(_bundle(built, case, which) / "rootfs")
    for path, entry in want.items():
        if entry["mtime_ns"] == "time of unpacking" and path in have:
            entry["mtime_ns"] = have[path]["mtime_ns"]  # left to chance there; test_tree has what it is here
    assert _as_lines(have) == _as_lines(want)


@pytest.mark.parametrize(("case", "which"), BAD)
def test_refused(built: Built, case: str, which: str) -> None:
    line = built.catalog[f"{case}.{which}"]
    assert line["status"] == "failed"
    assert not _bundle(built, case, which).exists()
    said = [text for text in built.lines if text.startswith(f"{case}.{which}@")]
    assert said == [f"{case}.{which}@{line['platform']}: {line['error']}"]


@pytest.mark.parametrize(("case", "which"), BETTER)
def test_users_done_better(built: Built, case: str, which: str) -> None:
    spec = json.loads((_bundle(built, case, which) / "spec.json").read_text())
    assert spec["process"]["user"] == USERS_DONE_BETTER[case]


def _as_lines(entries: dict[str, dict[str, Any]]) -> list[str]:
    return [f"{path} {json.dumps(entry, sort_keys=True)}" for path, entry in sorted(entries.items())]


def describe(root: Path) -> dict[str, dict[str, Any]]:
    """A folder in the words of expected.json."""
    entries: dict[str, dict[str, Any]] = {}
    first_names: dict[int, str] = {}
    kinds = {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}
    kinds |= {stat.S_IFCHR: "char", stat.S_IFBLK: "block"}
    paths = [root, *sorted(root.rglob("*"), key=lambda path: str(path.relative_to(root)))]
    for path in paths:
        name = str(path.relative_to(root))
        found = path.lstat()
        kind = kinds[stat.S_IFMT(found.st_mode)]
        entry: dict[str, Any] = {
            "type": kind,
            "mode": oct(stat.S_IMODE(found.st_mode)),
            "uid": found.st_uid,
            "gid": found.st_gid,
            "mtime_ns": found.st_mtime_ns,
        }
        if kind == "file":
            content = path.read_bytes()
            entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        if kind == "symlink":
            entry["target"] = str(path.readlink())
        if kind in ("char", "block"):
            entry["dev"] = f"{os.major(found.st_rdev)},{os.minor(found.st_rdev)}"
        xattrs = {
            key: os.getxattr(path, key, follow_symlinks=False).hex()
            for key in os.listxattr(path, follow_symlinks=False)
        }
        if xattrs:
            entry["xattrs"] = xattrs
        if kind != "dir" and found.st_nlink > 1:
            entry["same_inode_as"] = first_names.setdefault(found.st_ino, name)
        entries[name] = entry
    return entries
