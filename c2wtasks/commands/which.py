"""`doit which`: the bundles that hold a package, or a file, with the layer that brought it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from doit.exceptions import InvalidCommand

from c2wtasks.bundlefile.model import BundleFile
from c2wtasks.commands.base import FINE, NOT_FINE, OurCommand
from c2wtasks.commands.options import JSON
from c2wtasks.errors import OutputError
from c2wtasks.output import held, record
from c2wtasks.output.held import Found, Wanted
from c2wtasks.output.places import Places


class Held(msgspec.Struct, frozen=True):
    """What a bundle holds, and from where: its image, and the digest of the layer, if that is known."""

    bundle: str
    source: str
    found: Found
    digest: str | None


class Which(OurCommand):
    """Lists the published bundles that hold what is asked for."""

    name = "which"
    doc_purpose = "list the bundles that hold a package or a file"
    doc_usage = "PACKAGE[<VERSION]|/FILE"
    doc_description = (
        "With the layer that brought it, and the image. Versions are compared as the package's manager does, by "
        "< and >, in quotes for the shell; @ is that very one. Exit status 0: some hold it. 1: none does. "
        "3: wrong command line."
    )
    cmd_options = (JSON,)
    looks_up = "not"

    def _execute(self, as_json: bool) -> int:
        file = self.graph.file
        word = "" if self.sel_default_tasks or len(self.sel_tasks) != 1 else self.sel_tasks[0]
        is_file = word.startswith("/")
        asked = None if is_file else held.wanted(word)
        if asked is None and not is_file:
            raise InvalidCommand("which takes one package, perhaps with a version ('zlib1g<1:1.3'), or one /FILE")
        found = list(_held(file, asked, word))
        if as_json:
            self.show_json({"bundles": found})
        else:
            self.show(map(_line, found))
        return FINE if found else NOT_FINE


def _held(file: BundleFile, asked: Wanted | None, word: str) -> Iterator[Held]:
    """What the bundles hold of what is `asked` for, or, where that is None, of the file called `word`.

    Raises OutputError: a file of a bundle cannot be read.
    """
    for bundle in file.bundles:
        places = Places.of(file.output, bundle)
        try:
            known = [*held.packages(places, asked)] if asked is not None else [held.file(places, word)]
        except ValueError as error:
            raise OutputError(f"{places.published}: {error}", hint="run again, and verify it") from error
        made = record.read(places.record) if any(known) else None
        for one in known:
            if one is not None and made is not None:
                layer = made.layers[one.layer] if one.layer is not None and one.layer < len(made.layers) else None
                yield Held(str(bundle), made.source, one, layer.diff_id if layer is not None else None)


def _line(held: Held) -> str:
    found = held.found
    what = f"{found.name} {found.version}  {found.type}" if found.version else found.path
    where = f"  layer {found.layer} ({held.digest.partition(':')[2][:12]})" if held.digest else ""
    return f"{held.bundle}  {what}{where}  {held.source}"
