"""The table of the forms of a root: what bundle.yaml may say of each, and what each is made from.

How a form that is a file is made, its module in `c2wtasks/rootfs/` says, which has the form's name (`rootfs.forms`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from c2wtasks.bundlefile.values import BOOLEAN, COUNT, SIZE, Kind, choice

JSON_FILES = IMAGE, SPEC, INITCONFIG = "image.json", "spec.json", "initconfig.json"
"""The bundle's other files that a form may hold."""

Value = str | int | bool
Options = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Misfit:
    """An option that does not go with the others."""

    option: str
    wrong: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class FormType:
    """One form, called `kind`.

    `options` are those that bundle.yaml may give; one that has the value in `defaults` counts as not given. `check`
    finds what does not go together in them. Of two forms of one kind in a bundle, the option `tells_apart` differs,
    and its value is in the name.

    `folder` is where the root lies in the bundle, of a form that is a folder of real files; `copies` is what such a
    form has of the bundle's other files: the name there -> the usual one. `is_external`: an external bundle has it.
    `is_written_to`: by those who use it.

    Of a form that is a file or a few, `json_files` are those of the bundle's that are in it, too, and `settings` the
    fields of `Bundle` that it is made from and that neither these nor the tree tell. `tool` is a program that it
    needs, in Debian's `package`.
    """

    kind: str
    options: Mapping[str, Kind] = field(default_factory=dict)
    defaults: Options = field(default_factory=dict)
    check: Callable[[Options], Misfit | None] = lambda _options: None
    tells_apart: str = ""
    folder: str = ""
    copies: Mapping[str, str] = field(default_factory=dict)
    is_external: bool = False
    is_written_to: bool = False
    json_files: Callable[[Options], tuple[str, ...]] = lambda _options: ()
    settings: tuple[str, ...] = ()
    tool: str = ""
    package: str = ""


_LEVELS = {"gzip": 3, "zstd": 19}


def _check_level(options: Options) -> Misfit | None:
    compression, level = options.get("compression"), options.get("level")
    if level is None:
        return None
    if compression is None:
        return Misfit("level", "there is no compression", "add compression: zstd")
    most = _LEVELS[str(compression)]
    return Misfit("level", f"{compression} has the levels 1 to {most}") if int(level) > most else None


_ROWS = (
    FormType("dir", folder="rootfs"),
    FormType(
        "tar",
        options={"compression": choice("gzip", "zstd"), "level": COUNT, "sparse": BOOLEAN},
        defaults={"sparse": True},
        check=_check_level,
        tells_apart="compression",
    ),
    FormType("cpio"),
    FormType(
        "iso",
        options={"tree": choice("rootfs", "vm")},
        defaults={"tree": "rootfs"},
        tells_apart="tree",
        json_files=lambda options: JSON_FILES if options.get("tree") == "vm" else (),
    ),
    FormType("ext4", options={"size": SIZE, "journal": BOOLEAN}, defaults={"journal": False}),
    FormType(
        "squashfs",
        options={"compression": choice("gzip", "lz4", "xz", "zstd")},
        defaults={"compression": "gzip"},
        tool="tar2sqfs",
        package="squashfs-tools-ng",
    ),
    FormType("erofs"),
    FormType("context", json_files=lambda _options: JSON_FILES, settings=("preset",)),
    FormType("imagemounter", options={"compression": choice("gzip")}, json_files=lambda _options: (IMAGE,)),
    FormType(
        "9p",
        folder="9p/rootfs",
        copies={"9p/config/config.json": SPEC, "9p/config/imageconfig.json": IMAGE},
        is_external=True,
        is_written_to=True,
    ),
)
FORMS = {row.kind: row for row in _ROWS}
DEFAULT_FORM = "dir"
