"""`doit init`: a catalog to begin with, in a folder that has none. It builds at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata
from shlex import quote
from typing import Any

from doit.cmd_base import Command as DoitCommand
from doit.exceptions import InvalidCommand

from c2wtasks.bundlefile import schema
from c2wtasks.commands.beginning import bundle_yaml, in_layout, in_registry, made_fit
from c2wtasks.disk import files
from c2wtasks.engine.command import Command
from c2wtasks.engine.exclusive import told
from c2wtasks.errors import one_line, program

_DODO = '''"""The graph of this catalog: bundle.yaml beside this file -> bundles/."""
from c2wtasks.dodo import *
'''
_EXAMPLE = "images/hello"
_WORKFLOW = ".github/workflows/bundles.yml"
_TEMPLATES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "templates")

_FROM_LAYOUT = {
    "name": "from_layout",
    "long": "from-layout",
    "type": str,
    "default": "",
    "help": "the images of this image layout, in place of an example",
}
_FROM_IMAGE = {
    "name": "from_image",
    "long": "from-image",
    "type": str,
    "default": "",
    "help": "this image of a registry, in place of an example",
}


class Init(Command, DoitCommand):  # type: ignore[misc]
    """Writes bundle.yaml and what goes with it; what is there stays as it is."""

    name = "init"
    doc_purpose = "write a catalog to begin with"
    doc_usage = "[FOLDER] [--from-layout DIR | --from-image REFERENCE]"
    doc_description = (
        "Writes bundle.yaml with its schema for editors, dodo.py, .gitignore, a workflow for GitHub and, where no "
        "image is named, a small one. Files that are there stay as they are; where bundle.yaml is, nothing is done. "
        "Exit status 0: done. 1: an image or a file cannot be read or written. 3: wrong command line."
    )
    cmd_options = (_FROM_LAYOUT, _FROM_IMAGE)

    def execute(self, params: Any, args: list[str]) -> int:
        if len(args) > 1:
            raise InvalidCommand(f"'{one_line(args[1])}': one folder at a time")
        if params["from_layout"] and params["from_image"]:
            raise InvalidCommand("--from-layout and --from-image: give one of them")
        folder = args[0] if args else "."
        if os.path.lexists(f"{folder}/bundle.yaml"):
            raise InvalidCommand(f"{one_line(folder)}/bundle.yaml is there already: name another folder")
        return int(told(lambda: self._write(folder, params["from_layout"], params["from_image"])))

    def _write(self, folder: str, layout: str, image: str) -> int:
        """Writes the files that are not there; bundle.yaml is the last, as it says that all is there.

        Raises UserError.
        """
        if image:
            found = in_registry(image, self.run_options({}).offline)
        else:
            found = in_layout(layout or f"{_TEMPLATES}/hello", folder if layout else "")
        if not image and not layout:
            found = [one.at(_EXAMPLE) for one in found]
        name = made_fit(os.path.basename(os.path.abspath(folder)), "catalog")
        text = bundle_yaml(_template("bundle.yaml").decode(), name, found).encode()
        for name, content in (*_constant(with_example=not image and not layout), ("bundle.yaml", text)):
            path = os.path.normpath(f"{folder}/{name}")
            if os.path.lexists(path):
                print(f"left as it is: {one_line(path)}")
            else:
                files.write(path, content)
                if not name.startswith(_EXAMPLE):
                    print(f"wrote {one_line(path)}")
        print(f"next: {'' if folder == '.' else f'cd {quote(one_line(folder))} && '}{program()}")
        return 0


def _constant(*, with_example: bool) -> Iterator[tuple[str, bytes]]:
    """The files that do not depend on the images, by their paths."""
    if with_example:
        for name in files.below(f"{_TEMPLATES}/hello"):
            yield f"{_EXAMPLE}/{name}", _template(f"hello/{name}")
    yield "dodo.py", _DODO.encode()
    yield ".gitignore", _template("gitignore")
    yield schema.NAME_OF_FILE, schema.text().encode()
    requirement = f'"c2wtasks=={metadata.version("c2wtasks")}"'
    yield _WORKFLOW, _template("bundles.yml").replace(b"REQUIREMENT", requirement.encode())


def _template(name: str) -> bytes:
    with open(f"{_TEMPLATES}/{name}", "rb") as stream:
        return stream.read()
