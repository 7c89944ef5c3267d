"""What packages.json and the SBOMs say of images, and what they cost, beside syft.

    python bench/packages.py LAYOUT SYFT [TAG ...]

LAYOUT is an image layout, all tags of which are looked at if none is named; SYFT the program. Prints for each image
how many packages of each type are listed by both, and those that only one lists; and how long packages.json and both
SBOMs take beside the merged tree, and syft with the image. Needs skopeo.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from measuring import are_here, machine, run

sys.path.insert(0, str(Path(__file__).parents[1]))

from c2wtasks.bundlefile.sbom import SBOMS
from c2wtasks.graph import Graph
from c2wtasks.tasks import packages, sboms
from c2wtasks.tasks.build import Build
from c2wtasks.tree import model
from c2wtasks.tree.apply import apply

PROJECT = Path(__file__).parents[1]
SHOWN = 8
TYPES = {"python": "pypi"}  # as syft calls them: as we do

Packages = dict[str, set[tuple[str, str]]]


def tags_of(layout: Path) -> list[str]:
    index = json.loads((layout / "index.json").read_text())
    return [one["annotations"]["org.opencontainers.image.ref.name"] for one in index["manifests"]]


def _named(kind: str, one: dict[str, Any]) -> tuple[str, str]:
    """Name and version; Python's names as PEP 503 compares them."""
    name = re.sub(r"[-_.]+", "-", one["name"]).lower() if kind == "pypi" else one["name"]
    return name, one["version"]


def seconds_of(build: Build) -> float:
    """How long a run takes for the packages of a bundle, of which it has the tree in memory, and its SBOMs."""
    root = model.new_directory()
    for number, layer in enumerate(build.site.layers):
        apply(root, build.site.store.entries(layer.diff_id), number)
    began = time.perf_counter()
    sboms.of_build(build, packages.text(build.site, root))
    return time.perf_counter() - began


def ours(build: Build) -> Packages:
    found: Packages = defaultdict(set)
    for one in json.loads(Path(build.places.output("packages.json")).read_text())["packages"]:
        found[one["type"]].add(_named(one["type"], one))
    return found


def by_syft(syft: str, layout: Path, tag: str, work: Path) -> tuple[Packages, float]:
    """What syft finds in an image, and its wall seconds."""
    copy = f"{work}/{tag}.layout"
    subprocess.run(["skopeo", "copy", "-q", f"oci:{layout}:{tag}", f"oci:{copy}:{tag}"], check=True)
    took = run([[syft, "scan", f"oci-dir:{copy}", "-q", "-o", f"syft-json={work}/{tag}.json"]], work)
    found: Packages = defaultdict(set)
    artifacts: list[dict[str, Any]] = json.loads((work / f"{tag}.json").read_text())["artifacts"]
    for one in artifacts:
        kind = TYPES.get(one["type"], one["type"])
        found[kind].add(_named(kind, one))
    return found, took.wall


def shown(packages: set[tuple[str, str]]) -> str:
    names = [f"{name} {version}" for name, version in sorted(packages)]
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def compare(tag: str, mine: Packages, theirs: Packages) -> None:
    for kind in sorted(mine.keys() | theirs.keys()):
        both = mine[kind] & theirs[kind]
        print(f"{tag}: {kind}: {len(both)} in both")
        for who, more in (("ours", mine[kind] - both), ("syft's", theirs[kind] - both)):
            if more:
                print(f"    only {who}: {len(more)}: {shown(more)}")


def main() -> None:
    if len(sys.argv) < 3 or not are_here("packages", sys.argv[2], "skopeo"):
        sys.exit(__doc__)
    layout, syft = Path(sys.argv[1]).resolve(), os.path.abspath(shutil.which(sys.argv[2]) or "")
    os.environ["SYFT_CHECK_FOR_APP_UPDATE"] = "false"
    tags = sys.argv[3:] or tags_of(layout)
    print(machine())
    with tempfile.TemporaryDirectory(dir=".") as name:
        work = Path(name).resolve()
        images = {tag: f"oci:{layout}:{tag}" for tag in tags}
        more = {"platforms": ["linux/amd64"], "defaults": {"rootfs": ["tar"], "sbom": list(SBOMS)}}
        (work / "bundle.yaml").write_text(json.dumps({**more, "images": images}))
        subprocess.run(
            [sys.executable, "-m", "c2wtasks"], cwd=work, check=True, env=os.environ | {"PYTHONPATH": PROJECT}
        )
        os.chdir(work)
        for build in Graph.load().builds:
            tag = build.bundle.name
            with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:  # so that nothing is remembered
                seconds = pool.submit(seconds_of, build).result()
            theirs, of_syft = by_syft(syft, layout, tag, work)
            compare(tag, ours(build), theirs)
            print(f"{tag}: {seconds:.2f} s, syft {of_syft:.1f} s: {seconds / of_syft:.3f} of it", flush=True)


if __name__ == "__main__":
    main()
