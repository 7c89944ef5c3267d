"""catalog.html in a real browser: found, sorted, opened, copied; without a script; narrow and dark; nothing is asked
for, nothing on the console, and no text of an image does anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
from playwright.sync_api import Browser

from c2wtasks.graph.showing import write
from c2wtasks.output import listing
from c2wtasks.output.listing import Line
from tests.support import outputs
from tests.support.browser import WHY_NOT, Seen, browser
from tests.support.outputs import Package

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

AXE = Path(axe_core_python.__file__).parent / "axe.min.js"
ON_PAGE = 120


def shown(output: Path) -> Path:
    """The page of a generated output."""
    write(str(output), "Our catalog", "0" * 32, listing.lines((output / "catalog.json").read_bytes()))
    return output / "catalog.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("page") / "bundles"
    outputs.generate(output, ON_PAGE)
    return shown(output)


def quiet(seen: Seen, page: Path) -> None:
    """Nothing was said, and nothing asked for but the page itself."""
    assert seen.said == []
    assert [
        one for one in seen.asked if not one.startswith(page.resolve().as_uri()) and not one.startswith("data:")
    ] == []
    seen.context.close()


def names(seen: Seen) -> list[str]:
    return seen.texts("tr.bundle .open-it")


def test_all_is_found_by_typing(chromium: Browser, page: Path) -> None:
    seen = Seen(chromium, page)
    assert seen.texts("#count") == [f"{ON_PAGE + 1} bundles"]
    assert len(names(seen)) == 50
    seen.page.click("#more button")
    assert len(names(seen)) == ON_PAGE + 1
    seen.page.fill("#find", "shop-web ARM64")
    assert names(seen) == ["shop-web"]
    assert seen.texts("#count") == [f"1 of {ON_PAGE + 1} bundles"]
    assert seen.page.url.endswith("#q=shop-web+ARM64")
    seen.page.fill("#find", "no such thing")
    assert (names(seen), seen.page.is_visible("#empty")) == ([], True)
    seen.page.fill("#find", "")
    seen.page.select_option("#state", "failed")
    assert set(seen.texts("tr.bundle .state")) == {"failed"}
    quiet(seen, page)


def test_packages_are_found_where_that_is_wanted(chromium: Browser, page: Path) -> None:
    seen = Seen(chromium, page)
    seen.page.click("tr.bundle .open-it")
    seen.page.locator("tr.detail details", has_text="Layer 5").locator("summary").click()
    package = seen.page.locator("tr.detail .packages strong").first.inner_text()
    seen.page.fill("#find", package)
    assert names(seen) == []
    seen.page.check("#inside")
    assert 0 < len(names(seen)) <= 4
    assert seen.page.url.endswith(f"#q={package}&open=billing-api%40linux%2Famd64&inside=1")
    quiet(seen, page)


def test_it_is_sorted_and_the_address_keeps_the_view(chromium: Browser, page: Path) -> None:
    seen = Seen(chromium, page)
    seen.page.click("th[data-sort=size] button")
    assert seen.page.get_attribute("th[data-sort=size]", "aria-sort") == "descending"
    largest = names(seen)
    seen.page.click("th[data-sort=size] button")
    assert seen.page.get_attribute("th[data-sort=size]", "aria-sort") == "ascending"
    assert names(seen)[0] == "never"
    seen.page.click("th[data-sort=size] button")
    assert seen.page.get_attribute("th[data-sort=size]", "aria-sort") is None
    assert names(seen) == sorted(names(seen)) != largest
    quiet(seen, page)
    again = Seen(chromium, page, "#sort=-size&state=built&open=shop-web%40linux%2Farm64")
    assert names(again)[0] == largest[0]
    assert again.page.locator("tr.detail").count() == 1
    quiet(again, page)


def test_what_is_no_view_in_an_address_is_passed_over(chromium: Browser, page: Path) -> None:
    seen = Seen(chromium, page, "#sort=constructor&state=__proto__&platform=%3Cscript%3E&open=x&q=%")
    assert seen.texts("#count") == [f"0 of {ON_PAGE + 1} bundles"]
    quiet(seen, page)


def test_a_bundle_is_opened_and_closed_by_keys(chromium: Browser, page: Path) -> None:
    seen = Seen(chromium, page)
    seen.page.focus("tr.bundle .open-it")
    seen.page.keyboard.press("Enter")
    assert seen.page.get_attribute("tr.bundle .open-it", "aria-expanded") == "true"
    (text,) = seen.texts("tr.detail")
    for said in (
        "shared with",
        "its own",
        "docker://registry.example/",
        "rootfs.tar.zst",
        "/usr/bin/serve --port",
        "changed",
    ):
        assert said in text
    assert [one.get_attribute("href") for one in seen.page.locator("tr.detail .links a").all()][:2] == [
        "billing-api/linux-amd64/bundle.json",
        "billing-api/linux-amd64/SHA256SUMS",
    ]
    seen.page.keyboard.press("Escape")
    assert seen.page.locator("tr.detail").count() == 0
    assert seen.page.evaluate("document.activeElement.className") == "open-it"
    quiet(seen, page)


def test_a_digest_is_copied(chromium: Browser, page: Path) -> None:
    seen = Seen(chromium, page, permissions=["clipboard-read", "clipboard-write"])
    seen.page.click("tr.bundle .copy")
    seen.page.wait_for_selector("text=copied")
    copied = seen.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("sha256:") and len(copied) == 71
    assert seen.texts("tr.bundle code")[0] == copied[7:19]
    quiet(seen, page)


def test_it_is_useful_without_a_script(chromium: Browser, page: Path) -> None:
    seen = Seen(chromium, page, java_script_enabled=False)
    rows = seen.page.locator("noscript tbody tr, .board tbody tr")
    assert seen.page.locator("noscript").count() == 1
    text = seen.page.locator("#bundles").inner_text()
    assert rows.count() > ON_PAGE
    assert "shop-web" in text and "Each bundle" in text
    assert not seen.page.is_visible("#app")
    failed = seen.page.locator("main").inner_text()
    assert "503 Service Unavailable" in failed
    quiet(seen, page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_it_fits_and_is_accessible(chromium: Browser, page: Path, width: int, scheme: Any) -> None:
    seen = Seen(
        chromium,
        page,
        "#open=billing-api%40linux%2Famd64",
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
    )
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    clipped = (
        "[...document.querySelectorAll('tr.bundle > td')].filter(e => e.getBoundingClientRect().right > innerWidth)"
    )
    assert seen.page.evaluate(f"{clipped}.length") == 0
    seen.page.evaluate("document.querySelectorAll('tr.bundle').forEach((row, at) => { if (at > 9) row.remove(); })")
    seen.page.evaluate(AXE.read_text())
    found = seen.page.evaluate("axe.run()")["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found] == []
    quiet(seen, page)


NASTY = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]><svg onload=alert(1)>",
    "&lt;b&gt;&amp;&#60;script&#62;",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "`${alert(1)}`",
    "{{ 7 * 7 }}{% raw %}",
    "${7*7}#{7*7}",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "</noscript><script>alert(1)</script>",
    "</style><style>body{display:none}",
    "</title><base href=//evil.example/>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<iframe src=//evil.example></iframe>",
    "\u2028alert(1)\u2029",
    "\u202egnp.exe\u202c",
    "\u2066isolated\u2069\u200f",
    "zero\u200bwidth\ufeff\u00ad",
    "nul\x00bell\x07escape\x1b[31m",
    "line\nbreak\r\ttab",
    "\ud7ff\ue000\uffff\U0010ffff",
    "Z̶̧̢̛̛͈̫͎̫̭̯̦͂̂a̷̢̛̬͎l͢g̛o",
    "العربية עברית",
    "👩‍👩‍👧‍👦",
    "x" * 5000,
    "../../../../etc/passwd",
    "C:\\windows\\%s%n%x",
]


def test_hostile_texts_do_nothing(chromium: Browser, tmp_path: Path) -> None:
    lines = []
    for at, text in enumerate(NASTY):
        name = f"image{at}"
        made = outputs.write_bundle(
            tmp_path,
            name,
            "linux/amd64",
            [outputs.layer("base", 1000), outputs.layer(text, 2000)],
            [Package(text or "x", text, 0), Package("plain", text, 1)],
            args=[text, "a"],
            env=[f"LABEL={text}", text],
            source=text,
            notes=(text,),
            options={**outputs.OPTIONS, "profile": text, "rootfs": [text, {"form": text}], "boot": {text: text}},
        )
        lines.append(outputs.line(made, text if at % 2 else ""))
    lines.append(Line("gone", "linux/amd64", "gone/linux-amd64", "failed", NASTY[0]))
    outputs.write_catalog_json(tmp_path, lines)
    failed = [outputs.BundleRun(f"image{at}@linux/amd64", "failed", error=text) for at, text in enumerate(NASTY)]
    outputs.note(tmp_path, 1, failed)
    page = shown(tmp_path)
    for scripts in (True, False):
        seen = Seen(chromium, page, java_script_enabled=scripts, viewport={"width": 360, "height": 800})
        if scripts:
            for at in range(len(NASTY)):
                seen.page.click(f'tr[data-at="{at}"] .open-it')
                for summary in seen.page.locator("tr.detail summary").all():
                    summary.click()
                assert seen.page.evaluate("document.documentElement.scrollWidth") == 360, NASTY[at][:20]
            assert seen.page.title() == "Our catalog"
            assert seen.page.locator("script").count() == 2
            assert seen.page.locator("iframe, base, img, meta[http-equiv=refresh]").count() == 0
            assert seen.page.locator("[onerror], [onload], [onfocus], [onmouseover]").count() == 0
        assert "<img src=x onerror=alert(1)>" in seen.page.locator("main").inner_text()
        quiet(seen, page)
    text = page.read_bytes()
    assert not {*"\u2028\u2029\u202e\u2066\u200b\x00\x1b"} & {*text.decode()}
