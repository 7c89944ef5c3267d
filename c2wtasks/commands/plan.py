"""`doit plan`: what a run would do, in order, with the sizes of layers and what is shared; it does nothing itself."""

from __future__ import annotations

import msgspec

from c2wtasks.commands.base import FINE, OurCommand, stale_tasks
from c2wtasks.commands.options import JSON
from c2wtasks.engine.stale import Stale
from c2wtasks.graph.resolved import Resolved
from c2wtasks.sizes import human


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One task of a plan. `bytes` and `bundles` are of layers: the blob's size, and who shares it."""

    task: str
    title: str
    certain: bool
    bytes: int | None = None
    bundles: tuple[str, ...] = ()


class Plan(OurCommand):
    """Shows what a run would do. Exit status 0."""

    name = "plan"
    doc_purpose = "show what a run would do, and do nothing"
    doc_usage = "[BUNDLE|IMAGE|TASK ...]"
    doc_description = "Tasks in the order of a run; those marked ? run only if what they need comes out different."
    cmd_options = (JSON,)

    def _execute(self, as_json: bool) -> int:
        graph = self.graph
        stale, _ = stale_tasks(self)
        users = _users(graph)
        steps = [_step(graph, task, users) for task in stale]
        to_read = sum(step.bytes or 0 for step in steps)
        if as_json:
            self.show_json({"steps": steps, "bytesToRead": to_read})
        else:
            self.show(_line(step) for step in steps)
            self.show(
                [
                    f"{len(steps)} task{'s' * (len(steps) != 1)}, {human(to_read)} of layers to read"
                    if steps
                    else "nothing to do"
                ]
            )
        return FINE


def _users(graph: Resolved) -> dict[str, list[str]]:
    """The bundles that need each layer, by the layer's key."""
    users: dict[str, list[str]] = {}
    for build in graph.buildable:
        for key in dict.fromkeys(layer.key for layer in build.image.layers if build.has_rootfs):
            users.setdefault(key, []).append(str(build.bundle))
    return users


def _step(graph: Resolved, task: Stale, users: dict[str, list[str]]) -> Step:
    family, _, key = task.task.partition(":")
    if family != "layer":
        return Step(task.task, task.title, bool(task.reasons))
    size = graph.layers[key][0].place.size
    return Step(task.task, task.title, bool(task.reasons), size, tuple(users.get(key, ())))


def _line(step: Step) -> str:
    mark = " " if step.certain else "?"
    if step.bytes is None:
        return f"{mark} {step.title}"
    shared = f", shared by {len(step.bundles)} bundles" if len(step.bundles) > 1 else ""
    return f"{mark} {step.title}: {human(step.bytes)}{shared}"
