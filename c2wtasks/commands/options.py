"""Options that several commands take, as doit declares them."""

from __future__ import annotations

JSON = {"name": "as_json", "long": "json", "type": bool, "default": False, "help": "for a program: one JSON object"}
DRY_RUN = {
    "name": "dry_run",
    "long": "dry-run",
    "type": bool,
    "default": False,
    "help": "say what would be removed, and remove nothing",
}
YES = {
    "name": "yes",
    "short": "y",
    "long": "yes",
    "type": bool,
    "default": False,
    "help": "of our kind of dodo: remove all without asking, where no names are given",
}
