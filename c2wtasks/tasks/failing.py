"""Tasks that cannot but fail: of an image that cannot be read, of a form that cannot be made."""

from __future__ import annotations

from c2wtasks.engine.checks import Fails
from c2wtasks.engine.meta import Meta
from c2wtasks.errors import UserError
from c2wtasks.tasks.build import Task


def task(name: str, error: UserError, product: str = "") -> Task:
    """A task that fails with `error`. `product` is what cannot be made, if it is more than a part of something."""
    return {
        "name": name,
        "doc": f"fails: {error}",
        "actions": [(_fail, [error])],
        "meta": Meta(product=product, brief=True),
        "uptodate": [Fails(str(error))],
    }


def _fail(error: UserError) -> None:
    raise error
