"""Credentials for registries, from the files of docker and of containers (podman, skopeo), and their helpers."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from c2wtasks.errors import os_reason
from c2wtasks.oci.imagename import DOCKER_HUB
from c2wtasks.registry.errors import RegistryError

_MAX_FILE = 4 << 20
_HELPER_SECONDS = 60
_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # as helpers call an identity token


class Secret:
    """A text that is not shown by mistake, and does not leave the process."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
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
    user: str
    password: Secret

    def basic(self) -> Secret:
        """The value of an Authorization header."""
        pair = f"{self.user}:{self.password.reveal()}".encode()
        return Secret(f"Basic {base64.b64encode(pair).decode()}")


@dataclass(frozen=True, slots=True)
class IdentityToken:
    token: Secret


Credentials = Password | IdentityToken


def find(registry: str, path: str, environ: Mapping[str, str] = os.environ) -> Credentials | None:
    """The credentials for the repository `path` of `registry`: of the first file that has any.

    Raises RegistryError: a file cannot be read, or a helper fails.
    """
    named = environ.get("REGISTRY_AUTH_FILE", "")
    for file in (named,) if named else tuple(_usual_files(environ)):
        content = _read(file, must_exist=bool(named))
        if content is not None and (found := _find_in(file, content, registry, path)) is not None:
            return found
    return None


def _usual_files(environ: Mapping[str, str]) -> Iterator[str]:
    home = environ.get("HOME") or os.path.expanduser("~")
    if runtime := environ.get("XDG_RUNTIME_DIR", ""):
        yield f"{runtime}/containers/auth.json"
    elif os.path.isdir("/run/containers"):
        yield f"/run/containers/{os.getuid()}/auth.json"
    yield f"{environ.get('XDG_CONFIG_HOME') or f'{home}/.config'}/containers/auth.json"
    yield f"{environ.get('DOCKER_CONFIG') or f'{home}/.docker'}/config.json"


def _read(file: str, *, must_exist: bool) -> dict[str, Any] | None:
    try:
        with open(file, "rb") as stream:
            content = json.loads(stream.read(_MAX_FILE) or b"{}")
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            raise RegistryError(f"$REGISTRY_AUTH_FILE names {file}, which does not exist") from None
        return None
    except OSError as error:
        raise RegistryError(f"{file}: cannot be read: {os_reason(error)}") from error
    except ValueError:
        raise RegistryError(f"{file} is not JSON", hint="log in again, with skopeo login or docker login") from None
    if not isinstance(content, dict):
        raise RegistryError(f"{file} is not a JSON object", hint="log in again, with skopeo login or docker login")
    return content


def _find_in(file: str, content: dict[str, Any], registry: str, path: str) -> Credentials | None:
    helpers = content.get("credHelpers")
    own = helpers.get(registry) if isinstance(helpers, dict) else None
    for helper in (own, content.get("credsStore")):
        if isinstance(helper, str) and helper and (found := _ask_helper(file, helper, registry)) is not None:
            return found
    auths = content.get("auths")
    entries = {_plain_key(key): value for key, value in auths.items()} if isinstance(auths, dict) else {}
    for key in _keys(registry, path):
        if isinstance(entry := entries.get(key), dict) and (found := _entry(file, key, entry)) is not None:
            return found
    return None


def _keys(registry: str, path: str) -> Iterator[str]:
    """What an entry may be named, most exact first: the repository, what it lies in, the registry."""
    name = f"{registry}/{path}"
    while name:
        yield name
        name = name.rpartition("/")[0]
    if registry == DOCKER_HUB:
        yield f"index.{DOCKER_HUB}"


def _plain_key(key: str) -> str:
    """An entry's name without what older versions of docker put around it: `https://host/v1/`."""
    return re.sub(r"/v[12]/?$", "", re.sub(r"^https?://", "", key)).rstrip("/")


def _entry(file: str, key: str, entry: dict[str, Any]) -> Credentials | None:
    if isinstance(token := entry.get("identitytoken"), str) and token:
        return IdentityToken(Secret(token))
    user, password = entry.get("username"), entry.get("password")
    if isinstance(auth := entry.get("auth"), str) and auth:
        try:
            user, colon, password = base64.b64decode(auth, validate=True).decode().rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if not colon:
            raise RegistryError(f"{file}: the entry of {key} cannot be read", hint="log in again") from None
    if isinstance(user, str) and user and isinstance(password, str):
        return Password(user, Secret(password))
    return None


def _ask_helper(file: str, helper: str, registry: str) -> Credentials | None:
    """What the program `docker-credential-<helper>` knows of `registry`; None if it knows nothing."""
    program = f"docker-credential-{helper}"
    where = f"{program}, which {file} names,"
    if "/" in helper:
        raise RegistryError(f"{where} is no name of a program")
    key = _HUB_KEY if registry == DOCKER_HUB else registry
    try:
        done = subprocess.run(
            [program, "get"],
            input=key.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # nobody knows what it tells there
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise RegistryError(f"{where} is not installed") from None
    except subprocess.TimeoutExpired:
        raise RegistryError(f"{where} does not answer within {_HELPER_SECONDS} s") from None
    except OSError as error:
        raise RegistryError(f"{where} cannot be run: {os_reason(error)}") from error
    if done.returncode != 0:
        if b"not found" in done.stdout:
            return None
        raise RegistryError(f"{where} failed for {registry} (exit status {done.returncode})")
    try:
        said = json.loads(done.stdout)
        user, secret = said["Username"], said["Secret"]
    except (ValueError, TypeError, KeyError):
        raise RegistryError(f"{where} gave no credentials that can be read") from None
    if not secret:
        return None
    return IdentityToken(Secret(secret)) if user == _TOKEN_USER else Password(user, Secret(secret))
