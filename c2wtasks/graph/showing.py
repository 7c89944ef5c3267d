"""What shows people what is in the output folder, and what changed in it: the page catalog.html, and the feeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from c2wtasks.disk import files
from c2wtasks.graph import reasons
from c2wtasks.output import feeding, history, listing
from c2wtasks.output.chronicle import Chronicle
from c2wtasks.output.contents import contents
from c2wtasks.output.extract import Extracts
from c2wtasks.output.listing import Line
from c2wtasks.output.places import FEED, FEEDS, PAGE
from c2wtasks.page import html
from c2wtasks.page.model import Page
from c2wtasks.process import collector
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.tasks import catalog

if TYPE_CHECKING:
    from c2wtasks.graph.resolved import Resolved


def show(graph: Resolved) -> tuple[str, ...]:
    """Brings the page and the feeds up to date, where they are to say something else than they do, and removes them
    where catalog.json is no more. Gives a line where that cannot be: no run fails for it."""
    file = graph.file
    try:
        text = catalog.read(file)
        if text is None:
            for name in (PAGE, FEED, FEEDS):
                files.remove_tree(f"{file.output}/{name}")
        else:
            wanted = set(map(str, file.bundles))  # catalog.json has others, too, until the next run
            lines = [line for line in listing.lines(text) if f"{line.name}@{line.platform}" in wanted]
            write(file.output, file.name or "VM bundles", graph.identity, lines)
    except Exception as error:
        return (f"note: {file.output}/{PAGE} is not up to date: {as_user_error(error)}",)
    return ()


@collector.paused()  # what is shown lives until it is
def write(output: str, title: str, identity: str, lines: Sequence[Line]) -> None:
    """Writes them for a catalog.json with these `lines`. `identity` is the catalog's.

    Raises OSError, OutputError, ValueError.
    """
    extracts = Extracts(output)
    told = reasons.told(output, extracts.told)
    chronicle = Chronicle(history.runs(output), told)
    shown = contents(lines, chronicle, extracts)
    sizes = listing.sizes(lines)
    page = Page(title, chronicle.tonight, sizes.size, sizes.shared, shown)
    files.write_if_changed(f"{output}/{PAGE}", html.render(page), sync=True)
    images = list(dict.fromkeys(line.name for line in lines))
    fed = feeding.write(output, identity, title, images, chronicle.editions, extracts.fed)
    extracts.keep(fed, told)
