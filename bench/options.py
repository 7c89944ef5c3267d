"""One option of all bundles changed: a run against one that has nothing to do and is told so by no seal. The first
changes find no spare root that can be used, and do not count.

    python bench/options.py [BUNDLES]        default: 1000

Builds in the current folder and, where there is one, in memory (/dev/shm).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from catalogs import generate
from measuring import Reading, machine, run

OURS = [sys.executable, "-m", "doit"]
MEMORY = Path("/dev/shm")
_FIRST = 3


def compare(catalog: Path, bundles: int) -> None:
    """Prints what the runs take in a catalog that was not built yet."""
    for _ in range(2):  # the second lets the memo settle
        subprocess.run(OURS, cwd=catalog, stdout=subprocess.DEVNULL, check=True)
    described = json.loads((catalog / "bundle.yaml").read_text())
    changed: list[Reading] = []
    null: list[Reading] = []
    for number in range(_FIRST + 3):
        defaults = {"boot": {"vmtouch": number % 2 == 1}}
        (catalog / "bundle.yaml").write_text(json.dumps({**described, "defaults": defaults}))
        reading = run([OURS], catalog)
        if number >= _FIRST:
            changed.append(reading)
            time.sleep(0.1)
            run([OURS], catalog)
            null.append(run([OURS], catalog))
    one, other = median(each.wall for each in changed), median(each.wall for each in null)
    cpu = median(each.cpu for each in changed) - median(each.cpu for each in null)
    place = "memory" if MEMORY in catalog.parents else "disk"
    print(f"{place:8} all changed {one:.2f} s, nothing to do {other:.2f} s: {one / other:.2f} x; beyond", end="")
    print(f" that {cpu * 1000 / bundles:.1f} ms of CPU a bundle")


def main() -> None:
    bundles = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{machine()}; {bundles} bundles, medians of 3")
    for folder in (Path(), *([MEMORY] if MEMORY.is_dir() else [])):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            catalog = Path(name).resolve() / "catalog"
            generate(catalog, bundles)
            compare(catalog, bundles)


if __name__ == "__main__":
    main()
