"""Making again what an audit found wrong: entries of the store from the images' blobs, bundles by their own tasks.

doit's memory is kept true: a layer that is made again comes out as it was recorded; the tasks of a bundle are
forgotten, and run by doit itself. So the next run finds nothing to do.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from c2wtasks.audit import sharers
from c2wtasks.audit.auditor import Auditor, StoreAudit
from c2wtasks.audit.sharers import Damaged
from c2wtasks.audit.threads import each
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.disk import files
from c2wtasks.disk.safely import open_quietly
from c2wtasks.engine.build import build
from c2wtasks.engine.exclusive import alone
from c2wtasks.engine.interrupt import Stopped
from c2wtasks.engine.outcome import reasons as reasons_of
from c2wtasks.engine.report import Report
from c2wtasks.errors import OutputError
from c2wtasks.layers import indexfile
from c2wtasks.layers.tarlimits import ArchiveError
from c2wtasks.oci.digest import Digest
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.sources.model import Layer
from c2wtasks.telling import stages

_OPTIONS = {
    "always": False,
    "auto_delayed_regex": False,
    "continue_": True,
    "failure_verbosity": 0,
    "force_verbosity": False,
    "par_type": "thread",
    "pdb": False,
    "reporter": Report,
    "single": False,
    "verbosity": None,
}


def mend_store(auditor: Auditor, found: StoreAudit) -> dict[str, str]:
    """Mends what `found` has in the store. Gives the reason for each layer (diffID) that it cannot make again.

    A good tar gets a new index. All else that is wrong is removed, and read again from the image it is of; what no
    image of the catalog has is only removed.
    """
    store = auditor.store
    again: dict[Digest, list[Layer]] = {}
    reasons: dict[str, str] = {}
    for diff_id, layer in found.layers.items():
        if not layer.findings:
            continue
        if layer.tar == "good" and _index_again(auditor, diff_id):
            continue
        named = [digest for digest in found.receipts if _names(auditor, digest, diff_id)]
        for path in (*(store.receipt_file(digest) for digest in named), store.index(diff_id), store.tar(diff_id)):
            files.remove_tree(path)
        if copies := auditor.by_diff_id.get(diff_id):
            again[diff_id] = copies
    for digest, findings in found.receipts.items():
        if findings:
            files.remove_tree(store.receipt_file(digest))
            for copy in auditor.copies.get(digest, ()):
                again.setdefault(copy.diff_id, []).append(copy)

    def ensure(job: tuple[Digest, list[Layer]]) -> tuple[Digest, str | None]:
        diff_id, copies = job
        reason = None
        for blob in _by_blob(copies):
            try:
                store.ensure(blob)
            except Exception as error:
                reason = reason or str(as_user_error(error))
        return diff_id, reason

    stages.begin("mending layers", len(again))
    for diff_id, reason in stages.counted(each(ensure, again.items(), auditor.workers)):
        if reason is not None:
            reasons[str(diff_id)] = reason
    return reasons


def _index_again(auditor: Auditor, diff_id: Digest) -> bool:
    """Writes the index of a good tar; says whether the tar could be read. Raises OutputError."""
    path = auditor.store.index(diff_id)
    try:
        with open_quietly(auditor.store.tar(diff_id)) as tar:
            deque(indexfile.pieces_of(tar.fileno()), maxlen=0)
            files.remove_tree(path)
            files.write_pieces(path, indexfile.pieces_of(tar.fileno()), sync=True)
    except (OSError, ArchiveError):
        return False
    return True


def _names(auditor: Auditor, digest: Digest, diff_id: Digest) -> bool:
    receipt = auditor.store.receipt(digest)
    return receipt is not None and receipt.diff_id == str(diff_id)


def _by_blob(copies: Iterable[Layer]) -> Iterator[list[Layer]]:
    """The copies of each blob: a layer may be had as several, compressed in different ways."""
    blobs: dict[str, list[Layer]] = {}
    for copy in copies:
        blob = blobs.setdefault(copy.key, [])
        if copy not in blob:
            blob.append(copy)
    yield from blobs.values()


def mend_bundles(command: Any, auditor: Auditor, bundles: Iterable[Bundle], damaged: Damaged) -> dict[str, str]:
    """Makes bundles again from their images, by running their tasks as if for the first time. Gives the reason for
    each bundle (`name@platform`) that could not be made; what was published of it still stands.

    Nothing that was made before is trusted: what the tasks keep between runs is removed. No root gets one of the
    `damaged` files again.

    Raises OutputError.
    """
    cannot = {str(bundle): str(error) for bundle, error in auditor.catalog.broken}
    cannot |= {str(one.bundle): " / ".join(map(str, missing.values())) for one, missing in auditor.catalog.lacking}
    keys = [str(bundle) for bundle in bundles]
    reasons = {key: cannot[key] for key in keys if key in cannot}  # what is left of these is all there is
    again = [key for key in keys if key not in cannot]
    _fresh_memory(command)
    with alone(command, command.graph_hooks):
        sharers.forget(auditor.catalog.file, damaged)
        for key in again:
            _forget(command, key)
            try:
                files.remove_tree(auditor.builds[key].places.parts)
            except OutputError as error:
                reasons[key] = str(error)
        command.dep_manager.backend.commit()
    again = [key for key in again if key not in reasons]
    if not again:
        return reasons
    _fresh_memory(command)
    command.sel_tasks = [f"bundle:{key}" for key in again]
    options = _OPTIONS | {"outfile": sys.stderr, "num_process": auditor.workers}
    outcome = build(command, command.graph_hooks, options, last=False)  # what was mended is looked at once more
    if outcome.status > 128:
        raise Stopped(outcome.status - 128)
    for key in again:
        if why := outcome.failed.get(f"bundle:{key}"):
            reasons[key] = reasons_of(why)
    _fresh_memory(command)
    return reasons


def _fresh_memory(command: Any) -> None:
    """Makes doit's memory be read anew: another run may have changed it since, and one of ours closes it."""
    before = command.dep_manager
    before.close()
    command.dep_manager = type(before)(before.db_class, before.name, checker_cls=type(before.checker))


def _forget(command: Any, bundle: str) -> None:
    """Makes all tasks of a bundle run again."""
    for task in command.task_list:
        name = task.name.partition(":")[2]
        if name == bundle or name.startswith(f"{bundle}:"):
            command.dep_manager.remove(task.name)
