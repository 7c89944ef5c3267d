"""Credentials for registries, from the files of docker and of containers (podman, skopeo), and their helpers."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from c2wtasks.errors import os_reason
from c2wtasks.oci.access import answers_at, normal
from c2wtasks.oci.imagename import DOCKER_HUB
from c2wtasks.registry.errors import RegistryError

_MAX_FILE = 4 << 20  # bytes
_HELPER_SECONDS = 60
_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # as helpers call an identity token
_REMOVE_FILE = "mend or remove it, then log in"
_INSTALL = "install it, or remove it from that file, then log in"
_MEND = "mend that, or remove it from that file, then log in"


class Secret:
    """A text that is not shown by mistake, and does not leave the process."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret stays in its process")


@dataclass(frozen=True, slots=True)
class Password:
    """A user's name and password, for Basic authentication."""

    user: str
    password: Secret

    def basic(self) -> Secret:
        """The value of an Authorization header."""
        pair = f"{self.user}:{self.password.reveal()}".encode()
        return Secret(f"Basic {base64.b64encode(pair).decode()}")


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """A token that a registry's token server takes instead of a password."""

    token: Secret


Credentials = Password | IdentityToken


class NoLogin(RegistryError):
    """Something that should tell credentials does not. `hint` ends in "log in"."""


def find(registry: str, path: str, environ: Mapping[str, str] = os.environ) -> Credentials | None:
    """The credentials for the repository `path` of `registry`: the first that there are. What cannot be read, or a
    helper that is missing, hides none that come after.

    Raises NoLogin: there are none, and what might have told some did not.
    """
    trouble = None
    named = environ.get("REGISTRY_AUTH_FILE", "")
    for file in (named,) if named else tuple(_usual_files(environ)):
        try:
            content = _read(file, must_exist=bool(named))
        except NoLogin as error:
            trouble = trouble or error
            continue
        for look in _lookups(file, content, registry, path):
            try:
                if (found := look()) is not None:
                    return found
            except NoLogin as error:
                trouble = trouble or error
    if trouble is not None:
        raise trouble
    return None


def _usual_files(environ: Mapping[str, str]) -> Iterator[str]:
    home = environ.get("HOME") or os.path.expanduser("~")
    if runtime := environ.get("XDG_RUNTIME_DIR", ""):
        yield f"{runtime}/containers/auth.json"
    elif os.path.isdir("/run/containers"):
        yield f"/run/containers/{os.getuid()}/auth.json"
    yield f"{environ.get('XDG_CONFIG_HOME') or f'{home}/.config'}/containers/auth.json"
    yield f"{environ.get('DOCKER_CONFIG') or f'{home}/.docker'}/config.json"


def _read(file: str, *, must_exist: bool) -> dict[str, Any]:
    try:
        with open(file, "rb", opener=_regular) as stream:
            content = json.loads(stream.read(_MAX_FILE) or b"{}")
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            raise NoLogin(f"$REGISTRY_AUTH_FILE names {file}, which does not exist", hint="log in") from None
        return {}
    except OSError as error:
        raise NoLogin(f"{file}: cannot be read: {os_reason(error)}", hint="mend that, then log in") from error
    except (ValueError, RecursionError):
        raise NoLogin(f"{file} is not JSON", hint=_REMOVE_FILE) from None
    if not isinstance(content, dict):
        raise NoLogin(f"{file} is not a JSON object", hint=_REMOVE_FILE)
    return content


