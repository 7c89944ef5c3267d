"""`rootfs:<bundle>:<form>` of the forms that are files: made, and known again by what they were made from."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import Any

from c2wtasks.bundlefile.model import Bundle, Form
from c2wtasks.disk import files, fingerprint, safely, syncing
from c2wtasks.engine.checks import AnyExists, Check, Inputs, Values
from c2wtasks.engine.meta import Meta
from c2wtasks.errors import OutputError, SourceError, os_reason
from c2wtasks.output import outputs, record, staged, times
from c2wtasks.output.outputs import Output
from c2wtasks.output.places import Places
from c2wtasks.output.record import OUTPUT_VERSION, FormFacts
from c2wtasks.process.programs import is_here
from c2wtasks.tasks import reuse, tree
from c2wtasks.tasks.build import Build, Site, Task, of_layers
from c2wtasks.tasks.tree import TreeInputs
from c2wtasks.telling import progress

_MODE = 0o644


FormInputs = dict[str, Any]
"""All that a form is made from, beside the tree and the bundle's JSON files, by name."""


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


def inputs(build: Build, form: Form) -> FormInputs:
    """The options, by name, that can change the bytes of a form."""
    return {
        "output_version": OUTPUT_VERSION,
        "form": dict(form.options),
        "created_ns": build.default_mtime_ns,
        **{name: getattr(build.bundle, name) for name in form.type.settings},
    }


def json_in(places: Places, form: Form) -> dict[str, str]:
    """The JSON files of the bundle that a form holds, too, by name, with where they lie."""
    return {name: places.part(name) for name in form.type.json_files(dict(form.options))}


def made_of(places: Places, form: Form, given: FormInputs, tree_fingerprint: str) -> str:
    """The fingerprint of all that a form is made from.

    Raises OSError.
    """
    json_files = {name: fingerprint.of_file(path) for name, path in json_in(places, form).items()}
    return fingerprint.of_value({"tree": tree_fingerprint, "json": json_files, **given})


@of_layers
def make(site: Site, given: FormInputs, bundle: Bundle, form: Form, root: TreeInputs) -> None:
    """Makes the files of a form of the tree that is made of `root`; or takes them from the remote cache.

    Raises LayerError, OutputError.
    """
    from c2wtasks.rootfs.forms import Making, maker_of
    from c2wtasks.rootfs.holding import check_holes, left_out

    nodes, tree_fingerprint = site.tree()
    maker = maker_of(form.kind)
    if not maker.holes(form):
        check_holes(nodes, form.name)
    places = site.places
    target, unfinished = places.form(form.name), places.part(f".{form.name}")
    before = record.read_form(places.form_facts_file(form.name))
    files.remove_tree(places.form_facts_file(form.name))  # it must never lie beside other files than its own
    files.remove_tree(unfinished)
    try:
        with files.removed_on_failure(unfinished):
            files.make_folders(unfinished)
            unique = f"{tree_fingerprint} {bundle.name}".encode()
            making = Making(bundle, nodes, site.tar, json_in(places, form), unique, given["created_ns"])
            progress.step("writing", nodes.size)
            key = cache(lambda: reuse.form_key(root, bundle.name, form, given, reuse.json_digests(making.json_files)))
            began = time.monotonic()
            taken = reuse.take_form(key, unfinished)
            known = taken if taken is not None else maker.make(making, form, unfinished) or {}
            seconds = time.monotonic() - began
            lost = left_out(nodes, maker.limits)
            progress.step("syncing")
            found = _settle(unfinished, known)
            if before is not None:
                same = {name: one for name, one in found.items() if before.files.get(name) == one}
                _keep(places, form, unfinished, same)
            facts = FormFacts(made_of(places, form, given, tree_fingerprint), found, lost)
            files.remove_tree(target)
            safely.rename(unfinished, target)
            syncing.sync_folder(places.parts)
        times.note(places.form_times(form.name), target, found)
        files.write(places.form_facts_file(form.name), record.encode_form(facts))
        if taken is None:
            reuse.offer_form(key, target, {name: one.size for name, one in found.items()}, seconds)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {os_reason(error)}") from error


def _settle(folder: str, known: Mapping[str, str]) -> dict[str, Output]:
    """Gives the files of a form their mode, sees to it that they are on disk, and says what they are: they are read
    while they are in memory still. `known` has the SHA-256 of some.

    Raises OSError.
    """
    found: dict[str, Output] = {}
    for name in files.below(folder):
        with open(safely.open_file(f"{folder}/{name}"), "rb", buffering=0) as stream:
            files.set_mode(stream.fileno(), _MODE)
            os.fsync(stream.fileno())
            found[name] = outputs.of_stream(stream, known.get(name, ""))
    for above in (*reversed(staged.folders_of(found)), ""):
        syncing.sync_folder(f"{folder}/{above}")
    return found


def _keep(places: Places, form: Form, unfinished: str, found: Mapping[str, Output]) -> None:
    """Takes those of the files that the form had before which are untouched: they stay, with their times."""
    before, target = times.noted(places.form_times(form.name)), places.form(form.name)
    for name, output in found.items():
        times.keep(f"{target}/{name}", f"{unfinished}/{name}", before.get(name), partial(_is, output))


def _is(output: Output, path: str) -> bool:
    with safely.open_quietly(path) as stream:
        return outputs.of_stream(stream) == output


def facts_of(places: Places, form: Form) -> FormFacts:
    """What is known of the files of a form.

    Raises OutputError.
    """
    facts_file = places.form_facts_file(form.name)
    facts = record.read_form(facts_file)
    if facts is None:
        raise OutputError(f"{facts_file}: cannot be read", hint="run again")
    return facts


class Untouched(Check):
    """Holds if each file of the form looks as the task left it. It has the published name, too, as a hard link:
    somebody may have written to a disk image. Then it is made again; and published again, as its folder is
    another."""

    def __init__(self, places: Places, form: Form) -> None:
        self.times = places.form_times(form.name)
        self.folder = places.form(form.name)

    def paths(self) -> Iterable[str]:
        return self.times, *(f"{self.folder}/{name}" for name in times.noted(self.times))

    def holds(self, values: Values) -> bool:
        return times.touched(self.times, self.folder) is None

    def explain(self, values: Values) -> list[str]:
        path = times.touched(self.times, self.folder)
        return [] if path is None else [f"{path} {'was edited' if safely.exists(path) else 'is gone'}"]


def task(build: Build, form: Form) -> Task:
    """The task that makes a form of a bundle, other than the folder."""
    places, name, given = build.places, form.name, inputs(build, form)
    return {
        "name": f"{build.bundle}:{name}",
        "doc": f"makes the form {name} of {build.bundle}",
        "actions": [(make, [build.site, given, build.bundle, form, tree.inputs(build)])],
        "meta": Meta(blob_bytes=build.blob_bytes, brief=build.is_small and not form.type.tool, product=""),
        "file_dep": [places.tree, *json_in(places, form).values()],
        "targets": [places.form_facts_file(name)],
        "uptodate": [Inputs(given), AnyExists(places.form(name)), Untouched(places, form)],
    }
