"""`doit verify`: all of the store and every published bundle, held to the last bit against what it should be."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from doit.exceptions import InvalidCommand

from c2wtasks.audit import notes
from c2wtasks.audit.auditor import Auditor, StoreAudit
from c2wtasks.audit.finding import Finding
from c2wtasks.audit.repair import mend_bundles, mend_store
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.commands.base import FINE, NOT_FINE, OurCommand, chosen
from c2wtasks.commands.options import JSON
from c2wtasks.disk.safely import Identity
from c2wtasks.engine.exclusive import alone
from c2wtasks.graph.resolved import Resolved
from c2wtasks.output.places import ROOTFS
from c2wtasks.process.runoptions import LooksUp, RunOptions
from c2wtasks.sources.locked import NotAsLocked
from c2wtasks.telling.notices import tell
from c2wtasks.telling.sizes import counted

_TOLD_ALONE = 3  # files that could not be compared, for one reason
_REPAIR = {
    "name": "repair",
    "long": "repair",
    "type": bool,
    "default": False,
    "help": "make again from the images what is not as it should be",
}
_WORKERS = {
    "name": "workers",
    "short": "n",
    "long": "process",
    "type": int,
    "default": 0,
    "help": "how much to look at at a time; 0 is as many as there are processors",
}


class Deviation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A finding in `of`: a bundle (`name@platform`), a layer (its diffID), a receipt (`receipt` and the blob's
    digest), a `document` or `blob` (and its digest), `changes` (and a file's name) or the `memo`. `mended` only with
    --repair."""

    of: str
    path: str
    what: str
    want: str
    have: str
    mended: bool | None = None


class NotMended(msgspec.Struct, frozen=True):
    """What still deviates after mending (`of` as in Deviation), and why."""

    of: str
    reason: str


