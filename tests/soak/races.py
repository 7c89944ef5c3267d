"""The races with an attacker's process that the suite runs in 200 rounds, in 10,000 each.

python -m tests.soak.races [ROUNDS]
"""

from __future__ import annotations

import os
import sys

import pytest

RACES = ("tests/disk/test_safely.py", "tests/graph/test_cache_races.py", "tests/engine/test_output_races.py")


def main(arguments: list[str]) -> int:
    os.environ["C2WTASKS_RACE_ROUNDS"] = arguments[0] if arguments else "10000"
    return int(pytest.main(["-q", "-k", "attack or races", *RACES]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
