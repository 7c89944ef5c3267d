"""`catalog`: catalog.json, which lists all bundles with what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from c2wtasks.bundlefile.model import Bundle, BundleFile
from c2wtasks.disk import files, safely
from c2wtasks.engine.checks import Inputs
from c2wtasks.engine.meta import Meta
from c2wtasks.output import listing
from c2wtasks.tasks import names
from c2wtasks.tasks.build import Build, Task


def path_of(file: BundleFile) -> str:
    """The path of the catalog's own file."""
    return f"{file.output}/{listing.CATALOG}"


def read(file: BundleFile) -> bytes | None:
    """The text of catalog.json; None where there is none, or something else in its place."""
    try:
        return safely.read(path_of(file), listing.MAX_SIZE)
    except OSError:
        return None


def update(file: BundleFile, failed: Mapping[str, str], good: Set[str]) -> bool:
    """Brings catalog.json up to date. `failed` maps bundles that failed to the reason, `good` are those that are as
    they should be; of the others it goes on to say what it said. Says whether it says something else now.

    Raises OutputError.
    """
    text = listing.update(file.output, file.bundles, failed, frozenset(good), read(file))
    return files.write_if_changed(path_of(file), text, sync=True)


def _make(file: BundleFile, good: Set[str]) -> None:
    update(file, {}, good)


class _Names(list[str]):
    """Names of tasks that tell at once whether one is among them: doit asks that for each of thousands."""

    def __init__(self, found: Iterable[str]) -> None:
        super().__init__(found)
        self._known = set(self)

    def append(self, name: str) -> None:
        super().append(name)
        self._known.add(name)

    def __contains__(self, name: object) -> bool:
        return name in self._known


class _Bundles(Inputs):
    """The bundles that are listed."""

    def configure_task(self, task: Any) -> None:
        super().configure_task(task)
        task.task_dep = _Names(task.task_dep)  # which soon has the task of each bundle


def task(file: BundleFile, builds: Iterable[Build], cannot: Iterable[Bundle]) -> Task:
    """The task that writes catalog.json. It waits for the bundles that `cannot` be made, too, to tell of them."""
    bundles = [str(bundle) for bundle in file.bundles]
    return {
        "actions": [(_make, [file, frozenset(bundles)])],
        "meta": Meta(product="", brief=True),
        "file_dep": [build.places.record for build in builds],
        "task_dep": [names.bundle(bundle) for bundle in cannot],
        "targets": [path_of(file)],
        "uptodate": [_Bundles({"bundles": bundles})],
        "clean": True,
    }
