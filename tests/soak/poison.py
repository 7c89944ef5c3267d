"""A remote cache to which an attacker, a bad disk or a collector of garbage does one thing in each round.

python -m tests.soak.poison --rounds 2000 --seed 1
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from c2wtasks.remote import session
from tests.remote.poison import rounds
from tests.remote.sharing import Shop


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    session._WORTH_SECONDS, session._WORTH_RATE = 0, float("inf")
    with tempfile.TemporaryDirectory() as folder:
        print(rounds(Shop(Path(folder)), given.rounds, given.seed))


if __name__ == "__main__":
    main()
