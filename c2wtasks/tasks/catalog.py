"""`catalog`: catalog.json, which lists all bundles with what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

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


def make(file: BundleFile, failed: Mapping[str, str], good: Set[str]) -> None:
    """Brings catalog.json up to date. `failed` maps bundles that failed to the reason, `good` are those that are as
    they should be; of the others it goes on to say what it said.

    Raises OutputError.
    """
    text = listing.update(file.output, file.bundles, failed, frozenset(good), read(file))
    files.write_if_changed(path_of(file), text, sync=True)


def task(file: BundleFile, builds: Iterable[Build], cannot: Iterable[Bundle]) -> Task:
    """`cannot` are the bundles whose tasks fail: the catalog waits for them, to tell of it."""
    bundles = [str(bundle) for bundle in file.bundles]
    return {
        "actions": [(make, [file, {}, frozenset(bundles)])],
        "meta": Meta(product=""),
        "file_dep": [build.places.record for build in builds],
        "task_dep": [names.bundle(bundle) for bundle in cannot],
        "targets": [path_of(file)],
        "uptodate": [Inputs({"bundles": bundles})],
        "clean": True,
    }
