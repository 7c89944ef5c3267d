"""Runs on a terminal that are interrupted at many instants, by Ctrl-C and by SIGTERM: nothing of what was written
anew stays, and the cursor stands below what does.

The short form is in tests/engine/test_screen.py. The long one, by hand:

    python -m tests.soak.screens --instants 50
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections import Counter
from pathlib import Path

from tests.engine import toys
from tests.engine.test_report import PRODUCTS
from tests.engine.test_screen import interrupted
from tests.engine.test_sign import EAGER
from tests.graph.catalogs import small_catalog
from tests.support.hooking import hooked

_APART = 0.04  # seconds from one instant to the next


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--instants", type=int, default=50)
    instants = parser.parse_args().instants
    ended: Counter[str] = Counter()
    for number in (signal.SIGINT, signal.SIGTERM):
        for instant in range(instants):
            with tempfile.TemporaryDirectory() as folder:
                toy = toys.make(Path(folder) / "toy")
                with (toy / "dodo.py").open("a") as dodo:
                    dodo.write(PRODUCTS)
                status = interrupted(toy, instant * _APART, number, "-n", "2", slow="0.5")
                ended[f"{number.name}, steps that are shown: {status}"] += 1
                catalog = Path(folder) / "catalog"
                catalog.mkdir()
                small_catalog(catalog)
                env = hooked(Path(folder) / "hook", EAGER)
                status = interrupted(catalog, instant * _APART / 2, number, "-n", "2", **env)
                ended[f"{number.name}, a catalog that loads: {status}"] += 1
    for how, count in sorted(ended.items()):
        print(f"{count:5} {how}")
    print(f"{sum(ended.values())} runs: all well")


if __name__ == "__main__":
    main()
