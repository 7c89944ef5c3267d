"""What a run that finds all current looks at, beside what its tasks do."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator

from c2wtasks.cachedir import identity, layout
from c2wtasks.engine.settled import LookedAt
from c2wtasks.graph.resolved import Resolved


def looked_at(graph: Resolved) -> LookedAt | None:
    """What was looked at to load the graph and to say the last lines; None where the next run is to look at more: at
    the size of the cache, or whether the memo can be written now."""
    file = graph.file
    if file.cache_max_size is not None or graph.memo.unsaved is not None:
        return None
    found = LookedAt(file.output)
    for path in (*file.files, graph.lock.path, identity.path_of(graph.folder), *graph.memo.looked_at()):
        found.file(path)
    found.listed.update(folder for root, pattern in file.includes for folder in _globbed(root, pattern))
    for tool in {form.type.tool for build in graph.builds for form in build.bundle.file_forms} - {""}:
        found.file(shutil.which(tool) or tool)
    found.access.add(graph.folder or ".")
    found.listed.add(file.output)
    for folder in (f"{cache}/{name}" for cache in {file.cache, graph.cache_named} for name in (".", *layout.FOLDERS)):
        (found.access if os.path.lexists(folder) else found.absent).add(folder)
    return found


def _globbed(root: str, pattern: str) -> Iterator[str]:
    """The folders whose names decide what a pattern matches."""
    parts = pattern.split("/")
    for at, part in enumerate(parts):
        if glob.has_magic(part):
            above = "/".join(parts[:at])
            found = glob.glob(above, root_dir=root or ".") if above else [""]
            yield from (os.path.join(root, folder) or "." for folder in found)
