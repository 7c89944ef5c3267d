"""`doit doctor`: which forms of a root can be made here, and with which tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import msgspec

from c2wtasks.bundlefile.forms import FORMS, FormType
from c2wtasks.commands.base import FINE, NOT_FINE, OurCommand
from c2wtasks.commands.options import JSON
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.process.rights import FILE_CAPABILITY, LeftOut, builder
from c2wtasks.rootfs.trying import try_at

_HARM = (
    "whoever can reach the folder of a root there can run its set-user-id programs and use its devices; see "
    "docs/security.md"
)

_SHARED = "share their files: whoever writes into one writes into all that have the file; see docs/forms.md"
_NOT_SHARED = "cannot share their files, as the file system has no hard links"


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one form here. `tool` is the program that it needs, in Debian's `package`; `found` is the
    first line that the tool says of its version."""

    form: str
    works: bool
    used: bool
    tool: str = ""
    package: str = ""
    found: str = ""
    note: str = ""


class Doctor(OurCommand):
    """Says which forms work here. Exit status 0: all that bundle.yaml asks for; 1: not all of them."""

    name = "doctor"
    doc_purpose = "list the forms of a root, the tools they need, and which work here"
    doc_usage = ""
    doc_description = "Exit status 0: all forms that bundle.yaml asks for work. 1: not all. 3: wrong command line."
    cmd_options = (JSON,)
    looks_up = "not"

    def _execute(self, as_json: bool) -> int:
        self.no_words()
        used = {form.kind for bundle in self.graph.file.bundles for form in bundle.forms}
        output = self.graph.file.output
        (note, has_links), harm = _of_folders(output), _harm(output)
        shares = any(bundle.share and bundle.folder_form for bundle in self.graph.file.bundles)
        forms = [
            *(Health(kind, True, kind in used, note=note) for kind, row in FORMS.items() if row.folder),
            *(_health(row, kind in used) for kind, row in FORMS.items() if not row.folder),
        ]
        works = all(one.works for one in forms if one.used)
        if as_json:
            self.show_json({"works": works, "forms": forms, "mountLacks": harm, "shares": shares and has_links})
        else:
            self.show(map(_line, forms))
            if harm and any(one.used and FORMS[one.form].folder for one in forms):
                self.show([f"note: {output} is on a file system without {' and '.join(harm)}: {_HARM}"])
            if shares:
                self.show([f"note: roots in {output} {_SHARED if has_links else _NOT_SHARED}"])
        return FINE if works else NOT_FINE


def _harm(output: str) -> list[str]:
    """The options of a mount that are not set where the output is, and without which what images hold may harm this
    machine: none where no root would write them."""
    if os.geteuid() != 0:
        return []
    folder = output
    while not os.path.isdir(folder or "."):
        folder = os.path.dirname(folder)
    flags = os.statvfs(folder or ".").f_flag
    return [name for name, flag in (("nosuid", os.ST_NOSUID), ("nodev", os.ST_NODEV)) if not flags & flag]


def _of_folders(output: str) -> tuple[str, bool]:
    """What the folder of a root cannot have here, found by trying; and whether it can have hard links, for all that
    is known."""
    try:
        left_out = try_at(output)
    except (OSError, OutputError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else error
        return f"not tried in {output}: {reason}", True
    lacks = list(_lacks(left_out))
    return f"but not with {', '.join(lacks)}" if lacks else "", not left_out.hard_links


def _lacks(left_out: LeftOut) -> Iterator[str]:
    if left_out.owners:
        yield "owners other than this user"
    elif builder().ids:
        yield "owners that this user namespace does not map"
    if left_out.set_ids:
        yield "set-group-id bits of other groups"
    if left_out.modes:
        yield "the modes of the image"
    if left_out.devices:
        yield "devices"
    if FILE_CAPABILITY in left_out.xattrs:
        yield "file capabilities"
    if left_out.hard_links:
        yield "hard links"


def _health(row: FormType, used: bool) -> Health:
    path = shutil.which(row.tool) if row.tool else None
    found, note = "", ""
    if path is not None:
        try:
            found = _version(path)
        except OSError as error:
            note = f"{path} cannot be run: {os_reason(error)}"
    return Health(row.kind, not row.tool or found != "", used, row.tool, row.package, found, note)


def _version(path: str) -> str:
    """The first line that a program says of its version. Raises OSError."""
    done = subprocess.run([path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    lines = (done.stdout or done.stderr).decode(errors="replace").splitlines()
    return lines[0].strip() if lines else "of unknown version"


def _line(one: Health) -> str:
    asked = "*" if one.used else " "
    state = "works" if one.works else f"does not work: needs {one.tool}; install {one.package}"
    with_ = f", with {one.tool}: {one.found}" if one.found else ""
    return f"{asked} {one.form:13} {state}{with_}{', ' if one.note else ''}{one.note}"
