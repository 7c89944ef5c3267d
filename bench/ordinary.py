"""What commands take that make nothing, or little: by a seal, and in the ordinary way; beside another version, too.

    python bench/ordinary.py [--small 1000] [--large 10000] [--rounds 5] [--base PYTHON]

CPU seconds of whole processes, medians. PYTHON is an environment that has another version, which is asked for the
same in turn, over a catalog of its own. The small catalog is that of null_build.py, the large one that of scale.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import catalogs
import scale
from measuring import machine, run

LOAD = ["-c", "from c2wtasks.graph import Graph; Graph.load('bundle.yaml')"]
NAME = "image5"
ASKED = {
    "load": LOAD,
    "plan": ["plan"],
    "list": ["list"],
    "list --all": ["list", "--all"],
    "null build": [],
    "why": ["why"],
    NAME: [NAME],
    f"why {NAME}": ["why", NAME],
}
ORDINARY, SEALED = ["-m", "doit"], ["-m", "c2wtasks"]

Rows = dict[str, list[float]]


class Contender:
    """A version in a catalog of its own, that is built."""

    def __init__(self, python: str, folder: Path, bundles: int, generate: Callable[[Path, int], None]) -> None:
        self.python, self.folder = python, folder
        generate(folder, bundles)
        self.first = [self.cpu(*ORDINARY) for _ in range(3)]

    def cpu(self, *words: str) -> float:
        """CPU seconds of the process."""
        time.sleep(0.1)  # files are older than a tick of the clock
        return run([[self.python, *words]], self.folder).cpu

    def asked(self, words: list[str], way: list[str]) -> float:
        """The same, of what ASKED has."""
        return self.cpu(*words) if words is LOAD else self.cpu(*way, *words)

    def changed(self) -> float:
        """The CPU seconds of a run after one option of all bundles has changed."""
        file = self.folder / "bundle.yaml"
        described = json.loads(file.read_text())
        vmtouch = described.get("defaults", {}).get("boot", {}).get("vmtouch", True)
        file.write_text(json.dumps({**described, "defaults": {"boot": {"vmtouch": not vmtouch}}}))
        return self.cpu(*ORDINARY)


def measure(contenders: list[Contender], rounds: int, asked: list[str]) -> Rows:
    """By what was asked: how long each contender takes in the ordinary way, and the first of them by a seal."""
    ours = contenders[0]
    found: Rows = {}
    for name in asked:
        times = [[one.asked(ASKED[name], ORDINARY) for one in contenders] for _ in range(rounds)]
        found[name] = [median(each) for each in zip(*times, strict=True)]
    for _ in range(2):
        ours.cpu(*SEALED)
    for name in asked:
        if ASKED[name] is not LOAD and name != "list --all":
            found[f"{name}, sealed"] = [median(ours.cpu(*SEALED, *ASKED[name]) for _ in range(rounds))]
    return found


def after_changes(contenders: list[Contender], rounds: int) -> Rows:
    """The runs in which all is built, or changes, and those after them."""
    found: Rows = {
        "first build": [one.first[0] for one in contenders],
        "the run after it": [one.first[1] for one in contenders],
    }
    changes = [[(one.changed(), one.cpu(*ORDINARY)) for one in contenders] for _ in range(rounds)]
    for at, name in enumerate(("one option of all changed", "the run after that")):
        found[name] = [median(each[at] for each in one) for one in zip(*changes, strict=True)]
    return found


def show(rows: Rows, bundles: int) -> None:
    """A table in Markdown: with what ours takes of the other version's time."""
    for name, (ours, *base) in rows.items():
        others = "".join(f" {one:.3f} | {ours / one:.2f} |" for one in base)
        print(f"| {bundles} | {name} | {ours:.3f} |{others}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=1000)
    parser.add_argument("--large", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base", metavar="PYTHON")
    options = parser.parse_args()
    pythons = [sys.executable, *filter(None, [options.base])]
    print(f"{machine()}; CPU seconds, medians of {options.rounds}\n")
    columns = ["bundles", "what", "ours", *["base", "ours of it"] * (len(pythons) - 1)]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    with tempfile.TemporaryDirectory(dir=".") as name:
        work = Path(name).resolve()
        small = [
            Contender(one, work / f"small{at}", options.small, catalogs.generate) for at, one in enumerate(pythons)
        ]
        show(after_changes(small, options.rounds) | measure(small, options.rounds, list(ASKED)), options.small)
        if options.large:
            large = [
                Contender(one, work / f"large{at}", options.large, scale.generate) for at, one in enumerate(pythons)
            ]
            show(measure(large, options.rounds, list(ASKED)[:5]), options.large)


if __name__ == "__main__":
    main()
