"""What makes a task stale, beside changed files: the `uptodate` checks of doit's tasks."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from inspect import Parameter, Signature
from typing import Any

import msgspec

from c2wtasks.errors import some_of

Values = dict[str, Any]

_LISTS = ("layers", "blobs")
_DIGESTS = {"image_config": "image config", "manifest": "manifest"}
_HEX = re.compile("[0-9a-f]{64,}")
_DIGITS = 12

# What doit asks of a check; spelt out, the answer costs less.
_OF_TASK_AND_VALUES = Signature(
    [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("task", "values")], return_annotation=bool
)


class Check:
    """One way in which a task may be stale, told by the values that were saved when it ran: `explain` gives the plain
    reasons for the very comparison that `holds` makes."""

    __signature__ = _OF_TASK_AND_VALUES

    def holds(self, values: Values) -> bool:
        """Whether the task is current, as far as this tells. `values` are what was recorded when it last ran."""
        raise NotImplementedError

    def __call__(self, task: Any, values: Values) -> bool:
        return self.holds(values)

    def explain(self, values: Values) -> list[str]:
        """The reasons, in plain words, why it does not hold."""
        raise NotImplementedError

    def paths(self) -> Iterable[str]:
        """The paths that the check looks at: where none of these has changed, it holds if it did before."""
        return ()


class Inputs(Check):
    """The options, by name, that can change the task's bytes; as one canonical text, which is what is compared."""

    def __init__(self, given: object) -> None:
        """`given` is a mapping, or a msgspec.Struct."""
        self.text = msgspec.json.encode(given, order="sorted").decode()

    def configure_task(self, task: Any) -> None:
        """Has the text saved when the task ran: doit calls this when it makes the task."""
        task.value_savers.append(lambda: {"inputs": self.text})

    def holds(self, values: Values) -> bool:
        return bool(values.get("inputs") == self.text)

    def explain(self, values: Values) -> list[str]:
        """The changes: `option boot.vmtouch: true -> false`, `layer 3 of 4 replaced: sha256:ab12 -> sha256:cd34`."""
        if "inputs" not in values:
            return ["never built"]
        old, new = (dict(_flat("", msgspec.json.decode(text))) for text in (values["inputs"], self.text))
        return list(_changes(old, new))


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
        self._paths = paths

    def paths(self) -> Iterable[str]:
        return self._paths

    def holds(self, values: Values) -> bool:
        return any(map(_is_there, self._paths))

    def explain(self, values: Values) -> list[str]:
        gone = f"{' and '.join(self._paths)} {'is' if len(self._paths) == 1 else 'are'} gone"
        return [] if self.holds(values) else [gone]


def _is_there(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values of nested options, by their dotted names."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, item)
    else:
        yield prefix, value


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What differs, in words. Layers are told by what they are: one that has only moved is not named."""
    lists = [[values.pop(key, []) for values in (old, new)] for key in _LISTS]
    (before, after), (blobs_before, blobs_after) = lists
    if before != after:
        yield from _of_list("layer {} of {}", before, after)
    elif blobs_before != blobs_after:  # the same layers, compressed anew
        yield from _of_list("blob of layer {} of {}", blobs_before, blobs_after)
    had, has = (values.pop("bundles", []) for values in (old, new))
    yield from (
        f"{some_of(names)} {what}"
        for names, what in ((_without(has, had), "added"), (_without(had, has), "gone"))
        if names
    )
    for key in {**old, **new}:
        if old.get(key) != new.get(key):
            yield _change(key, old, new)


def _without(names: list[str], others: list[str]) -> list[str]:
    known = set(others)
    return [name for name in names if name not in known]


def _of_list(called: str, old: list[str], new: list[str]) -> Iterator[str]:
    from difflib import SequenceMatcher  # most runs explain nothing

    for _, from_old, to_old, from_new, to_new in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = old[from_old:to_old], new[from_new:to_new]
        if gone == come:
            continue
        both = min(len(gone), len(come))
        for at in range(both):
            number = called.format(from_new + at + 1, len(new))
            yield f"{number} replaced: {_short(gone[at])} -> {_short(come[at])}"
        for at in range(both, len(come)):
            yield f"{called.format(from_new + at + 1, len(new))} added: {_short(come[at])}"
        for at in range(both, len(gone)):
            yield f"{called.format(from_old + at + 1, len(old))} gone: {_short(gone[at])}"


def _short(name: str) -> str:
    """A digest, or the hexadecimal digits of one, with 12 digits; any other name as it is."""
    return _HEX.sub(lambda found: found[0][:_DIGITS], name)


def _change(key: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    if key == "output_version":
        return f"tool's output version {old.get(key)} -> {new.get(key)}"
    if key in _DIGESTS:
        return f"{_DIGESTS[key]} replaced: {_short(old.get(key) or 'none')} -> {_short(new.get(key) or 'none')}"
    before, after = (msgspec.json.encode(values[key]).decode() if key in values else "unset" for values in (old, new))
    return f"option {key}: {before} -> {after}"
