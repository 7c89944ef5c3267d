"""`doit why`: for every stale task the plain reason, with the old and the new value."""

from __future__ import annotations

from c2wtasks.commands.base import OurCommand, stale_tasks
from c2wtasks.commands.options import JSON
from c2wtasks.engine.stale import Stale


class Why(OurCommand):
    """Says why tasks would run. Exit status 0: all is current; 1: something is stale."""

    name = "why"
    doc_purpose = "explain what is stale"
    doc_usage = "[BUNDLE|IMAGE|TASK ...]"
    doc_description = "Exit status 0: all is current. 1: something is stale, and a run would do it."
    cmd_options = (JSON,)

    def _execute(self, as_json: bool) -> int:
        stale, looked_at = stale_tasks(self)
        if as_json:
            self.show_json({"current": not stale, "stale": stale})
        elif not stale:
            self.show([f"all is current ({looked_at} tasks)"])
        else:
            self.show(line for task in stale for line in _lines(task))
        return 1 if stale else 0


def _lines(task: Stale) -> list[str]:
    if task.reasons:
        return [f"{task.title}: {reason}" for reason in task.reasons]
    return [f"{task.title}: if {_some(task.after)} comes out different"]


def _some(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} or another of {len(names)}"
