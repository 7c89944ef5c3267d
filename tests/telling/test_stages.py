"""What a run is at is told to who asks, and costs nothing where nobody does."""

from __future__ import annotations

import pytest

from c2wtasks.telling import stages


def test_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_now", None)
    monkeypatch.setattr(stages, "_follow", None)
    stages.passed()
    called: list[str] = []
    stages.follow(lambda: called.append(str(stages.now())))
    stages.begin("reading")
    stages.begin("looking", 3)
    assert called == ["reading"]
    things = stages.counted("ab")
    next(things)
    assert str(stages.now()) == "looking: 0 of 3"
    next(things)
    assert str(stages.now()) == "looking: 1 of 3"
    with stages.meanwhile("planning"):
        assert str(stages.now()) == "planning"
    stages.passed(5)  # there were more than had been thought
    assert str(stages.now()) == "looking"
