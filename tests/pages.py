"""Reading HTML in tests: is it well formed, what does it load, what does it say."""

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Page(HTMLParser):
    """A parsed page; `faults` are tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.headings: list[tuple[int, str]] = []
        self.described: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> stays open" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append((int(tag[1]), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            return
        self.text += data
        if any(tag in self.open for tag in ("h1", "h2", "h3", "h4")):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            if name in given:
                self.links.append((tag, given[name] or ""))
        if given.get("id"):
            self.ids.append(given["id"] or "")
        if tag == "img":
            self.images.append(given)
        if given.get("role") == "img":
            self.described.append(given.get("aria-label") or "")


def checked(path: Path) -> Page:
    """Reads a page and holds it against what every page must be."""
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.faults == []
    for tag, link in page.links:
        assert link.startswith(("data:", "#")), (tag, link)
    assert not re.search(r"url\((?!#)|@import|<script", text)
    targets = {link[1:] for _, link in page.links if link.startswith("#")}
    assert targets <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert all(image.get("alt") for image in page.images)
    assert all(page.described)
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    return page


def titles(page: Page) -> list[str]:
    """Its headings of the second level."""
    return [text for level, text in page.headings if level == 2]
