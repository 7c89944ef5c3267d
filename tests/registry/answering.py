"""What the shops of these tests answer, for their `odd`."""

from __future__ import annotations

import base64
from collections.abc import Callable

from tests.support.registries import PASSWORD, USER
from tests.support.shops import Reply, Request

BASIC = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
PAGE = Reply(200, b"<!DOCTYPE html><title>Gallery</title>", {"Content-Type": "text/html; charset=utf-8"})


def asks_for(authorization: str) -> Callable[[Request], Reply | None]:
    """Lets in who sends that, and asks all others for a password."""
    challenge = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    return lambda asked: None if asked.authorization == authorization else challenge


def bearer(realm: str) -> Callable[[Request], Reply | None]:
    challenge = Reply(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})
    return lambda asked: None if asked.authorization == "Bearer t" else challenge


def gives_tokens(asked: Request) -> Reply | None:
    if asked.path.startswith("/old"):
        return Reply(307, headers={"Location": asked.path.replace("/old", "/token")})
    return Reply(200, b'{"token": "t"}') if asked.path.startswith("/token") else None
