"""A first build of many small bundles: CPU, wall time and system calls a bundle.

    python bench/small.py [BUNDLES]        default: 1000

Builds in the current folder and, where there is one, in memory (/dev/shm). System calls are counted by strace, of as
many bundles, in memory.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from catalogs import generate
from measuring import are_here, machine, run

OURS = [sys.executable, "-m", "doit"]
MEMORY = Path("/dev/shm")
ROUNDS = 3


def build(catalog: Path, work: Path, bundles: int) -> None:
    """Prints what the builds of copies of the catalog take, in the folder `work`."""
    readings = []
    for number in range(ROUNDS):
        copy = shutil.copytree(catalog, work / f"copy{number}")
        subprocess.run(["sync", "--file-system", str(work)], check=True)
        readings.append(run([OURS], copy))
    cpu, wall = (median(getattr(one, key) for one in readings) * 1000 / bundles for key in ("cpu", "wall"))
    print(f"{'memory' if MEMORY in work.parents else 'disk':8} {cpu:5.1f} ms of CPU, {wall:5.1f} ms of wall a bundle")


def count(catalog: Path, work: Path, bundles: int) -> None:
    copy = shutil.copytree(catalog, work / "counted")
    counts = work / "counts"
    # By one thread: under strace all calls are slow, so that tasks would be shared out.
    run([["strace", "-f", "-c", "-o", str(counts), *OURS, "-n", "1"]], copy)
    rows = [line.split() for line in counts.read_text().splitlines()]
    calls = {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit()}
    total = calls.pop("total")
    most = sorted(calls, key=lambda name: -calls[name])[:6]
    print(
        f"{total / bundles:.0f} calls a bundle: " + ", ".join(f"{name} {calls[name] / bundles:.0f}" for name in most)
    )


def main() -> None:
    bundles = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{machine()}; {bundles} bundles, medians of {ROUNDS}")
    with tempfile.TemporaryDirectory() as made:
        catalog = Path(made) / "catalog"
        generate(catalog, bundles)
        for folder in (Path(), *([MEMORY] if MEMORY.is_dir() else [])):
            with tempfile.TemporaryDirectory(dir=folder) as name:
                build(catalog, Path(name).resolve(), bundles)
                if folder == MEMORY and are_here("system calls", "strace"):
                    count(catalog, Path(name), bundles)


if __name__ == "__main__":
    main()
