"""What a run has published, and what is to be said of it in the end."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from c2wtasks.bundlefile.model import BundleFile
from c2wtasks.output import record, standing
from c2wtasks.output.places import Places
from c2wtasks.output.record import Record, Sharing
from c2wtasks.tasks.build import Build

if TYPE_CHECKING:
    from c2wtasks.graph.changing import Changing


class Published:
    """By bundle: the digests of the bundle.json that stood `before`, of each that the run was to replace; of those
    that have roots, the bytes and that digest `after` it, their `records`, and what came of `sharing` files.
    `changing` notes what changes, where anything is published."""

    def __init__(self) -> None:
        self.before: dict[str, str] = {}
        self.after: dict[str, tuple[int, str]] = {}
        self.records: dict[str, Record] = {}
        self.sharing: dict[str, Sharing] = {}
        self.changing: Changing | None = None

    def are_to_be(self, builds: Collection[Build], output: str) -> None:
        """Notes what these bundles are to replace, and change."""
        if self.changing is None:
            from c2wtasks.graph.changing import Changing  # most runs publish nothing

            self.changing = Changing(output)
        self.before |= self.changing.begin((str(build.bundle), build.places) for build in builds)

    def now(self, key: str, places: Places) -> tuple[int | None, str]:
        """The bytes of the bundle `key` as it stands, and the digest of its record, if it has taken the place of what
        it was to replace, whether that was noted or a signal came before; else None and ""."""
        if key in self.after:
            return self.after[key]
        if key not in self.before:  # of most bundles of most runs
            return None, ""
        made, digest = record.with_digest(places.record)
        return (made.size, digest) if made is not None and digest != self.before[key] else (None, "")

    def standing(self, file: BundleFile) -> set[str]:
        """The bundles of which `now` tells something."""
        if not self.before:
            return set()
        places = {str(bundle): Places.of(file.output, bundle) for bundle in file.bundles}
        return {key for key in self.before.keys() & places.keys() if self.now(key, places[key])[1]}

    def has_been(self, build: Build) -> None:
        """Notes what a bundle is, for this run and for the next one."""
        key, shares = str(build.bundle), build.bundle.share
        standing.note(build.places, shares=shares)
        published, digest = record.with_digest(build.places.record)
        if published is not None:
            self.records[key] = published
            self.after[key] = published.size, digest
        root = record.read_rootfs(build.places.rootfs_facts_file) if shares else None
        if root is not None and root.sharing is not None:
            self.sharing[key] = root.sharing
