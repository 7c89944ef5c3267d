"""Runs that are killed at any moment: the next one finishes the work and leaves what an undisturbed one would.

The long form is `python -m tests.soak.crashes`.
"""

from __future__ import annotations

import os

import pytest

from tests.soak.crashes import Soak


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Soak:
    made = Soak(tmp_path_factory.mktemp("soak"), seed=30, images=3, layers=4, files=40)
    made.prepare()
    return made


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for the owners in the images")
@pytest.mark.parametrize("number", range(8))
def test_killed_at_random(soak: Soak, number: int) -> None:
    soak.round(number)
