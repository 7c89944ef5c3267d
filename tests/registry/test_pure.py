"""What needs no network: challenges, waits, hosts, credentials' files."""

from __future__ import annotations

import base64
import json
import pickle
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.oci.access import Access, names_of
from c2wtasks.oci.host import Host
from c2wtasks.oci.imagename import Repository
from c2wtasks.registry import credentials, proxies, wire
from c2wtasks.registry.challenge import Challenge, parse, parse_all
from c2wtasks.registry.credentials import IdentityToken, NoLogin, Password, Secret
from c2wtasks.registry.errors import RegistryError
from c2wtasks.registry.limits import Limits, retry_after
from c2wtasks.telling.notices import tell


@pytest.mark.parametrize(
    ("address", "no_proxy", "want"),
    [
        ("10.1.2.3:5000", "10.0.0.0/8", True),
        ("10.1.2.3", "a.example, 10.1.2.3", True),
        ("11.1.2.3:5000", "10.0.0.0/8", False),
        ("[fd00::1]:5000", "10.0.0.0/8,fd00::/8", True),
        ("registry.example", "10.0.0.0/8", False),
        ("registry.example", "no/8,.example", True),
        ("127.0.0.1:5000", "", True),
    ],
)
def test_no_proxy(monkeypatch: pytest.MonkeyPatch, address: str, no_proxy: str, want: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxies.proxy_for("https", address) == (None if want else "http://proxy.example")


def test_certificates_of_docker_hub_may_lie_under_either_name() -> None:
    assert names_of("registry-1.docker.io") == ("registry-1.docker.io", "registry-1.docker.io:443", "docker.io")
    assert names_of("Registry.Example:443") == ("Registry.Example:443", "registry.example", "registry.example:443")
    assert names_of("registry.example:5000") == ("registry.example:5000",)


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://a/token",service="r",scope="repository:a/b:pull,push"',
            [Challenge("bearer", {"realm": "https://a/token", "service": "r", "scope": "repository:a/b:pull,push"})],
        ),
        ('BEARER Realm = "a\\"b" , x=y', [Challenge("bearer", {"realm": 'a"b', "x": "y"})]),
        (
            'Basic realm="x", Bearer realm="y"',
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y"})],
        ),
        ("Negotiate, Basic realm=x", [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        ('Negotiate abc==, Basic realm="x"', [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        ("Bearer a=b," + " " * 10_000 + ";", [Challenge("bearer", {"a": "b"})]),
        ("", []),
        ('"', []),
    ],
)
def test_challenges(header: str, want: list[Challenge]) -> None:
    assert parse(header) == want


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (None, None),
        ("7", 7),
        (" 0 ", 0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("Thu, 01 Jan 1970 00:16:45 GMT", 5),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("9" * 5000, 999_999_999),
        ("\xb2", None),
        (", Jan 9999 00:00:60 99999999999999999999", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("Thu, 01 Jan 1970 00:16:45 +99999999999999", None),
        ("nan", None),
    ],
)
def test_retry_after(value: str | None, want: float | None) -> None:
    assert retry_after(value, now=1000) == want


@given(st.text(alphabet='aB:=,"\\ \t;+09.GMT', max_size=60))
def test_headers_of_any_text(text: str) -> None:
    parse(text)
    wait = retry_after(text, now=1000)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    "text", [" " * 60_000 + ";", "a " * 30_000, 'a="' * 20_000, "=" * 60_000, 'a b="' + '\\"' * 30_000]
)
def test_long_challenges_are_bounded(text: str) -> None:
    assert len(parse_all([f"Bearer a=b,{text}"] * 1000)) <= 200_000


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("https://h:443/x", ("https", "h")),
        ("HTTPS://H/x", ("https", "h")),
        ("http://h:80", ("http", "h")),
        ("http://h:443", ("http", "h:443")),
        ("https://[::1]:443/x", ("https", "[::1]")),
        ("https://h:5000", ("https", "h:5000")),
    ],
)
def test_one_name_for_one_host(url: str, want: tuple[str, str]) -> None:
    assert wire.split(url) == want


