"""What makes a task stale, beside changed files: the `uptodate` checks of doit's tasks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from inspect import Parameter, Signature
from typing import Any

import msgspec

Values = dict[str, Any]

# What doit asks of a check; spelt out, the answer costs less.
_OF_TASK_AND_VALUES = Signature(
    [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("task", "values")], return_annotation=bool
)


class Check:
    """Decides by the values that were saved when the task ran, and explains: `explain` gives the plain reasons for
    the very comparison that `holds` makes."""

    __signature__ = _OF_TASK_AND_VALUES

    def holds(self, values: Values) -> bool:
        """Whether the task is current, as far as this tells. `values` are what was recorded when it last ran."""
        raise NotImplementedError

    def __call__(self, task: Any, values: Values) -> bool:
        return self.holds(values)

    def explain(self, values: Values) -> list[str]:
        """The reasons, in plain words, why it does not hold."""
        raise NotImplementedError


class Inputs(Check):
    """The options, by name, that can change the task's bytes; as one canonical text, which is what is compared."""

    def __init__(self, given: object) -> None:
        """`given` is a mapping, or a msgspec.Struct."""
        self.text = msgspec.json.encode(given, order="sorted").decode()

    def configure_task(self, task: Any) -> None:
        task.value_savers.append(lambda: {"inputs": self.text})

    def holds(self, values: Values) -> bool:
        return bool(values.get("inputs") == self.text)

    def explain(self, values: Values) -> list[str]:
        """`option boot.vmtouch: true -> false`, `layer 3 of 4 replaced: sha256:ab… -> sha256:cd…`."""
        if "inputs" not in values:
            return ["never built"]
        old, new = (dict(_flat("", msgspec.json.decode(text))) for text in (values["inputs"], self.text))
        return [_change(key, old, new) for key in {**old, **new} if old.get(key) != new.get(key)]


class Fails(Check):
    """The task cannot but fail, for the reason that is known: no other counts beside it."""

    def __init__(self, why: str) -> None:
        self.why = why

    def holds(self, values: Values) -> bool:
        return False

    def explain(self, values: Values) -> list[str]:
        return [self.why]


class AnyExists(Check):
    """One of these paths is there, as a folder or file of its own and no link to one."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths

    def holds(self, values: Values) -> bool:
        return any(map(_is_there, self.paths))

    def explain(self, values: Values) -> list[str]:
        gone = f"{' and '.join(self.paths)} {'is' if len(self.paths) == 1 else 'are'} gone"
        return [] if self.holds(values) else [gone]


def _is_there(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Nested options by dotted names; lists of plain values by their position: `layers[2 of 4]`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, item)
    elif prefix == "layers" and isinstance(value, list):
        yield "number of layers", len(value)
        for at, item in enumerate(value, start=1):
            yield f"layer {at} of {len(value)}", item
    else:
        yield prefix, value


def _change(key: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    if key == "output_version":
        return f"tool's output version {old.get(key)} -> {new.get(key)}"
    if key.startswith("layer "):
        if key in old and key in new:
            return f"{key} replaced: {old[key]} -> {new[key]}"
        return f"{key} {'added' if key in new else 'gone'}: {new.get(key) or old.get(key)}"
    before, after = (msgspec.json.encode(values[key]).decode() if key in values else "unset" for values in (old, new))
    return f"option {key}: {before} -> {after}"
