"""Reading a page in a test, and hostile words to put in it."""

import re
from html.parser import HTMLParser

EVIL = "<script>alert(1)</script>"
TEXT = "Grace Hopper (U.S. Navy) wrote A-0 {the first linker} at New York University & Harvard."


def spans(*pairs: tuple[str, str]) -> list[list]:
    return [[TEXT.index(mention), TEXT.index(mention) + len(mention), label] for mention, label in pairs]


class Page(HTMLParser):
    """Collects tags, links and text, and holds that every element is closed and that the page needs nothing else.

    html (str): the page.
    scripts (int): how many scripts of its own it has.
    """

    VOID = {"meta", "link", "br"}

    def __init__(self, html: str, *, scripts: int = 0) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)
        assert not self.open
        assert all(link.startswith(("#", "data:,")) for link in self.links)
        assert not {"iframe", "img", "object"} & set(self.tags)
        assert self.tags.count("script") == scripts
        assert not re.search(r"url\((?!#)|@import", html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
