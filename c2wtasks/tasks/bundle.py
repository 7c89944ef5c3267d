"""A bundle made ready to be published: its parts put together, with the record of what they are."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from c2wtasks import fingerprint
from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.oci.image import ImageConfig
from c2wtasks.output import publish, record, waiting
from c2wtasks.output.places import FORM_PREFIX, IMAGE, RECORD, ROOTFS
from c2wtasks.output.record import FormFacts, Record, RootfsFacts, WrittenRootfs
from c2wtasks.sources.model import Layer
from c2wtasks.tasks import form as forming
from c2wtasks.tasks.build import Work
from c2wtasks.vm.runtimespec import what_keeps_from_starting


def stage(work: Work) -> None:
    """Makes the bundle ready to be published.

    Raises LayerError, OutputError.
    """
    places, bundle = work.places, work.bundle
    contents = {name: _read(places.part(name)) for name in work.part_names}
    contents |= {name: contents[part] for name, part in places.copies.items()}
    root = _read_rootfs(places.rootfs_facts_file) if bundle.folder_form else None
    forms = {form.name: forming.whole(work, form) for form in bundle.file_forms}

    def text(facts: RootfsFacts | None) -> bytes:
        return record_text(work, facts, contents, forms)

    def put_rootfs(new: str) -> None:
        for name, form in forms.items():
            publish.link(places.form(name), form.files, new, work.default_mtime_ns)
        if root is not None and (facts := _put_folder(work, root, f"{new}/{places.rootfs}")) != root.facts:
            safely.unlink(f"{new}/{RECORD}")
            files.write_unpublished(f"{new}/{RECORD}", text(facts), work.default_mtime_ns)
        _drop_other_forms(work)

    record_of_waiting = text(root.facts if root is not None else None)
    publish.put_together(places, {**contents, RECORD: record_of_waiting}, work.default_mtime_ns, put_rootfs)


def _read(path: str) -> bytes:
    try:
        return safely.read(path, record.MAX_SIZE)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error


def _read_rootfs(path: str) -> WrittenRootfs:
    found = record.read_rootfs(path)
    if found is None:
        raise OutputError(f"{path}: cannot be read", hint="run again")
    return found


def _put_folder(work: Work, root: WrittenRootfs, target: str) -> RootfsFacts:
    """Moves the root that waits, or, where it cannot be moved, or somebody has put another in its place, writes it
    again. Where none waits, it is published, and only what is beside it has changed. Gives what is to be said of the
    one that is there now: whoever writes it again may have fewer rights, or do it on another file system."""
    waits = waiting.waits(work.places)
    try:
        if waiting.move(work.places, target):
            return root.facts
    except OSError as error:
        if error.errno != errno.EXDEV:  # to another disk, or from a lower layer of an overlay
            raise
    written = work.write_rootfs(target)
    if not waits and written.facts != root.facts:
        files.write(work.places.rootfs_facts_file, record.encode_rootfs(written))
    files.remove_tree(work.places.part(ROOTFS))
    return written.facts


def _drop_other_forms(work: Work) -> None:
    """Removes what was made of forms that the bundle no longer has."""
    places, bundle = work.places, work.bundle
    wanted = {os.path.basename(places.form(form.name)) for form in bundle.file_forms}
    if not bundle.folder_form:
        files.remove_tree(places.rootfs_facts_file)
        files.remove_tree(places.part(ROOTFS))
    for name in files.names(places.parts):
        if name.startswith(FORM_PREFIX) and name.removesuffix(".json") not in wanted:
            files.remove_tree(places.part(name))


def record_text(
    work: Work, facts: RootfsFacts | None, contents: Mapping[str, bytes], forms: Mapping[str, FormFacts]
) -> bytes:
    """The text of bundle.json, for a bundle with these small files, and these forms by name.

    Raises LayerError, OutputError.
    """
    bundle, image = work.bundle, work.image
    outputs = {name: fingerprint.of_bytes(content) for name, content in contents.items()}
    for form in forms.values():
        outputs |= form.files
    notes = [f"{name} lacks {form.left_out}, which it cannot hold" for name, form in forms.items() if form.left_out]
    if IMAGE in contents:
        notes += what_keeps_from_starting(ImageConfig.parse(contents[IMAGE]))
    return record.encode(
        Record(
            name=bundle.name,
            platform=str(bundle.platform),
            source=bundle.source.text,
            manifest_digest=str(image.manifest_digest) if image.manifest_digest else None,
            config_digest=str(image.config_digest),
            layers=record.layer_facts(image, [_tar_size(work, layer) for layer in image.layers]),
            options=record.options(bundle),
            image_config_verbatim=contents.get(IMAGE, image.config) == image.config,
            outputs=outputs,
            rootfs=facts,
            notes=tuple(notes),
        )
    )


def _tar_size(work: Work, layer: Layer) -> int | None:
    if not work.has_rootfs:
        return None
    known = work.known_tar_size(layer)
    return work.store.ensure([layer]).tar_size if known is None else known
