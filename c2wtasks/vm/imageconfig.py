"""image.json: the image config, verbatim unless bundle.yaml overrides what the process runs."""

from __future__ import annotations

from typing import Any

from c2wtasks.bundlefile.model import Process
from c2wtasks.oci import godecode
from c2wtasks.oci.godecode import Object
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
    return gojson.dumps(_changed(top, {"config": _changed(run, changes)}))


def _changed(fields: Object, changes: dict[str, Any]) -> dict[str, Any]:
    """`fields` with `changes` in the place of the keys that Go would take for the same; None removes."""
    folded = {key.casefold(): key for key in changes}
    result: dict[str, Any] = {}
    for key, value in fields:
        name = folded.get(key.casefold(), key)
        value = changes.get(name, value) if name in changes else _plain(value)
        if value is not None or name not in changes:
            result[name] = value
    return result | {key: value for key, value in changes.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Object):
        return {key: _plain(item) for key, item in value}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


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
