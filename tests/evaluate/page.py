"""A page of a report as a browser reads it."""

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "line", "circle"}


class Page(HTMLParser):
    """Text and attributes of a page; raises if a tag is not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.words, self.links = [], [], []
        self.feed(html)
        self.close()
        assert not self.open
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)
