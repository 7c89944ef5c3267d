"""The forms of a root that are files: made, and known again by what they were made from."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from c2wtasks import fingerprint
from c2wtasks.bundlefile.model import Bundle, Form
from c2wtasks.disk import files, safely, syncing
from c2wtasks.errors import OutputError, SourceError, os_reason
from c2wtasks.output import publish, record
from c2wtasks.output.record import FormFacts
from c2wtasks.rootfs.forms import Making, is_here, maker_of
from c2wtasks.rootfs.holding import check_holes, left_out
from c2wtasks.tasks.build import Work

_MODE = 0o644


def missing_tools(bundle: Bundle) -> dict[str, SourceError]:
    """Why forms of a bundle, by name, cannot be made: the tools that they need and that are not here."""
    return {
        form.name: SourceError(
            f"form {form.name} needs {form.type.tool} (Debian's package {form.type.package})",
            hint="install it, or leave the form out",
        )
        for form in bundle.file_forms
        if form.type.tool and not is_here(form.type.tool)
    }


def inputs(work: Work, form: Form) -> dict[str, Any]:
    """All that a form is made from, beside the tree and the bundle's JSON files."""
    return {
        "output_version": record.OUTPUT_VERSION,
        "form": dict(form.options),
        "created_ns": work.default_mtime_ns,
        **{name: getattr(work.bundle, name) for name in form.type.settings},
    }


def json_in(work: Work, form: Form) -> dict[str, str]:
    """The JSON files of the bundle that a form holds, too, by name, with where they lie."""
    return {name: work.places.part(name) for name in form.type.json_files(dict(form.options))}


def made_of(work: Work, form: Form, tree_fingerprint: str) -> str:
    """The fingerprint of all that a form is made from.

    Raises OSError.
    """
    json_files = {name: fingerprint.of_file(path) for name, path in json_in(work, form).items()}
    return fingerprint.of_value({"tree": tree_fingerprint, "json": json_files, **inputs(work, form)})


def make(work: Work, form: Form) -> None:
    """Makes the files of a form.

    Raises LayerError, OutputError.
    """
    tree, tree_fingerprint = work.tree()
    maker = maker_of(form.kind)
    if not maker.holes(form):
        check_holes(tree, form.name)
    places = work.places
    target, unfinished = places.form(form.name), places.part(f".{form.name}")
    files.remove_tree(places.form_facts_file(form.name))  # it must never lie beside other files than its own
    files.remove_tree(unfinished)
    try:
        with files.removed_on_failure(unfinished):
            files.make_folders(unfinished)
            key = f"{tree_fingerprint} {work.bundle.name}".encode()
            making = Making(work.bundle, tree, work.tar, json_in(work, form), key, work.default_mtime_ns)
            maker.make(making, form, unfinished)
            lost = left_out(tree, maker.limits)
            found, sizes = _settle(unfinished, work.default_mtime_ns)
            facts = FormFacts(made_of(work, form, tree_fingerprint), found, lost, sizes)
            files.remove_tree(target)
            safely.rename(unfinished, target)
            syncing.sync_folder(places.parts)
        facts_file = places.form_facts_file(form.name)
        files.write(facts_file, msgspec.json.encode(facts) + b"\n")
        safely.set_times(facts_file, work.default_mtime_ns)  # it looks as they do
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {os_reason(error)}") from error


def _settle(folder: str, mtime_ns: int) -> tuple[dict[str, str], dict[str, int]]:
    """Gives the files of a form their metadata, sees to it that they are on disk, and gives their fingerprints and
    sizes (bytes).

    Raises OSError.
    """
    found: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for name in files.below(folder):
        with open(safely.open_file(f"{folder}/{name}"), "rb", buffering=0) as stream:
            files.set_mode(stream.fileno(), _MODE)
            os.utime(stream.fileno(), ns=(mtime_ns, mtime_ns))
            os.fsync(stream.fileno())
            found[name] = fingerprint.of_stream(stream)
            sizes[name] = stream.tell()
    for above in (*reversed(publish.folders_of(found)), ""):
        syncing.sync_folder(f"{folder}/{above}")
    return found, sizes


def whole(work: Work, form: Form) -> FormFacts:
    """What is known of the files of a form, which is made again if one of them does not look as it was left.

    They are those that were published: somebody may have removed them, or written to a disk image.

    Raises LayerError, OutputError.
    """
    facts_file, folder = work.places.form_facts_file(form.name), work.places.form(form.name)
    facts = record.read_form(facts_file)
    if facts is None or not all(
        _is_untouched(f"{folder}/{name}", facts_file, work.default_mtime_ns) for name in facts.files
    ):
        make(work, form)
        facts = record.read_form(facts_file)
    if facts is None:
        raise OutputError(f"{facts_file}: cannot be read", hint="run again")
    return facts


def _is_untouched(path: str, facts_file: str, mtime_ns: int) -> bool:
    """Whether a file looks as it was left: as the facts file does, since a file system may not keep all that it is
    told (one mode for all files, whole seconds only)."""
    try:
        found, alike = safely.lstat(path), safely.lstat(facts_file)
    except OSError:
        return False
    return (found.st_mode, found.st_uid) == (alike.st_mode, alike.st_uid) and found.st_mtime_ns in (
        mtime_ns,
        alike.st_mtime_ns,
    )