def test_pauses_grow_and_end() -> None:
    limits = Limits(first_pause=1, longest_pause=10)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (500, 10)):
        pauses = [limits.pause(failures) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


def test_what_is_said_of_a_host_counts_however_it_is_written() -> None:
    access = Access((("Registry.Example:443", Host(insecure=True)),))
    assert [access.may_be_plain(name) for name in ("registry.example", "registry.example:443", "other.example")] == [
        True,
        True,
        False,
    ]


def test_endpoints() -> None:
    access = Access((("docker.io", Host(mirrors=("m.example", "p.example:5000/hub"))), ("x:1", Host(insecure=True))))
    found = [(one.address, one.path, one.registry) for one in access.endpoints(Repository("docker.io", "library/a"))]
    assert found == [
        ("m.example", "library/a", "m.example"),
        ("p.example:5000", "hub/library/a", "p.example:5000"),
        ("registry-1.docker.io", "library/a", "docker.io"),
    ]
    plain = ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "x:1"]
    assert [address for address in plain if not access.may_be_plain(address)] == []
    tls = ["x", "x:2", "localhost.example", "128.0.0.1", "docker.io", "127.example"]
    assert [address for address in tls if access.may_be_plain(address)] == []
    assert pickle.loads(pickle.dumps(access)) == access


def auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def files(folder: Path, **by_kind: object) -> dict[str, str]:
    """An environment whose files of credentials are these: registry_auth_file, runtime, home, docker."""
    places = {
        "registry_auth_file": folder / "auth.json",
        "runtime": folder / "run/containers/auth.json",
        "home": folder / "home/.config/containers/auth.json",
        "docker": folder / "docker/config.json",
    }
    for kind, content in by_kind.items():
        places[kind].parent.mkdir(parents=True, exist_ok=True)
        places[kind].write_text(content if isinstance(content, str) else json.dumps(content))
    environ = {
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "HOME": str(folder / "home"),
        "DOCKER_CONFIG": str(folder / "docker"),
    }
    return environ | ({"REGISTRY_AUTH_FILE": str(folder / "auth.json")} if "registry_auth_file" in by_kind else {})


def one(host: str, text: str) -> dict[str, object]:
    return {"auths": {host: {"auth": auth(text)}}}


def test_which_file_counts(tmp_path: Path) -> None:
    environ = files(tmp_path, docker=one("h", "d:1"))
    assert credentials.find("h", "a", environ) == Password("d", Secret("1"))
    assert credentials.find("other", "a", environ) is None
    environ = files(tmp_path, home=one("h", "c:2"), runtime=one("x", "r:3"))
    assert credentials.find("h", "a", environ) == Password("c", Secret("2"))
    environ = files(tmp_path, runtime=one("h", "r:3"))
    assert credentials.find("h", "a", environ) == Password("r", Secret("3"))
    environ = files(tmp_path, registry_auth_file=one("x", "f:4"))
    assert credentials.find("h", "a", environ) is None, "no other file is looked at"
    assert credentials.find("x", "a", environ) == Password("f", Secret("4"))


@pytest.mark.parametrize(
    ("key", "registry", "path", "found"),
    [
        ("h:5000", "h:5000", "a", True),
        ("h", "h:5000", "a", False),
        ("https://h/v1/", "h", "a", True),
        ("https://h/v2/", "h", "a", True),
        ("http://h", "h", "a", True),
        ("h/team", "h", "team/app", True),
        ("h/team", "h", "team2/app", False),
        ("h/team/app", "h", "team/app", True),
        ("https://index.docker.io/v1/", "docker.io", "library/a", True),
        ("docker.io", "docker.io", "library/a", True),
        ("index.docker.io", "docker.io", "library/a", True),
        ("registry-1.docker.io", "docker.io", "library/a", True),
        ("https://H.example:443/v1/", "h.example", "a", True),
        ("h.example", "h.example:443", "a", True),
        ("h.example:443/team", "h.example", "team/app", True),
    ],
)
def test_keys(tmp_path: Path, key: str, registry: str, path: str, found: bool) -> None:
    environ = files(tmp_path, docker=one(key, "u:p:q"))
    want = Password("u", Secret("p:q")) if found else None
    assert credentials.find(registry, path, environ) == want