def _regular(file: str, flags: int) -> int:
    """A descriptor of a regular file. No FIFO is opened, which would be waited for: root may read a user's file.

    Raises OSError.
    """
    descriptor = os.open(file, flags | os.O_NONBLOCK | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", file)


def _lookups(
    file: str, content: dict[str, Any], registry: str, path: str
) -> Iterator[Callable[[], Credentials | None]]:
    """What to ask for credentials, one after another: the registry's own helper, the store, the file's entries."""
    helpers = _by_plain_key(content.get("credHelpers"))
    own = [helpers[key] for key in _hosts(registry) if key in helpers]
    for helper in (*own[:1], content.get("credsStore")):
        if isinstance(helper, str) and helper:
            for name in (_HUB_KEY, registry) if registry == DOCKER_HUB else (registry,):
                yield partial(_ask_helper, file, helper, name)
    entries = _by_plain_key(content.get("auths"))
    for key in _keys(registry, path):
        if isinstance(entry := entries.get(key), dict):
            yield partial(_entry, file, key, entry)


def _hosts(registry: str) -> tuple[str, ...]:
    """What a registry may be called where something is kept for it."""
    host = normal(registry)
    return (host, f"index.{DOCKER_HUB}", answers_at(host)) if host == DOCKER_HUB else (host,)


def _keys(registry: str, path: str) -> Iterator[str]:
    """What an entry may be named, most exact first: the repository, what it lies in, the registry."""
    host, *others = _hosts(registry)
    name = f"{host}/{path}"
    while name:
        yield name
        name = name.rpartition("/")[0]
    yield from others


def _by_plain_key(table: object) -> dict[str, Any]:
    """A table by its names without what older versions of docker put around them: `https://host/v1/`. The first of
    two equal names counts."""
    plain: dict[str, Any] = {}
    for key, value in table.items() if isinstance(table, dict) else ():
        host, slash, path = re.sub(r"/v[12]/?$", "", re.sub(r"^https?://", "", key)).rstrip("/").partition("/")
        plain.setdefault(normal(host) + slash + path, value)
    return plain


def _entry(file: str, key: str, entry: dict[str, Any]) -> Credentials | None:
    unreadable = NoLogin(f"{file}: the entry of {key} cannot be read", hint="remove that entry, then log in")
    if isinstance(token := entry.get("identitytoken"), str) and token:
        if not _is_text(token):
            raise unreadable
        return IdentityToken(Secret(token))
    user, password = entry.get("username"), entry.get("password")
    if isinstance(auth := entry.get("auth"), str) and auth:
        text = "".join(auth.split()).rstrip("=")  # some programs break lines, others leave out the padding
        try:
            plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
        except (ValueError, UnicodeDecodeError):
            plain = ""
        user, colon, password = plain.rstrip("\0").partition(":")
        if not colon:
            raise unreadable
    if isinstance(user, str) and user and isinstance(password, str):
        if not _is_text(user, password):
            raise unreadable
        return Password(user, Secret(password))
    return None


def _is_text(*words: str) -> bool:
    """Whether words can be sent: JSON may state half of a character that takes two (`\\ud800`)."""
    try:
        return all(word.encode() is not None for word in words)
    except UnicodeEncodeError:
        return False


def _ask_helper(file: str, helper: str, name: str) -> Credentials | None:
    """What the program `docker-credential-<helper>` knows of `name`; None if it knows nothing."""
    program = f"docker-credential-{helper}"
    where = f"{program}, which {file} names,"
    if "/" in helper or not helper.isprintable():
        raise NoLogin(f"{where} is no name of a program", hint=_MEND)
    try:
        done = subprocess.run(
            [program, "get"],
            input=name.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # nobody knows what it tells there
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise NoLogin(f"{where} is not installed", hint=_INSTALL) from None
    except subprocess.TimeoutExpired:
        raise NoLogin(f"{where} does not answer within {_HELPER_SECONDS} s", hint=_MEND) from None
    except OSError as error:
        raise NoLogin(f"{where} cannot be run: {os_reason(error)}", hint=_MEND) from error
    if done.returncode != 0:
        if b"not found" in done.stdout:
            return None
        raise NoLogin(f"{where} failed for {name} (exit status {done.returncode})", hint=_MEND)
    try:
        said = json.loads(done.stdout)
        user, secret = said["Username"], said["Secret"]
        readable = isinstance(user, str) and isinstance(secret, str) and _is_text(user, secret)
    except (ValueError, TypeError, KeyError, RecursionError):
        readable = False
    if not readable:
        raise NoLogin(f"{where} gave no credentials that can be read", hint=_MEND)
    if not secret:
        return None
    return IdentityToken(Secret(secret)) if user == _TOKEN_USER else Password(user, Secret(secret))
