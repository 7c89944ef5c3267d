"""The remote cache during a run: begun before the first task, planned with, and told of at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from c2wtasks.bundlefile.model import Form
from c2wtasks.bundlefile.remote import is_scope
from c2wtasks.errors import some_of
from c2wtasks.graph.remotecache import SCOPE, remote_of
from c2wtasks.graph.resolved import Resolved
from c2wtasks.remote import uploading
from c2wtasks.remote.journal import Event, Product
from c2wtasks.remote.session import Remote, Session
from c2wtasks.remote.uploading import LONGEST, Uploading
from c2wtasks.sources.locked import entry_of
from c2wtasks.tasks import form as forms
from c2wtasks.tasks import names, reuse, tree
from c2wtasks.tasks.build import Build
from c2wtasks.telling.sizes import counted, human


def begin(graph: Resolved) -> Sharing | None:
    """Begins to use the remote cache. To be called while this process has one thread."""
    remote = remote_of(graph.file, graph.options)
    if remote is None:
        return None
    writes = remote.cache.write and uploading.may_sign() and is_scope(remote.scope)
    session = Session(remote, writes=writes, trouble=graph.remote_trouble)
    if not is_scope(remote.scope):
        session.journal.switch_off(f"{SCOPE}: {remote.scope!r} is not a scope")
    if session.journal.is_off:  # it is not asked any more, but told of at the end
        return Sharing(graph, session, None)
    reuse.use(session)
    writer = None
    if writes:
        try:
            writer = Uploading(remote, session.journal)
        except OSError:  # no process to be had
            session.journal.note(Event("lost", "there is no process to be had that writes"))
    return Sharing(graph, session, writer)


class Sharing:
    """What a run has of its remote cache."""

    def __init__(self, graph: Resolved, session: Session, uploading: Uploading | None) -> None:
        self._graph = graph
        self._session = session
        self._uploading = uploading

    def plan(self, builds: Iterable[Build], tasks: Set[str]) -> None:
        """Finds out which layers' tars the run needs anyway: those of roots that it writes, but for forms that are
        to be had."""
        if self._session.journal.is_off:
            return
        wanted: set[str] = set()
        for build in builds:
            stale = [form for form in build.bundle.forms if names.rootfs(build.bundle, form.name) in tasks]
            if not all(reuse.is_known(_key(build, form)) for form in stale):
                wanted.update(layer.key for layer in build.image.layers)
        self._session.wanted = frozenset(wanted)

    def end(self, *, patiently: bool) -> Iterator[str]:
        """Waits for what is still to be written, unless the run was cut short, and gives the lines to tell."""
        if self._uploading is not None:
            self._uploading.finish(LONGEST if patiently else 0, _documents(self._graph))
        reuse.use(None)
        events, _ = self._session.journal.since()
        self._session.journal.close()
        yield from told(events, self._session.remote)


def _documents(graph: Resolved) -> Iterable[Product]:
    """The documents of the images, each with the file where it is, if it is here."""
    entries = [*graph.lock.entries.values(), *(entry_of(build.bundle, build.image) for build in graph.builds)]
    digests = {one for entry in entries for one in (entry.manifest, entry.config) if one is not None}
    return [Product(str(one), graph.documents.path(one)) for one in digests]


def _key(build: Build, form: Form) -> str:
    """What a form is known by; "" where it is a folder, or a file that it holds is not there yet."""
    if form.type.folder:
        return ""
    try:
        digests = reuse.json_digests(forms.json_in(build.places, form))
    except OSError:
        return ""
    return reuse.form_key(tree.inputs(build), build.bundle.name, form, forms.inputs(build, form), digests)


def told(events: Iterable[Event], remote: Remote) -> Iterator[str]:
    """What is to be said of the remote cache at the end of a run, a line for each sort of thing. Pure."""
    name = f"remote cache {remote.cache.url}"
    by_kind: dict[str, list[Event]] = {}
    for event in events:
        by_kind.setdefault(event.what, []).append(event)
    if hits := by_kind.get("hit"):
        yield f"{name}: {counted(len(hits), 'result')} taken ({human(sum(one.size for one in hits))})"
    if off := by_kind.get("off"):
        yield f"{name}: {off[0].why}; from then on all was made here"
    if refused := by_kind.get("refused"):
        why = some_of(list(dict.fromkeys(one.why for one in refused)), 3)
        yield f"{name}: {counted(len(refused), 'claim')} not believed: {why}"
    wrong = [*by_kind.get("wrong", ()), *(Event("gone", f"{one.why}: gone") for one in by_kind.get("gone", ()))]
    if wrong:
        why = some_of(list(dict.fromkeys(one.why for one in wrong)), 3)
        yield f"{name}: {counted(len(wrong), 'output')} not as claimed, and made here: {why}"
    if lost := by_kind.get("lost"):
        made, written = (len(by_kind.get(one, ())) for one in ("made", "written"))
        yield f"{name}: not all was written ({written} of {made} results): {lost[0].why}"
