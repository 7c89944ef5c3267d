"""Commands that only look write nothing, and work where nothing can be written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.disks import NEEDS_ROOT
from tests.support.mounts import mounted_over
from tests.support.running import environment, run_doit

COMMANDS: dict[tuple[str, ...], int] = {
    ("list", "--all"): 0,
    ("list", "--all", "-s"): 0,
    ("plan",): 0,
    ("why",): 1,
    ("verify",): 1,
    ("doctor",): 0,
    ("info", "bundle:web@linux/amd64"): 1,
    ("gc", "--dry-run"): 0,
    ("prune", "--dry-run"): 0,
    ("clean", "--dry-run"): 0,
    ("lock", "--check"): 0,
    ("help", "bundle:web@linux/amd64"): 0,
}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built; then a layer's tar is gone, a file was edited, an image has changed and another is new."""
    folder = tmp_path_factory.mktemp("looking")
    images = small_catalog(folder)
    assert run_doit(folder).exit == 0
    next((folder / "cache/layers/sha256").glob("*.tar")).unlink()
    (folder / "bundles/web/linux-amd64/spec.json").write_text("{}")
    shutil.rmtree(folder / "other")
    shutil.copytree(folder / "db", folder / "other")
    write_catalog(folder, {**images, "new": {"source": "oci:web"}})
    return folder


def everything(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {str(path.relative_to(folder)): path.lstat() for path in [folder, *folder.rglob("*")]}
    return {path: (one.st_ino, one.st_mtime_ns, one.st_ctime_ns) for path, one in found.items()}


def changed(before: dict[str, Any], after: dict[str, Any], command: tuple[str, ...]) -> list[str]:
    """The paths that are new, gone or not as they were. `doctor` tries what files may be given, without a trace."""
    found = [path for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]
    return [path for path in found if command != ("doctor",) or path not in before or path not in after]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("memory", ["", "damaged", "gone"])
def test_nothing_is_written(catalog: Path, tmp_path: Path, command: tuple[str, ...], memory: str) -> None:
    folder = tmp_path / "catalog"
    shutil.copytree(catalog, folder, symlinks=True)
    if memory == "damaged":
        (folder / ".doit.db").write_text("no record")
    elif memory == "gone":
        (folder / ".doit.db").unlink()
    before = everything(folder)
    done = run_doit(folder, *command, env={"PYTHONDONTWRITEBYTECODE": ""})
    assert done.exit == COMMANDS[command]
    assert "Traceback" not in done.stderr
    assert changed(before, everything(folder), command) == []


@NEEDS_ROOT
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_checkout_that_may_only_be_read(catalog: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    usual = run_doit(catalog, *command)
    with mounted_over(catalog, tmp_path / "seen", "ro") as seen:
        done = run_doit(seen, *command)
    assert (done.exit, done.stderr) == (usual.exit, usual.stderr)
    if command[0] in ("plan", "why", "verify", "gc", "prune"):
        assert done.stdout == usual.stdout


@NEEDS_ROOT
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_user_who_may_only_read(catalog: Path, command: tuple[str, ...]) -> None:
    for above in [catalog, *catalog.parents[:3]]:
        above.chmod(above.stat().st_mode | 0o055)
    code = f"import sys; sys.path[:0] = {sys.path!r}; from c2wtasks.__main__ import main; main()"
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "/usr/bin/python3", "-c", code]
    before = everything(catalog)
    done = subprocess.run(
        [*user, *command], cwd=catalog, env=environment(), capture_output=True, text=True, check=False
    )
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip("another user's /usr/bin/python3 cannot load what this environment has installed")
    assert "Traceback" not in done.stderr
    assert "cannot be" not in done.stderr
    assert done.returncode in (0, COMMANDS[command])
    assert changed(before, everything(catalog), command) == []
