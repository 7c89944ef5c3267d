"""Random edits of bundle.yaml, layouts, outputs, spare roots and cache: what runs is what the edits touched, by a
model; `doit why` has said so before; and roots are as if they were made anew.

`C2WTASKS_MUTATIONS` sets how many (10,000 for a long run by hand), `C2WTASKS_SEED` which.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.graph.catalogs import families
from tests.graph.mutations import Catalog
from tests.support.running import executed, foretold

STEPS = int(os.environ.get("C2WTASKS_MUTATIONS", "60"))


def test_what_runs_is_what_was_touched(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, seed=int(os.environ.get("C2WTASKS_SEED", "20")))
    assert executed(tmp_path)
    renewed = 0
    for step in range(STEPS):
        made, want = catalog.step()
        published, spare = catalog.inodes("{}/linux-amd64/rootfs"), catalog.inodes(".parts/{}/linux-amd64/spare")
        certain, possible = foretold(tmp_path)
        ran = executed(tmp_path)
        assert families(ran) == want, f"step {step}: {made}"
        assert certain <= ran <= possible, f"step {step}: {made}"
        assert executed(tmp_path) == set(), f"step {step}: {made}"
        for name, inode in catalog.inodes("{}/linux-amd64/rootfs").items():
            renewed += inode == spare.get(name)
            if inode != published.get(name):
                assert catalog.root(name) == catalog.anew(name), f"step {step}: {made}"
    assert renewed > STEPS // 20
