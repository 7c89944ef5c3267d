"""One option of all bundles changed: a run against one that has nothing to do.

python bench/options.py [BUNDLES]        default: 1000
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
from measuring import machine, run

OURS = [sys.executable, "-m", "doit"]


def main() -> None:
    bundles = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{machine()}; {bundles} bundles, medians of 3")
    with tempfile.TemporaryDirectory(dir=".") as name:
        catalog = Path(name).resolve() / "catalog"
        generate(catalog, bundles)
        for _ in range(2):  # the second lets the memo settle
            subprocess.run(OURS, cwd=catalog, stdout=subprocess.DEVNULL, check=True)
        described = json.loads((catalog / "bundle.yaml").read_text())
        changed, null = [], []
        for vmtouch in (False, True, False):
            defaults = {"boot": {"vmtouch": vmtouch}}
            (catalog / "bundle.yaml").write_text(json.dumps({**described, "defaults": defaults}))
            changed.append(run([OURS], catalog).wall)
            time.sleep(0.1)
            run([OURS], catalog)
            null.append(run([OURS], catalog).wall)
    one, other = median(changed), median(null)
    print(f"all changed {one:.2f} s, nothing to do {other:.2f} s: {one / other:.2f} x")


if __name__ == "__main__":
    main()
