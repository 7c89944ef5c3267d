"""The short form of tests/soak/documents.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.documents import KINDS, Soak

ROUNDS = {"images": 20, "bundle_yaml": 2, "lock": 2, "logins": 4}


@pytest.mark.parametrize("kind", KINDS)
def test_documents_changed_at_random(tmp_path: Path, kind: str) -> None:
    soak = Soak(tmp_path)
    assert sum(soak.round(seed, kind) for seed in range(ROUNDS[kind])) >= 20
