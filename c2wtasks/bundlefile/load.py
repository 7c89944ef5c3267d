"""`bundle.yaml` -> BundleFile: the way in to this package."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from c2wtasks.bundlefile.check import Settings
from c2wtasks.bundlefile.engine import Engine
from c2wtasks.bundlefile.expand import bundles_of
from c2wtasks.bundlefile.model import Bundle, BundleFile
from c2wtasks.bundlefile.position import Position
from c2wtasks.bundlefile.problems import Placed, Problems
from c2wtasks.bundlefile.read import read_all
from c2wtasks.disk.abilities import ignores_case
from c2wtasks.oci.platform import Platform
from c2wtasks.process import collector

T = TypeVar("T")
CACHE_VARIABLE = "C2WTASKS_CACHE"
OUTPUT_VARIABLE = "C2WTASKS_OUTPUT"


@collector.paused()
def load(path: str, environ: Mapping[str, str] = os.environ) -> BundleFile:
    """Reads `path` and all that it includes.

    `C2WTASKS_CACHE` and `C2WTASKS_OUTPUT` in `environ`, when they are not empty, take the places of `cache` and
    `output`.

    Raises BundleFileError, with all mistakes of all files.
    """
    report = Problems()
    files = read_all(path, report)
    # the VM runs Linux, whatever this machine does
    own = replace(Platform.own(), os="linux")
    bundles = bundles_of(
        ((image, file.defaults, file.folder) for file in files for image in file.images), own, report
    )
    settings = files[0].settings if files and files[0].path == path else {}
    output, cache = _folders(path, settings, environ, report)
    _reject_twins(bundles, os.path.join(os.path.dirname(path), output), output, report)
    report.raise_if_any()

    empty: Settings = {}

    def value(key: str, default: T) -> T:
        found: T = settings[key].value if key in settings else default
        return found

    return BundleFile(
        bundles=bundles,
        output=output,
        cache=cache,
        cache_max_size=value("cache_max_size", None),
        max_layer_size=value("max_layer_size", None),
        workers=value("workers", 0),
        keep_runs=value("keep_runs", 0),
        files=tuple(file.path for file in files),
        includes=tuple(pattern for file in files for pattern in file.includes),
        registries=value("registries", ()),
        keep_blobs=value("keep_blobs", False),
        lock_all=value("lock", "remote") == "all",
        strict=value("strict", False),
        cache_shared=value("cache_trust", "own") == "group",
        name=value("name", ""),
        engine=Engine(**{key: given.value for key, given in value("engine", empty).items()}),
        remote_cache=value("remote_cache", None),
    )


def _folders(path: str, settings: Settings, environ: Mapping[str, str], report: Problems) -> tuple[str, str]:
    """Output and cache, relative to the main file's folder. Reported: places that would endanger other files."""

    def named(key: str, variable: str, text: str, default: str) -> tuple[str, Placed, str]:
        if text:
            return os.path.normpath(text), Position(path, 1, 1), variable
        given = settings.get(key)
        return (
            (default, Position(path, 1, 1), key)
            if given is None
            else (os.path.normpath(given.value), given.node, key)
        )

    output, output_at, output_key = named("output", OUTPUT_VARIABLE, environ.get(OUTPUT_VARIABLE, ""), "bundles")
    cache, cache_at, cache_key = named("cache", CACHE_VARIABLE, environ.get(CACHE_VARIABLE, ""), "cache")
    base = os.path.dirname(path)
    home, out, store = (os.path.realpath(os.path.join(base, folder)) for folder in ("", output, cache))
    if _holds(out, home):
        report.add(output_at, output_key, f"'{output}' holds the bundle file itself", "name a folder of its own")
    elif _holds(store, home):
        report.add(cache_at, cache_key, f"'{cache}' holds the bundle file itself", "name a folder of its own")
    elif _holds(out, store):
        report.add(cache_at, cache_key, f"'{cache}' is the output '{output}', or inside it", "name another folder")
    elif _holds(store, out):
        report.add(output_at, output_key, f"'{output}' is inside the cache '{cache}'", "name another folder")
    return output, cache


def _reject_twins(bundles: Iterable[Bundle], folder: str, output: str, report: Problems) -> None:
    """Reports images whose names differ in case alone, where the file system of `folder` takes them for one."""
    images = {bundle.name: bundle.position for bundle in bundles}
    if len(images) == len(set(map(str.casefold, images))):  # as a rule
        return
    first: dict[str, str] = {}
    twins = []
    for name in sorted(images, key=lambda name: (images[name].file, images[name].line, images[name].column)):
        twin = first.setdefault(name.casefold(), name)
        if twin != name:
            twins.append((name, twin))
    if ignores_case(folder):
        for name, twin in twins:
            report.add(
                images[name],
                f"images.{name}",
                f"'{name}' and '{twin}' ({images[twin]}) differ in case alone, and are one folder in '{output}'",
                "rename one of them, or name an 'output' on a file system that tells cases apart",
            )


def _holds(folder: str, path: str) -> bool:
    """Whether `path` is `folder` or below it; both are absolute and normal."""
    return os.path.commonpath((folder, path)) == folder
