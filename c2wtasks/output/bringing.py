"""Bundles that another machine has built: brought from its output folder into ours, ready to be published."""

from __future__ import annotations

import os

import msgspec

from c2wtasks.bundlefile.forms import JSON_FILES
from c2wtasks.bundlefile.lock import LockEntry
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.bundlefile.sbom import SBOMS
from c2wtasks.disk import files, fingerprint, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.output import kept, outputs, record, staged, times
from c2wtasks.output.duplicating import duplicate
from c2wtasks.output.places import PACKAGES, RECORD, SUMS, Places
from c2wtasks.output.record import FormFacts, Record
from c2wtasks.rootfs.writing.copying import copy_file
from c2wtasks.tree import treefile

_PARTS = ".merged"
"""In a bundle's private folder: the parts of the new one, until they are whole."""
_ANEW = "build that shard again, with this bundle.yaml and bundle.lock"


def bring(bundle: Bundle, locked: LockEntry | None, there: Places, here: Places) -> None:
    """Makes the bundle that is published at `there` ready to be published at `here`. What its record tells the size
    and SHA-256 of is read and compared; its root, if that is a folder, is taken as it is.

    Raises OutputError: it is not there, is no bundle of this version, was made from something else than `bundle` and
    what is `locked` of it, or is not as its record says.
    """
    made = record.read(there.record)
    if made is None:
        raise OutputError(f"{there.record}: is no bundle of this version of c2wtasks", hint=_ANEW)
    if misfit := _misfit(bundle, locked, made):
        raise OutputError(f"{there.record}: it was made from {misfit}", hint=_ANEW)
    if not safely.is_folder(there.parts):
        raise OutputError(f"{there.parts}: is not there", hint="pack all of that shard's output, what is hidden, too")
    try:
        _bring(bundle, made, there, here)
    except OSError as error:
        raise OutputError(f"{error.filename or there.published}: cannot be merged: {os_reason(error)}") from error


def _misfit(bundle: Bundle, locked: LockEntry | None, made: Record) -> str:
    """In what a record is another bundle's; "" where it fits."""
    if (made.name, made.platform) != (bundle.name, str(bundle.platform)):
        return f"{made.name}@{made.platform}"
    if made.source != bundle.source.text:
        return f"the source {made.source}"
    if made.options != msgspec.json.decode(msgspec.json.encode(record.options(bundle))):
        return "other options"
    if locked is not None and made.config_digest != str(locked.config):
        return f"another image than bundle.lock names (config {made.config_digest})"
    return ""


def _bring(bundle: Bundle, made: Record, there: Places, here: Places) -> None:
    """Nothing of the bundle that stands here goes before all of the new one is here, and was compared."""
    new = staged.fresh(here)
    parts = Places(here.published, here.part(_PARTS), here.rootfs)
    files.remove_tree(parts.parts)
    mtime_ns = safely.lstat(there.published).st_mtime_ns
    with files.removed_on_failure(new), files.removed_on_failure(parts.parts):
        files.make_folders(parts.parts)
        forms = {form.name: _bring_form(form.name, made, there, parts) for form in bundle.file_forms}
        small = made.outputs.keys() - {name for form in forms.values() for name in form.files}
        follows = {*here.copies, *(SBOMS[kind].file for kind in bundle.sbom)}
        if small - {*JSON_FILES, PACKAGES, *follows}:
            raise OutputError(f"{there.record}: it has files that no bundle has", hint=_ANEW)
        contents = {name: _read(there, name, made) for name in small}
        for name in contents.keys() - follows:
            if name == PACKAGES:
                kept.keep(parts, contents[name])
            else:
                files.write(parts.part(name), contents[name])
        if made.rootfs is not None or bundle.forms:
            _bring_tree(made, there, parts)
        if made.rootfs is not None:
            root = f"{new}/{made.folder}"
            files.make_folders(os.path.dirname(root))
            _bring_root(there.output(made.folder), root)
        text = record.encode(made)
        contents |= {RECORD: text, SUMS: record.encode_sums(made, text)}

        def put_rootfs() -> None:
            for name, form in forms.items():
                staged.link(parts.form(name), form.files, new, mtime_ns)
            _replace_parts(here, parts)

        staged.put_together(here, new, contents, mtime_ns, put_rootfs)


def _replace_parts(here: Places, parts: Places) -> None:
    for name in files.names(here.parts):
        if not name.startswith("."):
            files.remove_tree(here.part(name))
    for name in files.names(parts.parts):
        safely.rename(parts.part(name), here.part(name))
    safely.remove_folder(parts.parts)


def _bring_root(source: str, target: str) -> None:
    try:
        duplicate(source, target)
    except PermissionError as error:
        where = f"{source}/{error.filename}" if error.filename else source
        hint = "merge as root, or as the user who has built it"
        raise OutputError(f"{where}: cannot be merged: {os_reason(error)}", hint=hint) from error


def _bring_tree(made: Record, there: Places, here: Places) -> None:
    """The flat tree, and what is known of the root: by these our own runs know what they need not make again."""
    tree = safely.read(there.tree, treefile.MAX_SIZE)
    if made.rootfs is not None:
        if fingerprint.of_bytes(tree) != made.rootfs.tree:
            raise OutputError(f"{there.tree}: is not the tree that {there.record} names", hint=_ANEW)
        root = record.read_rootfs(there.rootfs_facts_file)
        if root is None or root.facts != made.rootfs:
            raise OutputError(f"{there.rootfs_facts_file}: does not fit {there.record}", hint=_ANEW)
        files.write(here.rootfs_facts_file, record.encode_rootfs(root))
    files.write(here.tree, tree)


def _bring_form(name: str, made: Record, there: Places, here: Places) -> FormFacts:
    facts = record.read_form(there.form_facts_file(name))
    if facts is None or not facts.files.items() <= made.outputs.items() or any(map(_leads_out, facts.files)):
        raise OutputError(f"{there.form_facts_file(name)}: does not fit {there.record}", hint=_ANEW)
    for path, wanted in facts.files.items():
        if safely.size(there.output(path)) not in (wanted.size, None):  # a hole can be longer than one can read
            raise _damaged(there, path)
        target = f"{here.form(name)}/{path}"
        files.make_folders(target.rpartition("/")[0])
        copy_file(there.output(path), target)
        files.set_mode(target, 0o644)
        with safely.open_quietly(target) as stream:
            if outputs.of_stream(stream) != wanted:
                raise _damaged(there, path)
    times.note(here.form_times(name), here.form(name), facts.files)
    files.write(here.form_facts_file(name), record.encode_form(facts))
    return facts


def _leads_out(path: str) -> bool:
    return not {"", ".", ".."}.isdisjoint(path.split("/"))


def _read(there: Places, name: str, made: Record) -> bytes:
    content = safely.read(there.output(name), record.MAX_SIZE)
    if outputs.of_bytes(content) != made.outputs[name]:
        raise _damaged(there, name)
    return content


def _damaged(there: Places, name: str) -> OutputError:
    return OutputError(f"{there.output(name)}: is not as {RECORD} says", hint=_ANEW)
