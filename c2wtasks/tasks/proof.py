"""Bundles that prove themselves, by what is on disk, what their tasks would make now: where nothing is remembered."""

from __future__ import annotations

import os
from collections.abc import Iterable

from c2wtasks import fingerprint
from c2wtasks.disk import safely
from c2wtasks.disk.safely import open_quietly
from c2wtasks.errors import OutputError
from c2wtasks.output import record, standing
from c2wtasks.output.record import FormFacts
from c2wtasks.tasks import form as forming
from c2wtasks.tasks.build import Work
from c2wtasks.tasks.bundle import record_text


def is_proven(work: Work) -> bool:
    """Whether nobody has touched the published folder; its record is the one that would be written; its files are as
    recorded; and the parts that the tasks keep are those that it was made from.

    Files of forms are read whole, which is less than making them again; what is in the folder of a root is trusted
    as every run trusts it.
    """
    try:
        return work.has_rootfs and standing.is_noted(work.places) and _has_proof(work)
    except (OSError, OutputError):
        return False


def _has_proof(work: Work) -> bool:
    places, bundle = work.places, work.bundle
    if None in map(work.known_tar_size, work.image.layers):
        return False
    published, parts = (
        {name: _content(place(name)) for name in work.part_names} for place in (places.output, places.part)
    )
    copies = {name: _content(places.output(name)) for name in places.copies}
    if published != parts or copies != {name: published[part] for name, part in places.copies.items()}:
        return False
    _, tree_fingerprint = work.tree()
    facts = None
    if bundle.folder_form:
        root = record.read_rootfs(places.rootfs_facts_file)
        if root is None or root.facts.tree != tree_fingerprint or root.may_be_improved:
            return False
        facts = root.facts
    forms: dict[str, FormFacts] = {}
    for form in bundle.file_forms:
        made = record.read_form(places.form_facts_file(form.name))
        if made is None or made.made_of != forming.made_of(work, form, tree_fingerprint):
            return False
        forms[form.name] = made
    if _content(places.record) != record_text(work, facts, published | copies, forms):
        return False
    return all(_are_whole(work, name, made.files.items()) for name, made in forms.items())


def _are_whole(work: Work, form: str, files: Iterable[tuple[str, str]]) -> bool:
    """Whether the files of a form are published as they are kept, and both as recorded."""
    for name, recorded in files:
        published = work.places.output(name)
        if not os.path.samestat(safely.lstat(f"{work.places.form(form)}/{name}"), safely.lstat(published)):
            return False
        with open_quietly(published) as stream:
            if fingerprint.of_stream(stream) != recorded:
                return False
    return True


def _content(path: str) -> bytes:
    return safely.read(path, record.MAX_SIZE)
