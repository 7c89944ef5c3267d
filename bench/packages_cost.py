"""What packages.json costs a build: CPU, with and without it.

    python bench/packages_cost.py LAYOUT [--bundles 60] [--rounds 3] [--tags base,python,nginx,node,gcc]

LAYOUT is an image layout with those tags. Two cases, each built with an empty cache by one worker, in turn with
packages and with a report that is empty at once: bundles over the images, each with a small layer of its own on top
(`share: true`, which makes a build least of all); and each image alone, as a folder. "within" is what the making of
reports itself took, in the runs with it. Needs as much room as the roots of all images, and root.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalogs import PROJECT, topped
from measuring import machine, run

HOOK = """
import atexit, os, sys, time
from importlib.machinery import PathFinder

class Finder:
    def find_spec(self, name, path, target=None):
        if name != "c2wtasks.tasks.packages":
            return None
        spec = PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), change(module))
        return spec

def change(module):
    text, spent = module.text, []
    def timed(site, root, *more):
        begun = time.thread_time()
        try:
            return text(site, root, *more)
        finally:
            spent.append(time.thread_time() - begun)
    if "WITHOUT" in os.environ:
        none = module.listed.Report(module.listed.VERSION, {}, (), (), (), ())
        module.text = lambda *given: module.listed.encode(none)
    else:
        module.text = timed
        atexit.register(lambda: print(sum(spent), file=open("within", "a")))

sys.meta_path.insert(0, Finder())
"""
"""As `sitecustomize`: it takes a module as it is loaded, and puts another function there."""


def build(work: Path, catalog: Path, *, without: bool) -> tuple[float, float]:
    """The CPU seconds of a first build, and of those what reports took."""
    folder = work / "build"
    shutil.copytree(catalog, folder, copy_function=os.link)
    marks = [f"PYTHONPATH={work}/hook", *(["WITHOUT=1"] if without else [])]
    took = run([["env", *marks, sys.executable, "-m", "doit", "-n", "1"]], folder).cpu
    within = 0.0 if without else sum(map(float, (folder / "within").read_text().split()))
    shutil.rmtree(folder)
    return took, within


def compare(work: Path, name: str, catalog: Path, rounds: int) -> None:
    readings = [[build(work, catalog, without=without) for without in (False, True)] for _ in range(rounds)]
    with_, without = (statistics.median(one[at][0] for one in readings) for at in (0, 1))
    within = statistics.median(one[0][1] for one in readings)
    print(
        f"| {name} | {without:.2f} | {with_ / without - 1:+.1%} | {within:.3f} | {within / without:.1%} |", flush=True
    )
    shutil.rmtree(catalog)


def cases(work: Path, layout: Path, tags: Sequence[str], bundles: int) -> dict[str, dict[str, Any]]:
    """What `bundle.yaml` says, by the name of the case. The layout is copied, with the images that are added."""
    many = topped(work / "layout", layout, tags, bundles)
    return {
        f"{bundles} bundles": {"share": True, "images": many},
        **{tag: {"images": {tag: f"oci:layout:{tag}"}} for tag in tags},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layout", type=lambda text: Path(text).resolve())
    parser.add_argument("--bundles", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tags", default="base,python,nginx,node,gcc", type=lambda text: text.split(","))
    options = parser.parse_args()
    print(f"{machine()}; medians of {options.rounds}; CPU seconds\n")
    print("| | without | with it | within | of it |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(dir=".") as name:
        work = Path(name).resolve()
        (work / "hook").mkdir()
        (work / "hook" / "sitecustomize.py").write_text(HOOK)
        for case, more in cases(work, options.layout, options.tags, options.bundles).items():
            catalog = work / "catalog"
            shutil.copytree(work / "layout", catalog / "layout", copy_function=os.link)
            (catalog / "bundle.yaml").write_text(json.dumps({"platforms": ["linux/amd64"], **more}))
            shutil.copy(PROJECT / "dodo.py", catalog)
            compare(work, case, catalog, options.rounds)


if __name__ == "__main__":
    main()
