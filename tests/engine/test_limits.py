"""No more threads or processes to be had (a container's limit): a line that says what helps, and that helps."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.graph.catalogs import write_catalog
from tests.support.disks import NEEDS_ROOT
from tests.support.images import Layout
from tests.support.running import environment

NO_MORE = "no more threads can be started: their number is limited (ulimit -u, pids.max); run with -n 1\n"
PROGRAM = f"import sys; sys.path[:0] = {sys.path!r}; from c2wtasks.__main__ import main; main()"


@NEEDS_ROOT
@pytest.mark.parametrize("megabytes", [0, 20], ids=["in threads", "worth worker processes"])
def test_few_processes(tmp_path: Path, megabytes: int) -> None:
    layout = Layout(tmp_path / "image")
    content = random.Random(1).randbytes(1 << 20)
    files = {f"file{number}": content + b"%d" % number for number in range(megabytes)}
    layout.image(files or {"file": "x"}, cmd=["x"])
    write_catalog(tmp_path, {f"i{number}": {"source": "oci:image"} for number in range(3)}, workers=4)
    for above in [tmp_path, *tmp_path.parents[:3]]:
        above.chmod(above.stat().st_mode | 0o055)
    tmp_path.chmod(0o777)

    def run(limit: int, *args: str) -> subprocess.CompletedProcess[str]:
        user = 1_500_000_000 + (os.getpid() % 100_000) * 100 + limit  # one who has no other processes
        command = ["setpriv", "--reuid", str(user), "--regid", "0", "--clear-groups", "bash", "-c"]
        command += [f'ulimit -u {limit}; exec /usr/bin/python3 -c "$0" "$@"', PROGRAM, *args]
        return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)

    done = run(1)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip("another user's /usr/bin/python3 cannot load what this environment has installed")
    assert (done.returncode, done.stderr) == (1, NO_MORE)
    for limit in (2, 3, 4, 5, 6):
        subprocess.run(["rm", "-rf", "bundles", "cache", ".doit.db"], cwd=tmp_path, check=True)
        done = run(limit)
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == 0 or done.stderr == NO_MORE, done
    assert done.returncode == 0
    subprocess.run(["rm", "-rf", "bundles", "cache", ".doit.db"], cwd=tmp_path, check=True)
    assert run(1, "-n", "1").returncode == 0
    assert run(1, "verify", "-n", "1").returncode == 0
