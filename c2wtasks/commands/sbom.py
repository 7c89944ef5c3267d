"""`doit sbom`: which packages a published bundle holds, in a format of others."""

from __future__ import annotations

from doit.exceptions import InvalidCommand

from c2wtasks.bundlefile.sbom import SBOMS
from c2wtasks.commands.base import FINE, OurCommand, chosen
from c2wtasks.errors import nearest, some_of
from c2wtasks.output.places import Places

_FORMAT = {
    "name": "kind",
    "long": "format",
    "type": str,
    "default": next(iter(SBOMS)),
    "help": f"{' or '.join(SBOMS)}",
}


class Sbom(OurCommand):
    """Prints the SBOM of a published bundle."""

    name = "sbom"
    doc_purpose = "print which packages a bundle holds, as SPDX or CycloneDX"
    doc_usage = "BUNDLE|IMAGE"
    doc_description = (
        "From the published bundle alone, whether bundle.yaml asks for such a file or not: it is the same, byte for "
        "byte. Exit status 0: done. 1: the bundle is not there, or not as its record says. 3: wrong command line."
    )
    cmd_options = (_FORMAT,)
    looks_up = "not"

    def _execute(self, kind: str) -> int:
        hooks = self.graph_hooks
        if kind not in SBOMS:
            meant = nearest(kind, SBOMS)
            hint = f"did you mean {meant}?" if meant else f"known: {', '.join(SBOMS)}"
            raise InvalidCommand(f"--format {kind!r}: no such format; {hint}")
        bundles = [] if self.sel_default_tasks else chosen(hooks, self.sel_tasks)
        if len(bundles) != 1:
            found = f"; these are {some_of([str(one) for one in bundles])}" if bundles else ""
            raise InvalidCommand(f"sbom takes one bundle{found}")
        from c2wtasks.tasks import sboms

        text = sboms.of_published(Places.of(hooks.graph.file.output, bundles[0]), kind)
        self.make_room()
        self.outstream.write(text.decode())
        self.outstream.flush()
        return FINE
