"""What makes tasks stale beside their options: the published folder of a bundle, and the rights of its builder."""

from __future__ import annotations

from typing import Any

import msgspec

from c2wtasks.engine.checks import Check, Values
from c2wtasks.output import record
from c2wtasks.output.record import WrittenRootfs
from c2wtasks.output.standing import identity
from c2wtasks.rootfs.rights import LeftOut, builder


class Published(Check):
    """The published folder is the one that the task left, with nothing put in or taken out."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def configure_task(self, task: Any) -> None:
        task.value_savers.append(lambda: {"published": identity(self.folder)})

    def holds(self, values: Values) -> bool:
        return bool(values.get("published")) and values["published"] == identity(self.folder)

    def explain(self, values: Values) -> list[str]:
        if not values.get("published"):
            return ["never published"]
        state = identity(self.folder)
        if state == values["published"]:
            return []
        return [f"{self.folder} {'was replaced, or something was put in or taken out' if state else 'is gone'}"]


class Rights(Check):
    """Whoever wrote the root had all the rights that it takes, or as many as there are now. One who has less leaves a
    better root alone."""

    def __init__(self, facts_file: str) -> None:
        self.facts_file = facts_file
        self.root: WrittenRootfs | None = None  # where it lacks something

    @property
    def left_out(self) -> LeftOut | None:
        """What the root lacks, as far as it was looked at."""
        return self.root.facts.left_out if self.root is not None else None

    def configure_task(self, task: Any) -> None:
        task.value_savers.append(self._saved)

    def _saved(self) -> Values:
        root = record.read_rootfs(self.facts_file)
        self.root = root if root is not None and (root.facts.left_out or root.facts.ids) else None
        return {"root": msgspec.to_builtins(self.root)}

    def holds(self, values: Values) -> bool:
        saved = values.get("root")
        self.root = msgspec.convert(saved, WrittenRootfs) if saved else None
        return self.root is None or not self.root.may_be_improved

    def explain(self, values: Values) -> list[str]:
        if self.holds(values) or self.root is None:
            return []
        if gained := builder().gained(self.root.builder):
            return [f"it was written without the rights {', '.join(gained)}"]
        return ["its owners are those of another user namespace"]
