"""Two runs at once, of one repository and of two that share a cache.

A few rounds are in tests/engine/test_two_runs.py. The long form, by hand:

    python -m tests.soak.pairs --rounds 50
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
from collections import Counter
from pathlib import Path
from typing import Any

from tests.graph.catalogs import write_catalog
from tests.support import roots
from tests.support.hooking import READINGS, WORKERS_AT_ONCE, hooked
from tests.support.images import File, Layer, Layout, Tree
from tests.support.running import environment, run_doit

IMAGES = 4
REPOSITORIES = ("one", "other")


def prepare(folder: Path) -> None:
    """Two repositories of the same images, which share all layers but one each."""
    rng = random.Random(1)
    layers = [Layer.of(_tree(rng, number), ("gzip", "zstd")[number % 2]) for number in range(5)]
    for name in REPOSITORIES:
        (folder / name).mkdir()
        layout = Layout(folder / name / "layout")
        for number in range(IMAGES):
            chosen = rng.sample(layers, 3)
            layout.image(*chosen, {"own": f"{number}"}, tag=f"i{number}")
            layout.image(*chosen, {"own": f"{number}, near to it"}, tag=f"i{number}-near")
        write(folder / name)


def write(repository: Path, suffix: str = "") -> None:
    """bundle.yaml, with the images whose tags end so."""
    images = {f"i{number}": f"oci:layout:i{number}{suffix}" for number in range(IMAGES)}
    write_catalog(repository, images, cache="../cache")


def _tree(rng: random.Random, number: int) -> Tree:
    return {f"d{number}/f{name}": File(content=rng.randbytes(20_000), mtime=name) for name in range(40)}


def one_repository(folder: Path, seed: int) -> None:
    """Two runs, a moment apart: both end well, and what one did the other did not."""
    _wipe(folder)
    reports = _both(folder, seed, ["one", "one"])
    done = Counter(task for report in reports for task, result in report.items() if result == "success")
    assert set(done.values()) == {1}, done
    assert set(done) == set(reports[0])
    assert {_readings(folder)[task.removeprefix("layer:")] for task in done if task.startswith("layer:")} == {1}


def one_cache(folder: Path, seed: int) -> None:
    """A run in each repository: each layer is read by one of them, and both get the same bundles."""
    _wipe(folder)
    reports = _both(folder, seed, list(REPOSITORIES))
    for report in reports:
        skipped = {task for task, result in report.items() if result != "success"}
        assert all(task.startswith("layer:") for task in skipped), skipped  # the other's receipt was there before
    keys = {task.removeprefix("layer:") for report in reports for task in report if task.startswith("layer:")}
    readings = _readings(folder)
    assert readings == dict.fromkeys(keys, 1), readings
    for number in range(IMAGES):
        for name in REPOSITORIES:
            at = folder / name / f"bundles/i{number}/linux-amd64/rootfs"
            assert len(roots.of_folder(str(at))) == 1 + 1 + 3 * 41
    left = [path for part in ("locks", "unfinished") for path in (folder / "cache/layers" / part).iterdir()]
    assert left == []


def spare_roots(folder: Path, seed: int) -> None:
    """Two runs, a moment apart, where each root is made of the spare one: both end well, one of them has done it."""
    _wipe(folder)
    repository = folder / "one"
    for suffix in ("", "-near"):
        write(repository, suffix)
        assert run_doit(repository).exit == 0
    spare = [_inode(repository, f".parts/i{number}/linux-amd64/spare") for number in range(IMAGES)]
    write(repository)
    one, other = _both(folder, seed, ["one", "one"])
    assert spare == [_inode(repository, f"i{number}/linux-amd64/rootfs") for number in range(IMAGES)]
    done = [{task for task, result in report.items() if result == "success"} for report in (one, other)]
    assert done[0].isdisjoint(done[1])
    for number in range(IMAGES):
        at = repository / f"bundles/i{number}/linux-amd64/rootfs"
        assert (at / "own").read_text() == str(number)
        assert len(roots.of_folder(str(at))) == 1 + 1 + 3 * 41


def _inode(repository: Path, path: str) -> int:
    return (repository / "bundles" / path).stat().st_ino


def _both(folder: Path, seed: int, names: list[str]) -> list[dict[str, str]]:
    rng = random.Random(seed)
    runs = []
    for name in names:
        workers = WORKERS_AT_ONCE if rng.random() < 0.3 else ""
        env = hooked(folder / f"hook{len(runs)}", workers + READINGS, READINGS=str(folder / "readings"))
        process = subprocess.Popen(
            [sys.executable, "-m", "doit", "-n", rng.choice("02"), "-r", "json"],
            cwd=folder / name,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        runs.append(process)
        time.sleep(rng.choice([0, 0, 0.05, 0.3]))
    reports = []
    for process in runs:
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, (stdout, stderr)
        for line in stderr.splitlines():
            assert "waiting for pid " in line, stderr
        report: dict[str, Any] = json.loads(stdout)
        reports.append({task["name"]: task["result"] for task in report["tasks"] if _is_real(task["name"])})
    return reports


def _is_real(task: str) -> bool:
    """Not a group, which does nothing."""
    return ":" in task or task == "catalog"


def _readings(folder: Path) -> dict[str, int]:
    return dict(Counter((folder / "readings").read_text().split()))


def _wipe(folder: Path) -> None:
    for name in ("cache", *(f"{name}/bundles" for name in REPOSITORIES)):
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in [*folder.glob("*/.doit.db*"), folder / "readings"]:
        path.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for number in range(options.rounds):
            one_repository(folder, number)
            one_cache(folder, number)
            spare_roots(folder, number)
            print(number, end=" ", flush=True)
    print(f"\n{options.rounds} rounds of all: no error, each layer read once")


if __name__ == "__main__":
    main()