def test_the_most_exact_entry_counts(tmp_path: Path) -> None:
    auths = {"h": {"auth": auth("u:1")}, "h/a": {"auth": auth("u:2")}, "h/a/b": {"username": "u", "password": "3"}}
    environ = files(tmp_path, docker={"auths": auths})
    for path, password in (("x", "1"), ("a/x", "2"), ("a/b", "3")):
        assert credentials.find("h", path, environ) == Password("u", Secret(password))


HELPERS = {
    "https://h.example/v1/": "h.example",
    "http://h.example": "h.example",
    "h.example": "h.example:443",
    "https://index.docker.io/v1/": "docker.io",
    "index.docker.io": "docker.io",
    "docker.io": "docker.io",
}


@pytest.mark.parametrize("key", HELPERS)
def test_keys_of_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    helper(tmp_path / "bin", "kept", 'echo "{\\"Username\\": \\"u\\", \\"Secret\\": \\"s\\"}"')
    environ = files(tmp_path, docker={"credHelpers": {key: "kept"}})
    assert credentials.find(HELPERS[key], "a", environ) == Password("u", Secret("s"))
    assert credentials.find("other.example", "a", environ) is None


@pytest.mark.parametrize("stored", ["https://index.docker.io/v1/", "docker.io"])
def test_helpers_that_know_docker_hub_by_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    unknown = 'echo "credentials not found in native keychain"; exit 1;'
    known = 'echo "{\\"Username\\": \\"u\\", \\"Secret\\": \\"s\\"}"'
    helper(tmp_path / "bin", "kept", f"[ $host = {stored} ] || {{ {unknown} }}\n{known}")
    for table in ({"credsStore": "kept"}, {"credHelpers": {"docker.io": "kept"}}):
        assert credentials.find("docker.io", "a", files(tmp_path, docker=table)) == Password("u", Secret("s"))


@pytest.mark.parametrize(
    "broken",
    [
        {"credsStore": "that-is-not-there"},
        {"credHelpers": {"h": "that-is-not-there"}},
        {"credsStore": "../x"},
        {"credsStore": "bad"},
        {"credsStore": "list"},
        {"credsStore": "half"},
        {"auths": {"h/a": {"auth": "geheim!"}}},
        {"auths": {"h/a": {"username": "u", "password": "half of a character: \ud800"}}},
        {"auths": {"h/a": {"identitytoken": "\ud800"}}},
    ],
    ids=str,
)
def test_what_fails_hides_no_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: dict[str, object]
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    helper(tmp_path / "bin", "bad", "exit 2")
    helper(tmp_path / "bin", "half", 'echo "{\\"Username\\": \\"u\\", \\"Secret\\": \\"\\\\ud800\\"}"')
    helper(tmp_path / "bin", "list", 'echo "{\\"Username\\": 1, \\"Secret\\": []}"')
    with pytest.raises(NoLogin) as caught:
        credentials.find("h", "a", files(tmp_path, runtime=broken))
    assert str(caught.value.hint).endswith("log in")
    good = one("h", "u:p")
    beside = {**broken, "auths": {**broken.get("auths", {}), **good["auths"]}}  # type: ignore[dict-item]
    assert credentials.find("h", "a", files(tmp_path, runtime=beside)) == Password("u", Secret("p"))
    assert credentials.find("h", "a", files(tmp_path, runtime=broken, docker=good)) == Password("u", Secret("p"))
    for content in ("{x", "[" * 100_000, "[]"):
        environ = files(tmp_path, runtime=content, docker=good)
        assert credentials.find("h", "a", environ) == Password("u", Secret("p"))


