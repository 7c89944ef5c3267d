"""catalog.html: one file with all that it needs, useful without its script, and with a policy that lets nothing else
run or load."""

from __future__ import annotations

import base64
import hashlib
import os

import jinja2
import msgspec
from markupsafe import Markup

from c2wtasks.errors import some_of
from c2wtasks.page.model import Contents, Page
from c2wtasks.page.sharing import picture
from c2wtasks.telling.sizes import human

IN_FULL = 200
"""So many bundles, at the most, are told of in full without a script, too."""
_NAMED = 6
_RECORDS = frozenset(
    {"image.json", "spec.json", "initconfig.json", "packages.json", "sbom.spdx.json", "sbom.cdx.json"}
)
_FOLDER = os.path.join(os.path.dirname(__file__), "templates")


def render(page: Page) -> bytes:
    """The text of catalog.html: equal for equal pages."""
    css, js = _text("page.css"), _text("page.js")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(js)}",
            f"style-src {_hash(css)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    bundles = page.contents.bundles
    text = environment().get_template("page.html")
    return text.render(
        page=page,
        bundles=bundles,
        failed=[bundle for bundle in bundles if bundle.state == "failed"],
        missing=sum(bundle.state == "missing" for bundle in bundles),
        in_full=IN_FULL,
        records=_RECORDS,
        picture=picture(page.contents),
        data=_json(page.contents),
        css=Markup(css),  # ours, and hashed as it stands
        js=Markup(js),
        policy=policy,
    ).encode()


def environment() -> jinja2.Environment:
    """How our templates are read: all text from data is escaped, and a name that is not there is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"human": human, "number": _number, "day": day, "date": _date, "short": short, "some": _some}
    return made


def day(when: str) -> str:
    """`2026-11-28 02:13` of a time as records have it."""
    return when[:16].replace("T", " ")


def short(digest: str) -> str:
    """The first 12 digits of a digest."""
    return digest.rpartition(":")[2][:12]


def _date(when: str) -> str:
    return when[:10]


def _number(count: int) -> str:
    return f"{count:,}"


def _some(names: tuple[str, ...]) -> str:
    return some_of(names, _NAMED)


def _json(contents: Contents) -> Markup:
    """JSON that may stand in a script element: nothing in it ends that, or begins a comment."""
    text = msgspec.json.encode(contents).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _text(name: str) -> str:
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as stream:
        return stream.read()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
