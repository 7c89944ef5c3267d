"""`doit remote`: what is in the remote cache, what may go, and whether it is true."""

from __future__ import annotations

import tempfile
from collections import Counter
from typing import Any

from doit.exceptions import InvalidCommand

from c2wtasks.commands.base import FINE, NOT_FINE, OurCommand
from c2wtasks.commands.options import DRY_RUN
from c2wtasks.errors import UserError, one_line
from c2wtasks.telling.sizes import human

_KEEP = {"name": "keep", "long": "keep", "type": int, "default": 30, "help": "gc: for how many days results are kept"}
_SAMPLE = {"name": "sample", "long": "sample", "type": int, "default": 5, "help": "audit: percent of the bundles"}


class Remote(OurCommand):
    """Looks after the remote cache."""

    name = "remote"
    doc_purpose = "tell what is in the remote cache, remove what is old, or make again and compare"
    doc_usage = "stat | gc [--keep DAYS] | audit [--sample PERCENT]"
    doc_description = (
        "`stat` tells what of it is believed, and whether this machine writes to it. `gc` removes results that were "
        "made more than --keep days ago, and what no result names; whoever needs them makes them anew. In a registry "
        "it removes the tags; its own collector removes the rest. `audit` makes some bundles again, apart from all "
        "else, and compares with what is claimed. Exit status 0: done. 1: the cache fails, or something is not as "
        "claimed. 3: wrong command line."
    )
    cmd_options = (_KEEP, _SAMPLE, DRY_RUN)
    of_all_shards = True

    def _execute(self, keep: int, sample: int, dry_run: bool) -> int:
        from c2wtasks.graph.remotecache import remote_of

        graph = self.graph
        words: list[str] = list(self.sel_tasks or ()) if not self.sel_default_tasks else []
        acts: dict[str, Any] = {"stat": self._stat, "gc": self._gc, "audit": self._audit}
        if len(words) != 1 or words[0] not in acts:
            said = f"'{one_line(' '.join(words))}': " if words else ""
            raise InvalidCommand(f"{said}write: remote stat, remote gc, or remote audit")
        if keep < 1 or not 1 <= sample <= 100:
            raise InvalidCommand("--keep is a number of days from 1 on, --sample one from 1 to 100")
        remote = remote_of(graph.file, graph.options)
        if remote is None:
            raise UserError("no remote cache is to be asked: bundle.yaml names none, or the run is offline")
        return int(acts[words[0]](remote, keep=keep, sample=sample, dry_run=dry_run))

    def _stat(self, remote: Any, **_: Any) -> int:
        from c2wtasks.graph.sharing import told
        from c2wtasks.remote.session import Session
        from c2wtasks.remote.uploading import SIGNING_KEY, may_sign

        session = Session(remote)
        believed, refused = Counter[str](), Counter[str]()
        size = 0
        for kind, key in session.listed():
            claim = session.find(kind, key)
            (believed if claim else refused)[kind] += 1
            size += sum(output.size for output in claim.outputs) if claim else 0
        writes = "yes" if remote.cache.write and may_sign() else "no"
        why = "" if writes == "yes" else f" ({SIGNING_KEY} is not set)" if remote.cache.write else " (write: false)"
        self.show(
            [
                f"{remote.cache.url}: scopes read: {', '.join(sorted(remote.scopes))}; written: {writes}{why}",
                f"believed: {_counts(believed)}, {human(size)}; not believed: {_counts(refused)}",
                *told(session.journal.since()[0], remote),
            ]
        )
        return NOT_FINE if session.journal.is_off else FINE

    def _gc(self, remote: Any, *, keep: int, dry_run: bool, **_: Any) -> int:
        from c2wtasks.remote import upkeep
        from c2wtasks.remote.transport import RemoteFailure
        from c2wtasks.remote.uploading import PATIENT

        try:
            to = remote.reached(PATIENT)
            found = upkeep.collect(to, keep)
            if not dry_run:
                upkeep.carry_out(to, found)
        except RemoteFailure as error:
            raise UserError(f"remote cache {remote.cache.url}: {error.reason}") from error
        verb = "would remove" if dry_run else "removed"
        freed = sum(max(0, kept.size) for kept in found.remove)
        blobs = sum(kept.name is None for kept in found.remove)
        results = len(found.remove) - blobs
        self.show([f"{verb} {results} results and {blobs} blobs, {human(freed)}; {found.stay} results stay"])
        return FINE

    def _audit(self, remote: Any, *, sample: int, **_: Any) -> int:
        from c2wtasks.audit import recomputing

        session = recomputing.Comparing(remote)
        builds = recomputing.sampled(self.graph.with_rootfs(), sample, 0)
        max_layer_size = self.graph.file.max_layer_size
        with tempfile.TemporaryDirectory(prefix="c2wtasks-") as folder:
            for name in recomputing.recompute(builds, session, folder, max_layer_size):
                self.show([f"making {name} again"])
        self.show(session.wrong)
        for event in session.journal.since()[0]:
            if event.what == "off":
                raise UserError(f"remote cache {remote.cache.url}: {event.why}")
        wrong = f", {len(session.wrong)} not as claimed" if session.wrong else ", all as claimed"
        self.show([f"{len(builds)} bundles made again, {session.compared} results compared{wrong}"])
        return NOT_FINE if session.wrong else FINE


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(found.items())) or "none"
