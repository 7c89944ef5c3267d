"""`bundle:<name>@<platform>`: what the other tasks of the bundle have made, put together with its record, and made
ready to be published. All that is large is moved or linked."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.disk import files, safely
from c2wtasks.engine.checks import Check, Inputs, Values
from c2wtasks.engine.meta import Meta
from c2wtasks.errors import OutputError, UserError, os_reason
from c2wtasks.oci.image import ImageConfig
from c2wtasks.output import kept, outputs, record, staged, waiting
from c2wtasks.output.places import FORM_PREFIX, IMAGE, PACKAGES, RECORD, ROOTFS, SUMS, TIMES_SUFFIX, Places
from c2wtasks.output.record import OUTPUT_VERSION, FormFacts, Record, RootfsFacts
from c2wtasks.output.remove import remove
from c2wtasks.output.standing import identity
from c2wtasks.tasks import failing, folder, names, sboms
from c2wtasks.tasks import form as forms
from c2wtasks.tasks import tree as trees
from c2wtasks.tasks.build import Build, Task
from c2wtasks.vm.runtimespec import what_keeps_from_starting


def inputs(build: Build) -> dict[str, Any]:
    """All that bundle.json says of the bundle's inputs, by name."""
    bundle, image = build.bundle, build.image
    return {
        "output_version": OUTPUT_VERSION,
        "source": bundle.source.text,
        "manifest": str(image.manifest_digest),
        "image_config": str(image.config_digest),
        "layers": [str(layer.digest or layer.diff_id) for layer in image.layers],
        "created_ns": build.default_mtime_ns,
        **record.options(bundle),
    }


class _Unmovable(Exception):
    """The root that waits cannot be moved: it lies in a lower layer of an overlay, say."""


def make(build: Build) -> None:
    """Makes the bundle ready to be published.

    Raises LayerError, OutputError.
    """
    places = build.places
    with files.at_work_in(places.parts):
        contents = {name: _read(places.part(name)) for name in build.part_names}
        if build.has_rootfs:
            contents[PACKAGES] = _packages(build)
            contents |= sboms.of_build(build, contents[PACKAGES])
        contents |= {name: contents[part] for name, part in places.copies.items()}
        made = {form.name: forms.facts_of(places, form) for form in build.bundle.file_forms}
        try:
            _stage(build, contents, made, moves=True)
        except _Unmovable:
            _stage(build, contents, made, moves=False)


def _packages(build: Build) -> bytes:
    """The text of packages.json, which is made again where it was lost. Raises LayerError, TreeError, OutputError."""
    text = kept.packages(build.places)
    if text is None:
        trees.make(build.site, trees.inputs(build), frozenset())
        text = kept.packages(build.places)
    if text is None:
        raise OutputError(f"{build.places.packages}: cannot be read", hint="run again")
    return text


def _stage(build: Build, contents: Mapping[str, bytes], made: Mapping[str, FormFacts], *, moves: bool) -> None:
    """`moves` says that the root which waits can be moved, for all that is known.

    Raises LayerError, OutputError, _Unmovable.
    """
    places, bundle, mtime_ns = build.places, build.bundle, build.default_mtime_ns
    new = staged.fresh(places)
    root, facts = folder.ready(build.site, new, share=bundle.share, moves=moves) if bundle.folder_form else ("", None)

    def put_rootfs() -> None:
        for name, form in made.items():
            staged.link(places.form(name), form.files, new, mtime_ns)
        if root and not _moved(places, root, f"{new}/{places.rootfs}", moves):
            raise OutputError(f"{root}: was replaced meanwhile", hint="run again")
        _drop_other_forms(build)

    text = record.encode(made_record := record_of(build, facts, contents, made))
    first = {RECORD: text, SUMS: record.encode_sums(made_record, text)}
    if build.has_rootfs:
        from c2wtasks.tasks import changed  # most runs change nothing

        changed.note(places, build.site.store, text, contents[PACKAGES])
    staged.put_together(places, new, {**first, **contents}, mtime_ns, put_rootfs)


def _moved(places: Places, root: str, target: str, moves: bool) -> bool:
    """As `waiting.move`. Raises OSError, _Unmovable."""
    try:
        return waiting.move(places, root, target)
    except OSError as error:
        if moves and error.errno == errno.EXDEV:
            raise _Unmovable from error
        raise


def _read(path: str) -> bytes:
    try:
        return safely.read(path, record.MAX_SIZE)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error


