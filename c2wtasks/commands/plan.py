"""`doit plan`: what a run would do, in order, with the sizes of layers and what is shared; it does nothing itself."""

from __future__ import annotations

import msgspec

from c2wtasks.commands.base import FINE, OurCommand, layer_users, stale_tasks
from c2wtasks.commands.options import JSON
from c2wtasks.engine.stale import Stale
from c2wtasks.graph.resolved import Resolved
from c2wtasks.tasks import names, room
from c2wtasks.telling.sizes import human


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One task of a plan. `bytes` and `bundles` are of layers: the blob's size, and who shares it. `fails` is why the
    bundle cannot be made, for all that is known."""

    task: str
    title: str
    certain: bool
    bytes: int | None = None
    bundles: tuple[str, ...] = ()
    fails: str = ""


class Plan(OurCommand):
    """Shows what a run would do. Exit status 0."""

    name = "plan"
    doc_purpose = "show what a run would do, and do nothing"
    doc_usage = "[BUNDLE|IMAGE|TASK ...]"
    doc_description = "Tasks in the order of a run; those marked ? run only if what they need comes out different."
    cmd_options = (JSON,)
    looks_up = "briefly"

    def _execute(self, as_json: bool) -> int:
        graph = self.graph
        stale, _ = stale_tasks(self, self.graph_hooks)
        users = layer_users(graph)
        broken = {names.bundle(bundle): str(error) for bundle, error in graph.broken}
        steps = [_step(graph, task, users, broken) for task in stale]
        to_read = sum(step.bytes or 0 for step in steps)
        to_write = sum(room.to_write(room.jobs(graph.with_rootfs(), {step.task for step in steps}), graph.store))
        if as_json:
            self.show_json({"steps": steps, "bytesToRead": to_read, "bytesToWrite": to_write})
        else:
            self.show(_line(step) for step in steps)
            self.show(
                [
                    f"{len(steps)} task{'s' * (len(steps) != 1)}, {human(to_read)} of layers to read, "
                    f"about {human(to_write)} to write"
                    if steps
                    else "nothing to do"
                ]
            )
        return FINE


def _step(graph: Resolved, task: Stale, users: dict[str, list[str]], broken: dict[str, str]) -> Step:
    family, _, key = task.task.partition(":")
    if family != "layer":
        return Step(task.task, task.title, bool(task.reasons), fails=broken.get(task.task, ""))
    size = graph.layers[key][0].place.size
    return Step(task.task, task.title, bool(task.reasons), size, tuple(users.get(key, ())))


def _line(step: Step) -> str:
    mark = " " if step.certain else "?"
    if step.fails:
        return f"{mark} {step.title} fails: {step.fails}"
    if step.bytes is None:
        return f"{mark} {step.title}"
    shared = f", shared by {len(step.bundles)} bundles" if len(step.bundles) > 1 else ""
    return f"{mark} {step.title}: {human(step.bytes)}{shared}"
