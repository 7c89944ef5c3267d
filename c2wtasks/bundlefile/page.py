"""The tables of the reference page, from the table of settings.

`python -m c2wtasks.bundlefile.page docs/bundle-yaml.md` renews them in place; a test tells when that is due.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from c2wtasks.bundlefile.boot import PRESETS
from c2wtasks.bundlefile.setting import Setting
from c2wtasks.bundlefile.settings import IMAGE_PATH, REGISTRY_PATH, REMOTE_PATH, SETTINGS
from c2wtasks.errors import UserError

BEGIN = "<!-- begin: {} -->\n"
END = "<!-- end: {} -->"

_TABLES = {
    "file": "",
    "engine": "engine",
    "registry": REGISTRY_PATH,
    "remote": REMOTE_PATH,
    "image": IMAGE_PATH,
    "process": f"{IMAGE_PATH}.process",
    "boot": f"{IMAGE_PATH}.boot",
}


def renewed(page: str) -> str:
    """`page` with the text between each pair of markers made anew.

    Raises UserError where a pair is missing.
    """
    for name, parent in _TABLES.items():
        page = _replaced(page, name, _settings_table(row for row in SETTINGS if row.parent == parent))
    return _replaced(page, "presets", _presets_table())


def _replaced(page: str, name: str, table: str) -> str:
    begin, end = BEGIN.format(name), END.format(name)
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UserError(f"the page lacks {begin.strip()} or {end}")
    return before + begin + table + end + after


def _settings_table(rows: Iterable[Setting]) -> str:
    lines = [_row(("key", "value", "default", "example", "what it is")), _row(["---"] * 5)]
    for row in rows:
        default = f"`{row.default}`" if _is_literal(row) else row.default
        what = row.help + (" Only in the main file." if row.only == "main" else "")
        lines.append(_row((f"`{row.key}`", row.kind.expects, default, f"`{row.key}: {row.example}`", what)))
    return "\n".join(lines) + "\n"


def _presets_table() -> str:
    flags = list(dict.fromkeys(flag for flags in PRESETS.values() for flag in flags))
    lines = [_row(["preset", *(f"`{flag}`" for flag in flags)]), _row(["---"] * (1 + len(flags)))]
    for name, values in PRESETS.items():
        lines.append(_row([f"`{name}`", *(str(values[flag]).lower() for flag in flags)]))
    return "\n".join(lines) + "\n"


def _is_literal(row: Setting) -> bool:
    """Whether the default is what one would write in the file."""
    return " " not in row.default and row.default not in ("nothing", "none")


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments: list[str]) -> None:
    """Renews the generated parts of the pages with these paths.

    Raises OSError.
    """
    for path in arguments:
        with open(path, encoding="utf-8") as stream:
            page = renewed(stream.read())
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(page)


if __name__ == "__main__":
    main(sys.argv[1:])
