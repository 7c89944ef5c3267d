"""A new top layer of 20 files, and a base layer of which 1 % of the files changed: a run against a null build and
`cp -al` of the root.

    python bench/change.py LAYOUT [TAG]        default: node

LAYOUT is an image layout. Needs root and Debian's package umoci.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from measuring import are_here, machine, run

DODO = Path(__file__).parents[1] / "dodo.py"
OURS = [sys.executable, "-m", "doit"]
ROUNDS = 3


def umoci(*words: str) -> None:
    subprocess.run(["umoci", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_images(layout: Path, tag: str, work: Path) -> list[str]:
    """Tags of a layout in `work`: the image with a few files on top, in several versions; the image's whole root as
    one layer, in two versions that differ in 1 % of its files."""
    image = work / "layout"
    subprocess.run(["cp", "-a", layout, image], check=True)
    for number in range(ROUNDS + 1):
        umoci("tag", "--image", f"{image}:{tag}", f"top{number}")
        top = work / f"top{number}"
        top.mkdir()
        for name in range(20):
            (top / f"file{name}").write_text(f"{number}\n" * 100)
        umoci("insert", "--image", f"{image}:top{number}", str(top), "/srv")
    root = work / "root"
    umoci("raw", "unpack", "--image", f"{image}:{tag}", str(root))
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    for number in range(ROUNDS + 1):
        for path in files[number :: 100 * (ROUNDS + 1)] if number else []:
            with path.open("ab") as stream:
                stream.write(b"changed\n")
        umoci("new", "--image", f"{image}:base{number}")
        umoci("insert", "--image", f"{image}:base{number}", str(root), "/")
    return [f"{kind}{number}" for kind in ("top", "base") for number in range(ROUNDS + 1)]


def main() -> None:
    layout, tag = Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else "node"
    print(f"{machine()}; {tag}, medians of {ROUNDS}")
    if not are_here("all", "umoci"):
        return
    with tempfile.TemporaryDirectory(dir=".") as name:
        work = Path(name).resolve()
        tags = make_images(layout, tag, work)
        catalog = work / "catalog"
        catalog.mkdir()
        shutil.copy(DODO, catalog)
        times: dict[str, list[float]] = {}
        for each in tags:
            image = {"web": f"oci:{work}/layout:{each}"}
            (catalog / "bundle.yaml").write_text(json.dumps({"platforms": ["linux/amd64"], "images": image}))
            os.sync()
            seconds = run([OURS], catalog).wall
            if not each.endswith("0"):  # the first of each kind is a new root
                times.setdefault(f"{each[:-1]} layer changed", []).append(seconds)
            run([OURS], catalog)
            times.setdefault("null build", []).append(run([OURS], catalog).wall)
            copy = ["cp", "-al", str(catalog / "bundles/web/linux-amd64/rootfs"), str(work / f"copy-{each}")]
            times.setdefault("cp -al", []).append(run([copy], work).wall)
    medians = {name: median(values) for name, values in times.items()}
    goal = medians["null build"] + 2 * medians["cp -al"]
    for name, seconds in medians.items():
        print(f"{name:20} {seconds:6.2f} s   {seconds / goal:5.2f} of a null build and twice cp -al")


if __name__ == "__main__":
    main()