def _drop_other_forms(build: Build) -> None:
    """Removes what was made of forms that the bundle no longer has."""
    places, bundle = build.places, build.bundle
    wanted = {os.path.basename(places.form(form.name)) for form in bundle.file_forms}
    if not bundle.folder_form:
        files.remove_tree(places.rootfs_facts_file)
        files.remove_tree(places.part(ROOTFS))
        from c2wtasks.output import spare  # most runs drop nothing

        spare.discard(places)
    for name in files.names(places.parts):
        if name.startswith(FORM_PREFIX) and name.removesuffix(".json").removesuffix(TIMES_SUFFIX) not in wanted:
            files.remove_tree(places.part(name))


def record_of(
    build: Build, facts: RootfsFacts | None, contents: Mapping[str, bytes], made: Mapping[str, FormFacts]
) -> Record:
    """The content of bundle.json, for a bundle with these small files, and these forms by name.

    Raises LayerError, OutputError.
    """
    bundle, image = build.bundle, build.image
    found = {name: outputs.of_bytes(content) for name, content in contents.items()}
    for form in made.values():
        found |= form.files
    notes = [f"{name} lacks {form.left_out}, which it cannot hold" for name, form in made.items() if form.left_out]
    if (text := contents.get(IMAGE)) is not None:
        notes += what_keeps_from_starting(image.parsed if text == image.config else ImageConfig.parse(text))
    sizes = build.site.tar_sizes() if build.has_rootfs else [None] * len(image.layers)
    return Record(
        name=bundle.name,
        platform=str(bundle.platform),
        source=bundle.source.text,
        manifest_digest=str(image.manifest_digest) if image.manifest_digest else None,
        config_digest=str(image.config_digest),
        layers=record.layer_facts(image, sizes),
        options=record.options(bundle),
        image_config_verbatim=contents.get(IMAGE, image.config) == image.config,
        outputs=found,
        rootfs=facts,
        notes=tuple(notes),
    )


class Published(Check):
    """Holds if the published folder is the one that the task left, with nothing put in or taken out; and the forms
    that it has as links are those that are kept."""

    def __init__(self, folder: str, forms: Sequence[str]) -> None:
        """`forms` are the folders in which the files of the forms are kept."""
        self.folder = folder
        self.forms = forms

    def configure_task(self, task: Any) -> None:
        """Has the identities of the folder and its forms saved when the task ran: doit calls this."""
        task.value_savers.append(lambda: {"published": identity(self.folder), "forms": self._kept()})

    def paths(self) -> Iterable[str]:
        return self.folder, *self.forms

    def _kept(self) -> list[list[int]]:
        return [identity(form) for form in self.forms]

    def holds(self, values: Values) -> bool:
        return (
            bool(values.get("published"))
            and values["published"] == identity(self.folder)
            and ("forms" not in values or values["forms"] == self._kept())
        )

    def explain(self, values: Values) -> list[str]:
        if not values.get("published"):
            return ["never published"]
        reasons = []
        state = identity(self.folder)
        if state != values["published"]:
            reasons.append(
                f"{self.folder} {'was replaced, or something was put in or taken out' if state else 'is gone'}"
            )
        for form, left in zip(self.forms, values.get("forms") or (), strict=False):
            if left != identity(form):
                reasons.append(f"{form} was made again")
        return reasons


def task(build: Build, output: str) -> Task:
    """The task that publishes a bundle below the folder `output`."""
    bundle, places = build.bundle, build.places
    of_forms = [places.form_facts_file(form.name) for form in bundle.file_forms]
    of_folder = [places.rootfs_facts_file] if bundle.folder_form else []
    return {
        "name": str(bundle),
        "doc": f"publishes {bundle} in {places.published}",
        "actions": [(make, [build])],
        "meta": Meta(
            blob_bytes=build.blob_bytes,
            light=True,
            brief=build.is_small,
            product=str(bundle),
            published_later=True,
        ),
        "file_dep": [*(places.part(name) for name in build.part_names), *of_forms, *of_folder],
        "targets": [places.output(name) for name in (*build.part_names, *places.copies, RECORD, SUMS)],
        "uptodate": [
            Inputs(inputs(build)),
            Published(places.published, [places.form(form.name) for form in bundle.file_forms]),
        ],
        "clean": [_cleaner(places, output)],
    }


def failing_task(bundle: Bundle, output: str, error: UserError, forms_missing: Iterable[str] = ()) -> Task:
    """The task of a bundle that cannot be made, for want of the forms that are missing, if it is that."""
    return failing.task(str(bundle), error, product=str(bundle)) | {
        "task_dep": [names.rootfs(bundle, form) for form in forms_missing],
        "clean": [_cleaner(Places.of(output, bundle), output)],
    }


def _cleaner(places: Places, output: str) -> tuple[Any, ...]:
    return remove, [places, output]
