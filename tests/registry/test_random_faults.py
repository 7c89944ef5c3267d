"""The short form of tests/soak/registry.py."""

from __future__ import annotations

from pathlib import Path

from tests.soak.registry import soak


def test_pulls_under_random_faults(tmp_path: Path) -> None:
    with soak(tmp_path) as made:
        for seed in range(20):
            made.round(seed)
