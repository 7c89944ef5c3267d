"""The steps of a bundle from one night to another: as runs have noted them, and where one of these was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from c2wtasks.changes import stored
from c2wtasks.changes.model import Change, FieldChange
from c2wtasks.graph.nights import Nights, shown
from c2wtasks.output import history
from c2wtasks.output.changelog import Log
from c2wtasks.output.history import BundleRun, Run

WEB = "web@linux/amd64"
LONG_AGO = "2000-01-01T00:00:00.000Z"


def step(before: str, after: str) -> Change:
    """A change of one option, whose value is the name of the bundle.json."""
    value = FieldChange("options", ("x",), before or None, after)
    return Change(bundle=WEB, before=before, after=after, size=(1, 1), layers=(("a",), ("a",)), fields=(value,))


def note(output: str, day: int, *steps: Change) -> None:
    log = Log(output)
    log.append(stored.encode_changes(steps))
    log.close(f"202611{day:02}T120000.000Z")


def ran(output: str, day: int, before: str, after: str) -> None:
    line = BundleRun(WEB, "built", before=before, after=after)
    history.note(output, Run(1, f"2026-11-{day:02}T12:00:00.000Z", 1.0, 0, "", "", "", bundles=(line,)), 100)


def since(output: str, now: str, moment: str = LONG_AGO) -> Change | None:
    return Nights(output).since(moment, {WEB: now}).get(WEB)


def value(change: Change | None) -> tuple[object, object]:
    assert change is not None
    (field,) = change.fields
    return field.old, field.new


@pytest.fixture
def output(tmp_path: Path) -> str:
    return f"{tmp_path}/bundles"


def test_steps_are_one_change(output: str) -> None:
    for day, (before, after) in enumerate(("ab", "bc", "cd"), start=1):
        note(output, day, step(before, after))
        ran(output, day, before, after)
    assert value(since(output, "d")) == ("a", "d")
    assert value(since(output, "d", "2026-11-02T12:00:00.000Z")) == ("c", "d")
    assert since(output, "d", "2026-11-03T12:00:00.000Z") is None
    known = Nights(output).between(WEB, "a", "c")
    assert value(known) == ("a", "c")
    assert Nights(output).between(WEB, "c", "a") is None


def test_a_run_that_was_killed_has_no_record_and_is_known_all_the_same(output: str) -> None:
    note(output, 1, step("a", "b"))
    note(output, 2, step("b", "c"))
    ran(output, 2, "b", "c")
    assert value(since(output, "c")) == ("a", "c")


@pytest.mark.parametrize("day", [1, 2], ids=["in one run", "in two"])
def test_what_was_noted_and_then_not_published_is_left_out(output: str, day: int) -> None:
    if day == 1:
        note(output, 1, step("a", "never"), step("a", "b"))
    else:
        note(output, 1, step("a", "never"))
        note(output, 2, step("a", "b"))
    assert value(since(output, "b")) == ("a", "b")
    note(output, 3, step("b", "nor this"))
    assert value(since(output, "b")) == ("a", "b")
    assert since(output, "a") is None


def test_a_step_that_is_lost_is_told(output: str) -> None:
    note(output, 1, step("a", "b"))
    ran(output, 2, "b", "c")
    note(output, 3, step("c", "d"))
    found = since(output, "d")
    assert found is not None and (found.before, found.after, found.files) == ("a", "d", None)
    assert found.unknown == (f"what the run of {shown('2026-11-02T12:00:00.000Z')} changed is not known any more",)
    elsewhere = since(output, "z")
    assert elsewhere is not None and "not all that changed is noted" in elsewhere.unknown
    assert elsewhere.size == (1, 1) and elsewhere.layers == (("a",), ("a",))


def test_removed_and_built_anew(output: str) -> None:
    note(output, 1, step("", "a"))
    note(output, 2, step("", "b"))
    found = since(output, "b", "2026-11-01T12:00:00.000Z")
    assert found is not None and found.is_new
    found = since(output, "b")
    assert found is not None and found.is_new and not found.fields
    assert since(output, "") is None  # neither then nor now
    ran(output, 1, "", "a")
    gone = since(output, "", "2026-11-01T12:00:00.000Z")
    assert gone is not None and gone.is_gone
