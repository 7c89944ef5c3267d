"""What a forked process answers to whoever has forked it: a result, or an error in words."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from c2wtasks.errors import UserError
from c2wtasks.process.unexpected import as_user_error


def answer(call: Callable[[], Any]) -> bytes:
    """What the call returns, or raises, to be read by `pickle.loads`: (None, result), or (UserError, None)."""
    try:
        return pickle.dumps((None, call()))
    except BaseException as error:
        told = as_user_error(error)
        try:
            return pickle.dumps((told, None))
        except Exception:  # it holds something that cannot pass
            return pickle.dumps((UserError(str(told)), None))
