"""Bundles that prove themselves, by what is on disk, what their tasks would make now: where nothing is remembered."""

from __future__ import annotations

import os
from collections.abc import Iterable

from c2wtasks.disk import safely
from c2wtasks.disk.safely import open_quietly
from c2wtasks.errors import OutputError
from c2wtasks.output import kept, outputs, record, standing
from c2wtasks.output.outputs import Output
from c2wtasks.output.places import PACKAGES, SUMS
from c2wtasks.output.record import FormFacts
from c2wtasks.tasks import form as forms
from c2wtasks.tasks import sboms
from c2wtasks.tasks.build import Build
from c2wtasks.tasks.bundle import record_of


def is_proven(build: Build) -> bool:
    """Whether nobody has touched the published folder; its record is the one that would be written; its files are as
    recorded; and the parts that the tasks keep are those that it was made from.

    Files of forms are read whole, which is less than making them again; what is in the folder of a root is trusted
    as every run trusts it.
    """
    try:
        return build.has_rootfs and standing.is_noted(build.places) and _has_proof(build)
    except (OSError, OutputError):
        return False


def _has_proof(build: Build) -> bool:
    places, bundle = build.places, build.bundle
    published, parts = (
        {name: _content(place(name)) for name in build.part_names} for place in (places.output, places.part)
    )
    published[PACKAGES] = _content(places.output(PACKAGES))
    parts[PACKAGES] = kept.packages(places) or b""
    for name, text in sboms.of_build(build, parts[PACKAGES]).items():
        published[name], parts[name] = _content(places.output(name)), text
    copies = {name: _content(places.output(name)) for name in places.copies}
    if published != parts or copies != {name: published[part] for name, part in places.copies.items()}:
        return False
    _, tree_fingerprint = build.site.tree()
    facts = None
    if bundle.folder_form:
        root = record.read_rootfs(places.rootfs_facts_file)
        if root is None or root.facts.tree != tree_fingerprint or root.may_be_improved:
            return False
        if bundle.share != (root.sharing is not None):
            return False
        facts = root.facts
    made: dict[str, FormFacts] = {}
    for form in bundle.file_forms:
        facts_of_form = record.read_form(places.form_facts_file(form.name))
        given = forms.inputs(build, form)
        if facts_of_form is None or facts_of_form.made_of != forms.made_of(places, form, given, tree_fingerprint):
            return False
        made[form.name] = facts_of_form
    wanted = record_of(build, facts, published | copies, made)
    if _content(places.record) != record.encode(wanted):
        return False
    if _content(places.output(SUMS)) != record.encode_sums(wanted, record.encode(wanted)):
        return False
    return all(_are_whole(build, name, one.files.items()) for name, one in made.items())


def _are_whole(build: Build, form: str, files: Iterable[tuple[str, Output]]) -> bool:
    """Whether the files of a form are published as they are kept, and both as recorded."""
    for name, recorded in files:
        published = build.places.output(name)
        if not os.path.samestat(safely.lstat(f"{build.places.form(form)}/{name}"), safely.lstat(published)):
            return False
        with open_quietly(published) as stream:
            if outputs.of_stream(stream) != recorded:
                return False
    return True


def _content(path: str) -> bytes:
    return safely.read(path, record.MAX_SIZE)
