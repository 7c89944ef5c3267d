"""Random edits of bundle.yaml, layouts, outputs and cache: what runs is what the edits touched, by a model; and
`doit why` has said so before.

`C2WTASKS_MUTATIONS` sets how many (10,000 for a long run by hand), `C2WTASKS_SEED` which.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.graph.catalogs import families
from tests.graph.mutations import Catalog
from tests.support.forked import executed_forked, foretold

STEPS = int(os.environ.get("C2WTASKS_MUTATIONS", "60"))


def test_what_runs_is_what_was_touched(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, seed=int(os.environ.get("C2WTASKS_SEED", "20")))
    assert executed_forked(tmp_path)
    for step in range(STEPS):
        made, want = catalog.step()
        certain, possible = foretold(tmp_path)
        ran = executed_forked(tmp_path)
        assert families(ran) == want, f"step {step}: {made}"
        assert certain <= ran <= possible, f"step {step}: {made}"
        assert executed_forked(tmp_path) == set(), f"step {step}: {made}"
