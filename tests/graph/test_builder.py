"""A builder who may not give files away nor make devices: bundles are built, say so, and are made anew as root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import write_catalog
from tests.support.images import Device, Dir, File, Layout
from tests.support.running import environment, executed, run_doit

NOTE = "note: web@linux/amd64: the folder of the root lacks 2 owners (7:8), 1 device; bundle.json says so"
BUNDLE = "bundles/web/linux-amd64"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to drop its capabilities"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (Debian: util-linux)"),
]


def run_without_capabilities(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "doit"]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def facts(folder: Path) -> dict[str, Any]:
    left_out: dict[str, Any] = json.loads((folder / BUNDLE / "bundle.json").read_text())["rootfs"]["leftOut"]
    return left_out


def test_without_the_right_and_then_with_it(tmp_path: Path) -> None:
    Layout(tmp_path / "web").image(
        {
            "closed/": Dir(mode=0o500, uid=7, gid=8),
            "closed/secret": File(mode=0o4711, uid=7, gid=8, content="s"),
            "dev/null": Device(1, 3, mode=0o666),
        },
        cmd=["sh"],
    )
    write_catalog(tmp_path, {"web": "oci:web"})

    first = run_without_capabilities(tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stderr.startswith(NOTE)
    assert first.stderr.count("\n") == 1
    secret = tmp_path / BUNDLE / "rootfs/closed/secret"
    assert (secret.stat().st_uid, oct(secret.stat().st_mode)) == (0, "0o104711")
    assert not (tmp_path / BUNDLE / "rootfs/dev/null").exists()
    assert (facts(tmp_path)["owners"], facts(tmp_path)["devices"]) == ({"7:8": 2}, 1)
    assert not run_without_capabilities(tmp_path).stdout.count("built")

    ran = {task.partition(":")[0] for task in executed(tmp_path)}
    assert ran == {"rootfs", "bundle", "catalog"}
    assert (secret.stat().st_uid, secret.stat().st_gid, oct(secret.stat().st_mode)) == (7, 8, "0o104711")
    assert (tmp_path / BUNDLE / "rootfs/dev/null").is_char_device()
    assert (facts(tmp_path)["owners"], facts(tmp_path)["devices"]) == ({}, 0)
    assert run_doit(tmp_path).stderr == ""


def test_forms_that_are_files_need_no_right(tmp_path: Path) -> None:
    Layout(tmp_path / "web").image({"dev/null": Device(1, 3, mode=0o666)}, cmd=["sh"])
    write_catalog(tmp_path, {"web": {"source": "oci:web", "rootfs": ["tar"]}})
    done = run_without_capabilities(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
