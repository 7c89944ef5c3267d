"""What bundles change that are brought from shards: as these have noted it, or by both trees, which are at hand."""

from __future__ import annotations

from itertools import islice

from c2wtasks.changes import records
from c2wtasks.changes.model import Change, Details
from c2wtasks.disk import safely
from c2wtasks.errors import OutputError
from c2wtasks.graph import nights
from c2wtasks.layers.store import Store
from c2wtasks.output import record
from c2wtasks.output.places import PACKAGES, Places
from c2wtasks.tasks import changed
from c2wtasks.tree import treefile

_RUNS = 5  # the last ones of a shard, of which what they noted is looked up


class Brought:
    """What the shards have noted of their last runs, read once each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: dict[str, dict[tuple[str, str, str], Change]] = {}

    def note(self, bundle: str, folder: str, there: Places, here: Places) -> None:
        """Notes what changes in the root when the bundle at `there`, in the output `folder` of a shard, takes the
        place of the one that stands `here`. Where that cannot be told, what is noted of the bundle says so."""
        try:
            texts = safely.read(here.record, record.MAX_SIZE), safely.read(there.record, record.MAX_SIZE)
            old, new = map(records.parse, texts)
            if old is None or new is None or records.has_same_root(old, new):
                return
            details = self._as_noted(bundle, folder, texts) or self._by_trees(there, here)
            changed.keep(here, texts, details)
        except (OSError, ValueError, OutputError):
            pass

    def _as_noted(self, bundle: str, folder: str, texts: tuple[bytes, bytes]) -> Details | None:
        if folder not in self._noted:
            runs = islice(nights.noted(folder), _RUNS)
            self._noted[folder] = {(one.bundle, one.before, one.after): one for _, some in runs for one in some}
        found = self._noted[folder].get((bundle, records.digest(texts[0]), records.digest(texts[1])))
        if found is None or found.packages is None or found.files is None:
            return None
        return Details(found.packages, found.files)

    def _by_trees(self, there: Places, here: Places) -> Details:
        """Raises OSError, ValueError."""
        trees = changed.standing_tree(here), safely.read(there.tree, treefile.MAX_SIZE)
        old, new = (safely.read(places.output(PACKAGES), record.MAX_SIZE) for places in (here, there))
        return changed.between(self._store, trees, (old, new), None)
