"""How long a run takes that has nothing to do: ours, against plain doit and ninja on graphs of the same shape.

    python bench/null_build.py [BUNDLES ...]        default: 1000 5000

Whole processes, the median of 5, in turn. The plain graphs name the very same files: each task of ours that is made
of files is a task there.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from catalogs import generate
from measuring import are_here, machine

PLAIN_DODO = """
import json
with open("shape.json") as stream:
    SHAPE = json.load(stream)
def nothing():
    pass
def task_all():
    for task in SHAPE:
        yield {"actions": [nothing], **task}
"""
# doit without any entry point of ours
PLAIN = """
from doit.plugin import PluginDict
PluginDict._from_entry_points = lambda self, category: {}
from doit.__main__ import main
main()
"""
SHAPE = """
import json
from c2wtasks.graph import Graph

graph = Graph.load()
tasks = [
    {
        "basename": family + ":" + task["name"],
        "targets": task["targets"],
        "file_dep": task.get("file_dep") or ["bundle.yaml"],
        "task_dep": task.get("task_dep", []),
    }
    for family in ("layer", "tree", "rootfs", "spec", "boot", "bundle")
    for task in getattr(graph, family + "_tasks")()
]
catalog = graph.catalog_task()
tasks.append({"basename": "catalog", "file_dep": catalog["file_dep"], "targets": catalog["targets"]})
print(json.dumps(tasks))
"""


def shape(folder: Path) -> list[dict[str, object]]:
    """Our tasks as plain doit can have them."""
    done = subprocess.run([sys.executable, "-c", SHAPE], cwd=folder, capture_output=True, text=True, check=True)
    tasks: list[dict[str, object]] = json.loads(done.stdout)
    return tasks


def write_plain(folder: Path, catalog: Path, tasks: list[dict[str, object]]) -> None:
    """The same shape for doit alone and for ninja, in `folder`, over the files of `catalog`."""
    folder.mkdir()
    for name in ("bundles", "cache", "layout", "bundle.yaml"):
        (folder / name).symlink_to(catalog / name)
    (folder / "shape.json").write_text(json.dumps(tasks))
    (folder / "dodo.py").write_text(PLAIN_DODO)
    lines = ["rule touch", "  command = touch $out"]
    for task in tasks:
        targets, deps = (" ".join(task[key]) for key in ("targets", "file_dep"))  # type: ignore[arg-type]
        if targets:
            lines.append(f"build {targets}: touch {deps}".replace("$", "$$"))
    (folder / "build.ninja").write_text("\n".join(lines) + "\n")


def measure(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall seconds, and the peak memory of all children so far in MB."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def bench(bundles: int, work: Path) -> None:
    catalog, plain = work / f"ours{bundles}", work / f"plain{bundles}"
    generate(catalog, bundles)
    ours = [sys.executable, "-m", "c2wtasks"]  # as the programs `doit` and `c2wtasks`
    for _ in range(3):  # the second lets the memo settle, the third leaves a seal
        subprocess.run(ours, cwd=catalog, stdout=subprocess.DEVNULL, check=True)
        time.sleep(0.1)
    write_plain(plain, catalog, shape(catalog))
    doit = [sys.executable, "-c", PLAIN, "--backend", "json", "--db-file", "plain.json"]
    subprocess.run(doit, cwd=plain, stdout=subprocess.DEVNULL, check=True)
    unsealed = [sys.executable, "-m", "doit"]
    commands = {"ours": (ours, catalog), "ours, no seal": (unsealed, catalog), "plain doit, json": (doit, plain)}
    if are_here("ninja", "ninja"):
        subprocess.run(["ninja"], cwd=plain, stdout=subprocess.DEVNULL, check=True)
        commands["ninja"] = (["ninja"], plain)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(5):
        for name, (command, folder) in commands.items():
            times[name].append(measure(command, folder)[0])
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{bundles:6} bundles  {name:18} {median:7.3f} s   ours is {medians['ours'] / median:5.2f} x")


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        for bundles in [int(word) for word in sys.argv[1:]] or [1000, 5000]:
            bench(bundles, Path(folder))


if __name__ == "__main__":
    main()
