"""Catalogs that are settled: what a new process finds, by a seal or by a run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from c2wtasks.engine import settled
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.running import run_ours

STANDS, STANDS_NOT, MIXED = 100, 101, 102
WORDS = [[], ["run"], ["why"], ["plan"], ["list"]]
WORDS += [[*command, name] for command in WORDS for name in ("web", "db@linux/amd64")]
"""The command lines that a seal may answer."""


def catalog_in(folder: Path) -> None:
    """A catalog with an included file, a form that is a file, and an SBOM."""
    images = small_catalog(folder)
    images["db"]["rootfs"] = ["dir", "tar"]
    images["db"]["sbom"] = ["spdx"]
    (folder / "more").mkdir()
    (folder / "more/more.yaml").write_text('{"images": {"again": {"source": "oci:other"}}}')
    shutil.copytree(folder / "other", folder / "more/other")
    write_catalog(folder, images, include=["more/*.yaml"])


def found(folder: Path, *, runs: bool, words: Sequence[list[str]] = ([],)) -> int:
    """What a new process finds: STANDS where a seal says for all of these `words` that nothing is to be done, MIXED
    where for some only; else, if it `runs`, the exit status of the run."""
    with chdir(folder):
        stand = {settled.stands(each) is not None for each in words}
    if len(stand) > 1:
        return MIXED
    if stand == {True}:
        return STANDS
    return run_ours(folder).exit if runs else STANDS_NOT


def settle(folder: Path) -> None:
    """Runs until a seal stands."""
    for _ in range(40):  # what was published twice within a second is of the next one
        if (status := found(folder, runs=True)) == STANDS:
            return
        assert status == 0
        time.sleep(0.05)
    raise AssertionError("no run leaves a seal")
