"""How much of a run's bytes are done, and how long the rest takes."""

from __future__ import annotations

from c2wtasks.engine.work import Amount, Work
from c2wtasks.telling.progress import Progress


def test_bytes_rate_and_time_left() -> None:
    work = Work()
    work.bytes.update({"layer": 100, "root": 300, "other": 600})
    assert work.amount(0.0, [], {}) == Amount(0, 1000, None, None)
    reading = {"layer": Progress("reading", 25, 50, 25)}
    assert work.amount(1.0, [], reading) == Amount(50, 1000, None, None)  # too soon to tell
    assert work.amount(5.0, ["layer"], {}) == Amount(100, 1000, 20.0, 45.0)
    writing = {"root": Progress("writing", 4_000, 2_000, 4_000)}  # more than was thought counts as all
    assert work.amount(10.0, ["layer"], writing) == Amount(400, 1000, 40.0, 15.0)
    syncing = {"other": Progress("syncing", 0, 0, 2_000), "unknown": Progress("writing", 1, 2, 1)}
    assert work.amount(12.0, ["layer", "root"], syncing).left == 0.0


def test_no_rate_where_nothing_moves() -> None:
    work = Work()
    work.bytes["layer"] = 100
    for second in range(60):
        amount = work.amount(float(second), [], {"layer": Progress("reading", 0, 100, 0)})
    assert amount == Amount(0, 100, None, None)