@pytest.mark.parametrize("text", ["u:p", "user:pass", "user:passw", "u:" + "p" * 100])
def test_base64_as_it_is(tmp_path: Path, text: str) -> None:
    proper = auth(text)
    want = Password(*text.split(":")[:1], Secret(text.partition(":")[2]))
    for written in (
        proper,
        proper.rstrip("="),
        f"{proper}\n",
        "\r\n".join(re.findall(".{1,8}", proper)),
        f" {proper}",
    ):
        environ = files(tmp_path, docker={"auths": {"h": {"auth": written}}})
        assert credentials.find("h", "a", environ) == want


def test_identity_token(tmp_path: Path) -> None:
    environ = files(tmp_path, docker={"auths": {"h": {"auth": auth("u:"), "identitytoken": "t"}}})
    assert credentials.find("h", "a", environ) == IdentityToken(Secret("t"))


def helper(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n[ $1 = get ] || exit 9\nread host\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    helper(tmp_path / "bin", "some", '[ $host = h ] || { echo "credentials not found"; exit 1; }')
    helper(tmp_path / "bin", "user", 'echo "{\\"Username\\": \\"$host\\", \\"Secret\\": \\"s\\"}"')
    helper(tmp_path / "bin", "token", 'echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"s\\"}"')
    helper(tmp_path / "bin", "bad", "echo geheim; echo geheim >&2; exit 2")
    helper(tmp_path / "bin", "odd", "echo geheim")
    environ = files(
        tmp_path,
        docker={
            "credHelpers": {"t": "token", "b": "bad", "o": "odd", "n": "none", "docker.io": "user"}
            | {"p": "../x", "q": "x\0", "r": "\ud800"},
            "credsStore": "some",
            "auths": {"f": {"auth": auth("u:p")}},
        },
    )
    assert credentials.find("t", "a", environ) == IdentityToken(Secret("s"))
    assert credentials.find("docker.io", "a", environ) == Password("https://index.docker.io/v1/", Secret("s"))
    assert credentials.find("f", "a", environ) == Password("u", Secret("p")), "the store knows nothing of it"
    for host, message in {"b": "exit status 2", "o": "no credentials that can be read", "n": "not installed"}.items():
        with pytest.raises(RegistryError, match=message) as caught:
            credentials.find(host, "a", environ)
        assert "geheim" not in str(caught.value)
    for host in ("p", "q", "r"):
        with pytest.raises(RegistryError, match="no name of a program"):
            credentials.find(host, "a", environ)


@pytest.mark.parametrize("text", ["{geheim", '"geheim"', '{"auths": {"h": {"auth": "geheim!"}}}'])
def test_bad_files(tmp_path: Path, text: str) -> None:
    with pytest.raises(RegistryError, match=r"config\.json") as caught:
        credentials.find("h", "a", files(tmp_path, docker=text))
    assert "geheim" not in str(caught.value).replace(str(tmp_path), "")


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="does not exist"):
        credentials.find("h", "a", {"REGISTRY_AUTH_FILE": f"{tmp_path}/none"})


def test_secrets_stay_hidden() -> None:
    login = Password("u", Secret("geheim"))
    assert "geheim" not in repr(login) + str(login) + f"{login.basic()}" + repr(IdentityToken(Secret("geheim")))
    with pytest.raises(TypeError):
        pickle.dumps(login)


def test_what_is_told_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell("a\n\x1b" + "x" * 10**5)
    said = capsys.readouterr().err
    assert said.startswith("a\\n\\x1bxx")
    assert said.count("\n") == 1
    assert len(said) <= 2001
