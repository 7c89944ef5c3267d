"""What authorises requests to one endpoint (distribution/spec/auth: token.md, oauth.md; RFC 7617 for Basic)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from c2wtasks.registry import challenge
from c2wtasks.registry.answers import came, shown
from c2wtasks.registry.challenge import Challenge
from c2wtasks.registry.credentials import Credentials, IdentityToken, NoLogin, Password, Secret
from c2wtasks.registry.errors import Broken, RegistryError
from c2wtasks.registry.limits import Limits, retry_after
from c2wtasks.registry.patience import tell_once
from c2wtasks.registry.wire import MAX_REDIRECTS, Body, Response, Wire, next_hop, split

_CLIENT = "c2wtasks"
_MAX_TOKEN = 1 << 20
_WAYS = ("basic", "bearer")
_MAX_WAYS, _MAX_WAY = 5, 40  # that are named, and characters of each


class Authority:
    """Answers the challenges of one host for one repository, and remembers with what. Threads may share it.

    `label` is how messages call the repository, `host` what credentials for it are kept under, `plain` whether it is
    spoken to without TLS.
    """

    def __init__(
        self,
        wire: Wire,
        limits: Limits,
        label: str,
        host: str,
        plain: bool,
        scope: str,
        login: Callable[[], Credentials | None],
    ):
        self.label = label
        self._wire = wire
        self._limits = limits
        self._host = host
        self._to_login = f"skopeo login {'--tls-verify=false ' if plain else ''}{host}"
        self._scope = scope
        self._login = login
        self._lock = threading.Lock()
        self._header: Secret | None = None
        self._had_login = False
        self._trouble: NoLogin | None = None

    def header(self) -> Secret | None:
        """The Authorization header to send; None where none was asked for so far."""
        return self._header

    def renew(self, answer: Response, sent: Secret | None) -> bool:
        """Makes a new header where the last was refused: `answer` has status 401, `sent` is what was sent. False:
        there is nothing that might be accepted.

        Raises Broken; RegistryError: no token is given.
        """
        asked = challenge.parse_all(answer.headers.getlist("WWW-Authenticate"))
        if not asked:
            return False
        with self._lock:
            if self._header == sent:  # else another thread was faster
                self._header = self._answer(asked, sent)
            return self._header != sent

    def refusal(self, where: str, answer: Response, host: str = "", *, writes: bool = False) -> RegistryError:
        """The error where `answer` is all there is, whatever is sent along. `where`: what was asked, for messages;
        `host`: who answers, if that is another; `writes`: something was to be written."""
        does, or_no_image = ("write", "") if writes else ("read", ", or there is no such image")
        what = f"({came(answer)}, {where})"
        asked = challenge.parse_all(answer.headers.getlist("WWW-Authenticate"))
        if asked and answer.status == 401 and not any(one.scheme in _WAYS for one in asked):
            ways = " and ".join(dict.fromkeys(one.scheme[:_MAX_WAY] for one in asked[:_MAX_WAYS]))
            return RegistryError(
                f"{self.label}: {host or self._host} asks to sign in by {ways}, which is not supported; basic and "
                f"bearer are {what}",
                hint="have it take one of these, or copy the image to a registry that does",
            )
        if self._trouble is not None:
            return RegistryError(
                f"{self.label}: the registry lets only users {does} this {what}, and {self._trouble.message}",
                hint=f"{self._trouble.hint}: {self._to_login}",
            )
        if not self._had_login:
            return RegistryError(
                f"{self.label}: the registry lets only users {does} this{or_no_image} {what}",
                hint=f"log in first, for example with: {self._to_login}",
            )
        if answer.status == 403 or self._is_bearer():  # whose login was good
            return RegistryError(
                f"{self.label}: who is logged in may not {does} this{or_no_image} {what}",
                hint=f"have it allowed, or log in as another user: {self._to_login}",
            )
        return RegistryError(
            f"{self.label}: the registry refuses the credentials given {what}", hint=f"log in again: {self._to_login}"
        )

    def _is_bearer(self) -> bool:
        return self._header is not None and self._header.reveal().startswith("Bearer ")

    def _answer(self, asked: list[Challenge], sent: Secret | None) -> Secret | None:
        login = self._find_login()
        for one in asked:
            if one.scheme == "bearer" and "realm" in one.parameters:
                return Secret(f"Bearer {self._token(one.parameters, login).reveal()}")
        if any(one.scheme == "basic" for one in asked) and isinstance(login, Password):
            return login.basic()
        return sent

    def _find_login(self) -> Credentials | None:
        self._trouble = None
        login = None
        try:
            login = self._login()
        except NoLogin as error:
            self._trouble = error
            tell_once(f"{self._host}: asked without credentials: {error.message}")
        self._had_login = login is not None
        return login

    def _token(self, asked: Mapping[str, str], login: Credentials | None) -> Secret:
        realm = asked["realm"]
        address = split(realm, self.label)[1]
        fields = {"service": asked["service"]} if asked.get("service") else {}
        fields["scope"] = asked.get("scope") or self._scope
        url, form, basic = realm, "", None
        if isinstance(login, IdentityToken):
            fields |= {"grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": login.token.reveal()}
            form = urlencode(fields)
        else:
            basic = login.basic() if login is not None else None
            url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(fields)}"
        try:
            response, url = self._ask_for_token(url, form, basic)
        except Broken as error:
            raise Broken(f"{address} gave no token: {error.reason}", once=error.once, hint=error.hint) from None
        try:
            status = response.status
            if status in (429, *range(500, 600)):
                wait = retry_after(response.headers.get("Retry-After"), time.time())
                raise Broken(f"{address} gave no token (status {status})", wait=wait)
            if status in (400, 401, 403):
                raise self.refusal(shown(url), response, address)
            if status != 200:
                raise RegistryError(f"{self.label}: {address} gave no token ({came(response)}, {shown(url)})")
            return self._read_token(address, url, response)
        finally:
            self._wire.discard(response)

    def _ask_for_token(self, url: str, form: str, basic: Secret | None) -> tuple[Response, str]:
        """The answer of the server of tokens, and the URL that gave it. Where it sends on, credentials go along only
        to the same host, and never from https to http."""
        for _ in range(MAX_REDIRECTS + 1):
            headers = {"Accept": "application/json"}
            if basic is not None:
                headers["Authorization"] = basic.reveal()
            if form:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            response = self._wire.ask("POST" if form else "GET", url, headers, form or None)
            target = next_hop(response, url)
            if target is None:
                return response, url
            self._wire.discard(response)
            (scheme, address), (next_scheme, next_address) = split(url), split(target)
            if address != next_address or (scheme, next_scheme) == ("https", "http"):
                if form:
                    there = f"{next_scheme}://{next_address}"
                    raise RegistryError(
                        f"{self.label}: {address} sends on to {there} for a token: the identity token stays here"
                    )
                basic = None
            url = target
        raise RegistryError(f"{self.label}: {split(url)[1]} redirects more than {MAX_REDIRECTS} times")

    def _read_token(self, address: str, url: str, response: Response) -> Secret:
        body = Body(response, self._limits)
        text = b""
        while len(text) <= _MAX_TOKEN and (chunk := body.read(_MAX_TOKEN)):
            text += chunk
        try:
            said = json.loads(text)
            token = said.get("token") or said.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RegistryError(
                f"{self.label}: {address} gave a token that cannot be read ({came(response)}, {shown(url)})"
            )
        return Secret(token)
