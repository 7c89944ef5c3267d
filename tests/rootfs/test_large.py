"""Trees of hundreds of thousands of names, in little memory and time; others find all of these in what is written.

Every entry of it is compared by `python -m tests.soak.large`, which takes too long for each time.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import environment

PROJECT = Path(__file__).parents[2]
FILES, LINKS = 100_000, 70_000
GIB = 1 << 30
WRITE = f"""
import importlib, resource, sys, time
from pathlib import Path
from tests.support.nasty import nasty

form, folder, hole = sys.argv[1:]
write = importlib.import_module("c2wtasks.rootfs." + form).write

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

tree, tars = nasty(Path(folder), files={FILES}, links={LINKS}, hole=int(hole))
before, start = peak(), time.process_time()
write(tree, tars.__getitem__, folder + "/out")
print(peak() - before, time.process_time() - start)
"""
NAME = re.compile(rb"^(?:\S+ +){4}(\d+) .{12} (many|links)/\d{6}( link to links/\d{6})?$", re.MULTILINE)


@pytest.mark.parametrize(("form", "hole"), [("tar", 5 * GIB), ("cpio", 3 * GIB), ("iso", 5 * GIB)])
def test_hundreds_of_thousands_of_names(tmp_path: Path, form: str, hole: int) -> None:
    command = [sys.executable, "-c", WRITE, form, tmp_path, str(hole)]
    done = subprocess.run(command, env=environment({"PYTHONPATH": str(PROJECT)}), capture_output=True, check=True)
    kilobytes, seconds = done.stdout.split()
    assert int(kilobytes) < 40_000
    assert float(seconds) < 20
    try:
        listed = subprocess.run(["bsdtar", "-tvf", tmp_path / "out"], capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("needs bsdtar: Debian's libarchive-tools")
    found = [(folder, bool(link)) for _, folder, link in NAME.findall(listed)]
    assert found.count((b"many", False)) == FILES
    assert (found.count((b"links", False)), found.count((b"links", True))) == (1, LINKS - 1)
