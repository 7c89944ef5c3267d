"""image.json: the image config, verbatim unless bundle.yaml overrides what the process runs."""

from __future__ import annotations

from typing import Any

from c2wtasks.bundlefile.model import Process
from c2wtasks.oci import godecode
from c2wtasks.oci.godecode import Object, fold
from c2wtasks.vm import gojson


def with_overrides(config: bytes, process: Process) -> bytes:
    """The config that init and spec.json shall follow.

    Init takes the arguments from here (Entrypoint + Cmd) and all else from spec.json, so both must say the same:
    whatever `process` overrides is put into the config, and spec.json is made from the result. Overridden
    `args` stand in Cmd with no Entrypoint: arguments given at run time then replace them all. Without
    overrides the text is the image's own, byte for byte.

    Raises ValueError.
    """
    if process.args is None and not process.env and process.cwd is None and process.user is None:
        return config
    top = godecode.load_object(config)
    run = top.object("config")
    changes: dict[str, Any] = {}
    if process.args is not None:
        changes |= {"Entrypoint": None, "Cmd": list(process.args)}
    if process.env:
        changes["Env"] = _environment(run.strings("Env"), process.env)
    if process.cwd is not None:
        changes["WorkingDir"] = process.cwd
    if process.user is not None:
        changes["User"] = process.user
    try:
        return gojson.dumps(_changed(top, {"config": _changed(run, changes)}))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _changed(fields: Object, changes: dict[str, Any]) -> Object:
    """`fields` with `changes` in the place of the keys that Go would take for the same; None removes a key."""
    names = {fold(name): name for name in changes}
    left = dict(changes)
    pairs: list[tuple[str, Any]] = []
    for key, value in fields:
        name = names.get(fold(key))
        if name is None:
            pairs.append((key, value))
        elif name in left:
            pairs.append((name, left.pop(name)))
    pairs += left.items()
    return Object(pair for pair in pairs if pair[1] is not None or pair[0] not in changes)


def _environment(image: tuple[str, ...], overrides: tuple[tuple[str, str | None], ...]) -> list[str]:
    """The image's env with each override in the place of the variable's first value, or at the end."""
    wanted = dict(overrides)
    result: list[str] = []
    placed: set[str] = set()
    for entry in image:
        name = entry.partition("=")[0]
        if name not in wanted:
            result.append(entry)
        elif name not in placed:
            placed.add(name)
            if (value := wanted[name]) is not None:
                result.append(f"{name}={value}")
    return result + [f"{name}={value}" for name, value in overrides if name not in placed and value is not None]
