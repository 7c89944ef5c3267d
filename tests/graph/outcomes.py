"""What a run with bad input left and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.running import Result


def read_catalog(folder: Path) -> dict[str, Any]:
    """The lines of catalog.json by the image's name."""
    return {line["name"]: line for line in json.loads((folder / "bundles/catalog.json").read_text())["bundles"]}


def states(folder: Path) -> dict[str, str]:
    return {name: line["status"] for name, line in read_catalog(folder).items()}


def temporary_files(folder: Path) -> list[Path]:
    """What an unfinished piece of work is called, in the output and the cache."""
    names = (".tmp-*", ".new*", ".rootfs*", ".old*")
    return [found for place in ("bundles", "cache") for name in names for found in (folder / place).rglob(name)]


def check_clean(*runs: Result) -> None:
    """Nothing that looks like a bug, or disturbs a terminal, or goes on and on."""
    for run in runs:
        for stream in (run.stdout, run.stderr):
            assert "Traceback" not in stream
            assert "unexpected" not in stream
        assert all(line.isprintable() and len(line) <= 2000 for line in (run.stdout + run.stderr).splitlines())
