"""Tasks that cannot but fail: of an image that cannot be read, of a form that cannot be made."""

from __future__ import annotations

from c2wtasks.engine.checks import Fails
from c2wtasks.errors import UserError
from c2wtasks.tasks.build import Task


def task(name: str, error: UserError) -> Task:
    return {
        "name": name,
        "doc": f"fails: {error}",
        "actions": [(_fail, [error])],
        "uptodate": [Fails(str(error))],
    }


def _fail(error: UserError) -> None:
    raise error