class VerifyReport(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What --json prints. `unread` are paths whose content could not be looked at, each with the reason."""

    layers: int
    receipts: int
    bundles: int
    deviations: list[Deviation]
    not_mended: list[NotMended]
    unread: list[str]


@dataclass(slots=True)
class _Found:
    """The deviations by what they are of, and what was looked at."""

    layers: int = 0
    receipts: int = 0
    bundles: int = 0
    deviations: dict[str, list[Finding]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    left: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def is_mended(self, of: str, finding: Finding) -> bool:
        return (finding.path, finding.what) not in self.left.get(of, ())


class Verify(OurCommand):
    """Names all that is not as it should be, and with --repair mends it."""

    name = "verify"
    doc_purpose = "check the layer store and the published bundles, bit by bit"
    doc_usage = "[BUNDLE|IMAGE ...]"
    doc_description = (
        "Without names: all layers in the store, and all bundles. With names: these bundles and their layers. "
        "Exit status 0: all is as it should be, or was mended. 1: something is not. 3: wrong command line."
    )
    cmd_options = (_REPAIR, _WORKERS, JSON)

    def only_looks(self, params: Any) -> bool:
        return not params["repair"]

    def run_options(self, params: Any) -> RunOptions:
        looks_up: LooksUp = "patiently" if params["repair"] else "briefly"
        return replace(super().run_options(params), afresh=True, looks_up=looks_up)

    def _execute(self, repair: bool, workers: int, as_json: bool) -> int:
        self.began = time.monotonic()
        graph = self.graph
        if workers < 0:
            raise InvalidCommand(f"-n {workers}: the number cannot be negative")
        bundles = list(graph.file.bundles) if self.sel_default_tasks else chosen(self.graph_hooks, self.sel_tasks)
        auditor = Auditor(self, graph, workers or len(os.sched_getaffinity(0)), repairs=repair)
        diff_ids, digests = auditor.whole_store() if self.sel_default_tasks else auditor.store_of(bundles)
        self._quiet = as_json
        found = _Found(len(diff_ids), len(digests), len(bundles))
        self._add(found, {"memo": auditor.check_memo()})  # written anew, when it was loaded, if this is to mend
        fetched = auditor.fetched.check(auditor.workers)
        self._add(found, fetched)
        if repair and fetched:
            auditor.fetched.mend(fetched)
            self._left(found, auditor.fetched.check(auditor.workers))
        if self.sel_default_tasks:
            self._history(found, repair)
        store = auditor.check_store(diff_ids, digests)
        self._add(found, _by_subject(store))
        if repair and store.findings:
            found.reasons |= mend_store(auditor, store)
            self._left(found, _by_subject(auditor.check_store(store.bad_layers, store.bad_receipts)))
        self._broken(found, graph, bundles)
        bad, damaged = self._bundles(found, auditor, bundles)
        if repair:
            bad += [bundle for bundle in auditor.misremembered(bundles) if bundle not in bad]
        if repair and bad:
            found.reasons |= mend_bundles(self, auditor, bad, damaged)
            self._left(found, {str(bundle): result.findings for bundle, result in auditor.check_bundles(bad)})
        return self._report(found, repair)

    def _history(self, found: _Found, repair: bool) -> None:
        """Tells of what runs have noted, and cannot be read."""
        output = self.graph.file.output
        noted = notes.check(output)
        self._add(found, noted)
        if repair and noted:
            with alone(self, self.graph_hooks):
                notes.mend(output)
            self._left(found, notes.check(output))

    def _broken(self, found: _Found, graph: Resolved, bundles: Iterable[Bundle]) -> None:
        """Tells of the bundles whose image cannot be read, and of those of which the lock says something else than
        their image does: that is for the user to mend."""
        chosen = set(bundles)
        for bundle, error in graph.broken:
            if bundle in chosen and isinstance(error, NotAsLocked):
                wrong = {str(bundle): [Finding(graph.lock.path, "image", "as the image is", error.message)]}
                self._add(found, wrong)
                self._left(found, wrong)
                found.reasons[str(bundle)] = str(error)
            elif bundle in chosen:
                found.unread.append(f"{bundle}: {error}")

    def _bundles(
        self, found: _Found, auditor: Auditor, bundles: Iterable[Bundle]
    ) -> tuple[list[Bundle], dict[Identity, list[Finding]]]:
        """Tells of the bundles that are not as they should be, and gives them, with the damaged files that have more
        names. Bundles that were not asked for are among them where their roots have such a file, too."""
        bad: list[Bundle] = []
        damaged: dict[Identity, list[Finding]] = {}
        for bundle, result in auditor.check_bundles(bundles):
            self._add(found, {str(bundle): result.findings})
            found.unread += result.unread
            damaged |= result.linked
            if result.findings:
                bad.append(bundle)
        asked = set(bundles)
        others = (bundle for bundle in auditor.catalog.file.bundles if bundle not in asked)
        for bundle, findings in auditor.sharers(damaged, others):
            self._add(found, {str(bundle): findings})
            bad.append(bundle)
        return bad, damaged

    def _add(self, found: _Found, deviations: dict[str, list[Finding]]) -> None:
        for of, findings in deviations.items():
            if findings:
                found.deviations.setdefault(of, []).extend(findings)
                if not self._quiet:
                    self.show(map(str, findings))

    @staticmethod
    def _left(found: _Found, deviations: dict[str, list[Finding]]) -> None:
        """Notes what is still wrong after mending."""
        for of, findings in deviations.items():
            found.left.setdefault(of, set()).update((finding.path, finding.what) for finding in findings)

    def _report(self, found: _Found, repair: bool) -> int:
        deviations = [
            Deviation(
                of,
                finding.path,
                finding.what,
                finding.want,
                finding.have,
                found.is_mended(of, finding) if repair else None,
            )
            for of, findings in found.deviations.items()
            for finding in findings
        ]
        stuck = [of for of in dict.fromkeys((*found.deviations, *found.reasons)) if found.left.get(of)]
        stuck += [of for of in found.reasons if of not in stuck]
        not_mended = [NotMended(of, found.reasons.get(of, "it came out the same")) for of in stuck if repair]
        fine = not not_mended if repair else not deviations
        report = VerifyReport(
            layers=found.layers,
            receipts=found.receipts,
            bundles=found.bundles,
            deviations=deviations,
            not_mended=not_mended,
            unread=found.unread,
        )
        if self._quiet:
            self.show_json(report)
        else:
            tell(*(f"not compared: {line}" for line in _briefly(found.unread)))
            self.show(_summary(report, found.deviations, repair))
        return FINE if fine else NOT_FINE


def _briefly(unread: Iterable[str]) -> Iterator[str]:
    """Of many files of a root that have one reason, the first and how many more. Pure."""
    alike: dict[tuple[str, str], list[str]] = {}
    for line in unread:
        path, _, reason = line.partition(": ")
        alike.setdefault((path.partition(f"/{ROOTFS}/")[0], reason), []).append(path)
    for (_, reason), paths in alike.items():
        told = paths if len(paths) <= _TOLD_ALONE else [f"{paths[0]} and {len(paths) - 1} more"]
        yield from (f"{path}: {reason}" for path in told)


def _by_subject(store: StoreAudit) -> dict[str, list[Finding]]:
    found = {str(diff_id): list(layer.findings) for diff_id, layer in store.layers.items()}
    return found | {f"receipt {digest}": list(findings) for digest, findings in store.receipts.items()}


def _summary(report: VerifyReport, of: Iterable[str], repair: bool) -> list[str]:
    lines = []
    if repair:
        stuck = {line.of for line in report.not_mended}
        lines += [f"mended: {name}" for name in of if name not in stuck]
        lines += [f"not mended: {line.of}: {line.reason}" for line in report.not_mended]
    lines.append(
        f"{counted(report.layers, 'layer')}, {counted(report.receipts, 'receipt')} and "
        f"{counted(report.bundles, 'bundle')} checked: {counted(len(report.deviations), 'deviation')}"
    )
    return lines
