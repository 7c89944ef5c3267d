"""What authorises requests to one endpoint (distribution/spec/auth: token.md, oauth.md; RFC 7617 for Basic)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from urllib.parse import urlencode

from c2wtasks.registry import challenge
from c2wtasks.registry.challenge import Challenge
from c2wtasks.registry.credentials import Credentials, IdentityToken, Password, Secret
from c2wtasks.registry.errors import Broken, RegistryError
from c2wtasks.registry.limits import Limits
from c2wtasks.registry.wire import Body, Response, Wire, split

_CLIENT = "c2wtasks"
_MAX_TOKEN = 1 << 20


class Authority:
    """Answers the challenges of one endpoint's repository, and remembers with what. Threads may share it."""

    def __init__(self, wire: Wire, limits: Limits, label: str, scope: str, login: Callable[[], Credentials | None]):
        self._wire = wire
        self._limits = limits
        self._label = label
        self._scope = scope
        self._login = login
        self._lock = threading.Lock()
        self._header: Secret | None = None

    def header(self) -> Secret | None:
        """The Authorization header to send; None where none was asked for so far."""
        return self._header

    def renew(self, answer: Response, sent: Secret | None) -> None:
        """Makes a new header where the last was refused: `answer` has status 401, `sent` is what was sent.

        Raises Broken; RegistryError: there is nothing that would be accepted.
        """
        asked = [one for line in answer.headers.getlist("WWW-Authenticate") for one in challenge.parse(line)]
        with self._lock:
            if self._header != sent:  # another thread was faster
                return
            self._header = self._answer(asked, self._login(), sent)

    def _answer(self, asked: list[Challenge], login: Credentials | None, sent: Secret | None) -> Secret:
        for one in asked:
            if one.scheme == "bearer" and "realm" in one.parameters:
                return Secret(f"Bearer {self._token(one.parameters, login).reveal()}")
        for one in asked:
            if one.scheme == "basic" and isinstance(login, Password) and login.basic() != sent:
                return login.basic()
        raise refused(self._label, login is not None)

    def _token(self, asked: dict[str, str], login: Credentials | None) -> Secret:
        realm = asked["realm"]
        address = split(realm)[1]
        fields = {"service": asked["service"]} if asked.get("service") else {}
        fields["scope"] = asked.get("scope") or self._scope
        headers = {"Accept": "application/json"}
        if isinstance(login, IdentityToken):
            fields |= {"grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": login.token.reveal()}
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            response = self._wire.ask("POST", realm, headers, urlencode(fields))
        else:
            if login is not None:
                headers["Authorization"] = login.basic().reveal()
            joint = "&" if "?" in realm else "?"
            response = self._wire.ask("GET", f"{realm}{joint}{urlencode(fields)}", headers)
        try:
            if response.status in (429, *range(500, 600)):
                raise Broken(f"{address} gave no token (status {response.status})")
            if response.status != 200:
                raise refused(self._label, login is not None, f": {address} gave no token (status {response.status})")
            return _read_token(address, response, self._limits)
        finally:
            self._wire.discard(response)


def _read_token(address: str, response: Response, limits: Limits) -> Secret:
    body = Body(response, limits)
    text = b""
    while len(text) <= _MAX_TOKEN and (chunk := body.read(_MAX_TOKEN)):
        text += chunk
    try:
        said = json.loads(text)
        token = said.get("token") or said.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise RegistryError(f"{address} gave a token that cannot be read")
    return Secret(token)


def refused(label: str, had_login: bool, more: str = "") -> RegistryError:
    """The error where a registry lets us not read `label`."""
    host = label.partition("/")[0]
    if had_login:
        return RegistryError(
            f"{label}: the registry refuses the credentials given{more}", hint=f"log in again: skopeo login {host}"
        )
    return RegistryError(
        f"{label}: the registry lets only users read this, or there is no such image{more}",
        hint=f"log in first, for example with: skopeo login {host}",
    )
