"""How load, plan, null build and listing grow with the catalog, over one fixed set of layers.

    python bench/scale.py [BUNDLES ...] [--plot FILE]        default: 100 1000 10000

Whole processes, medians of 3. A plot needs matplotlib. The catalogs have one image for each bundle, all over the same
twelve layers; they are built once, which for 10,000 takes minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from catalogs import PROJECT, Layer, QuietLayout
from measuring import machine, run

DOIT = [sys.executable, "-m", "doit"]
COMMANDS = {
    "load": [sys.executable, "-c", "from c2wtasks.graph.graph import Graph; Graph.load()"],
    "plan": [*DOIT, "plan"],
    "null build": DOIT,
    "list": [*DOIT, "list", "--all"],
}


def generate(folder: Path, bundles: int) -> None:
    folder.mkdir(parents=True)
    rng = random.Random(bundles)
    layout = QuietLayout(folder / "layout")
    layers = [Layer.of({f"layer{n}/file{m}": f"{n} {m}" for m in range(5)}, "gzip") for n in range(12)]
    images = {}
    for number in range(bundles):
        layout.image(*rng.sample(layers, 3), tag=f"t{number}", cmd=["run", str(number)])
        images[f"image{number}"] = f"oci:layout:t{number}"
    layout.finish()
    (folder / "bundle.yaml").write_text(json.dumps({"platforms": ["linux/amd64"], "images": images}))
    shutil.copy(PROJECT / "dodo.py", folder)


def measure(bundles: int, work: Path) -> dict[str, float]:
    folder = work / str(bundles)
    generate(folder, bundles)
    for _ in range(2):  # the second lets the memo settle
        subprocess.run(DOIT, cwd=folder, stdout=subprocess.DEVNULL, check=True)
        time.sleep(0.1)
    return {name: median(run([command], folder).wall for _ in range(3)) for name, command in COMMANDS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", type=int, default=[100, 1000, 10000])
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    print(f"{machine()}\n\n| bundles | {' | '.join(COMMANDS)} |\n| --- |{' --- |' * len(COMMANDS)}")
    found = {}
    with tempfile.TemporaryDirectory(dir=".") as name:
        for bundles in arguments.bundles:
            found[bundles] = measure(bundles, Path(name).resolve())
            print(
                f"| {bundles} | {' | '.join(f'{seconds:.2f} s' for seconds in found[bundles].values())} |", flush=True
            )
    first, last = min(found), max(found)
    for name in COMMANDS:
        growth = found[last][name] / found[first][name]
        print(f"{name}: {last / first:.0f} times the bundles take {growth:.1f} times the time")
    if arguments.plot:
        from matplotlib import pyplot

        for name in COMMANDS:
            pyplot.loglog(list(found), [times[name] for times in found.values()], marker="o", label=name)
        pyplot.xlabel("bundles")
        pyplot.ylabel("seconds")
        pyplot.legend()
        pyplot.savefig(arguments.plot)


if __name__ == "__main__":
    main()
