"""bundle.yaml as a graph of doit tasks: the creators of the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from c2wtasks.graph.hooks import GraphHooks
from c2wtasks.graph.resolved import Resolved
from c2wtasks.tasks import boot, bundle, catalog, failing, folder, layer, spec, tree
from c2wtasks.tasks import form as forms
from c2wtasks.tasks.build import Build, Task
from c2wtasks.tasks.folder import Rights


@dataclass(slots=True)
class Graph(Resolved):
    """The bundles of one bundle.yaml, and their tasks: a creator for each family."""

    _hooks: GraphHooks | None = None

    @property
    def hooks(self) -> GraphHooks:
        """What the engine asks of this graph."""
        if self._hooks is None:
            self._hooks = GraphHooks(self)
        return self._hooks

    def layer_tasks(self) -> Iterator[Task]:
        """A task for each distinct blob, that of the largest bundle first."""
        largest: dict[str, int] = {}  # of the bundles that have the layer
        whole: set[str] = set()
        for build in self.with_rootfs():
            for one in build.image.layers:
                largest.setdefault(one.key, build.blob_bytes)
            if build.bundle.folder_form:
                whole.update(one.key for one in build.image.layers)
        for key in sorted(largest, key=lambda key: (-largest[key], -self.layers[key][0].place.size)):
            try:
                task = layer.task(self.store, key, self.layers[key], largest[key], whole=key in whole)
            except Exception as error:
                for build in self.with_rootfs()[:]:
                    if key in {one.key for one in build.image.layers}:
                        self.breaks(build, error)
            else:
                yield task

    def tree_tasks(self) -> Iterator[Task]:
        """A task for the tree of each buildable bundle that has a rootfs."""
        copied = {key for key, copies in self.layers.items() if len({copy.place for copy in copies}) > 1}
        disputed = {key for key, copies in self.layers.items() if len({copy.diff_id for copy in copies}) > 1}
        return self._made(self.with_rootfs(), lambda build: [tree.task(build, copied, disputed)])

    def rootfs_tasks(self) -> Iterator[Task]:
        """A task for each form of each buildable bundle; a failing one for each form that cannot be made."""
        yield from self._made(self.with_rootfs(), self._rootfs_tasks)
        for build, missing in self.lacking:
            yield from (failing.task(f"{build.bundle}:{form}", error) for form, error in missing.items())

    def _rootfs_tasks(self, build: Build) -> Iterator[Task]:
        yield from (forms.task(build, form) for form in build.bundle.file_forms)
        if form := build.bundle.folder_form:
            rights = self.rights[str(build.bundle)] = Rights(build.places.rootfs_facts_file)
            yield folder.task(build, form, rights)

    def spec_tasks(self) -> Iterator[Task]:
        """A task for image.json and spec.json of each buildable bundle that has a rootfs."""
        return self._made(self.with_rootfs(), lambda build: [spec.task(build)])

    def boot_tasks(self) -> Iterator[Task]:
        """A task for initconfig.json of each buildable bundle."""
        return self._made(self.buildable, lambda build: [boot.task(build)])

    def bundle_tasks(self) -> Iterator[Task]:
        """A task that publishes each buildable bundle; a failing one for each of the others."""
        output = self.file.output
        yield from self._made(self.buildable, lambda build: [bundle.task(build, output)])
        for one, error in self.broken:
            yield bundle.failing_task(one, output, error)
        for build, missing in self.lacking:
            yield bundle.failing_task(build.bundle, output, next(iter(missing.values())), missing)

    def catalog_task(self) -> Task | None:
        """Every run also brings the catalog up to date at its end, whatever failed."""
        if self.late:
            return None
        cannot = [*(one for one, _ in self.broken), *(build.bundle for build, _ in self.lacking)]
        return catalog.task(self.file, self.buildable, cannot)

    def _made(self, builds: Iterable[Build], make: Callable[[Build], Iterable[Task]]) -> Iterator[Task]:
        """The tasks that `make` makes for each of `builds`. One for which it cannot is broken from then on."""
        for build in list(builds):
            try:
                tasks = list(make(build))
            except Exception as error:
                self.breaks(build, error)
            else:
                yield from tasks
