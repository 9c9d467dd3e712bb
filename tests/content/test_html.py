"""Visible text: Python's own HTML parser is the reference on pages that people write; any bytes must be survived."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.content.html import HTML_LANGUAGES, visible_text

HIDDEN = ("script", "style", "template")


def measured(*texts: str | bytes) -> list[tuple[int, float | None]]:
    encoded = [one.encode() if isinstance(one, str) else one for one in texts]
    rows = visible_text(pa.array(encoded, pa.large_binary())).to_pylist()
    return [tuple(row.values()) for row in rows]


class Reference(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.pieces: list[str] = []
        self.hidden: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag in HIDDEN:
            self.hidden.append(tag)

    def handle_endtag(self, tag):
        if self.hidden and tag == self.hidden[-1]:
            self.hidden.pop()

    def handle_data(self, data):
        if not self.hidden:
            self.pieces.append(data)

    def handle_entityref(self, name):
        if not self.hidden:
            self.pieces.append("x")

    handle_charref = handle_entityref


def reference(text: str) -> int:
    parser = Reference()
    parser.feed(text)
    parser.close()
    return len(" ".join("".join(parser.pieces).split()))


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("<p>a <b>b</b>c</p>", "a bc"),
        ("  a\n\n b  ", "a b"),
        ("<a title='>'>x</a>", "x"),
        ('<a b=">" c=">">x', "x"),
        ("<a b='\">x</a>y'>z", "z"),
        ("<script>a < b</script>c<STYLE>d</style >e", "ce"),
        ("<script/>a", "a"),
        ("<scripty>a</scripty>", "a"),
        ("<script>a</scripty>b</script>c", "c"),
        ("<template><p>a</p></template>b", "b"),
        ("a<!-- <p>b --> c -->d", "a c -->d"),
        ("a<!-->b", "ab"),
        ("<!doctype html>a", "a"),
        ("<?php echo '>'; ?>a<?= 1 > 0 ?>b", "ab"),
        ("<?xml version='1.0'?>a", "a"),
        ("a < b & c <3 </ d", "a < b & c <3 </ d"),
        ("a&amp;b&#233;c&#x1F600;d&nbsp;e &unknown f &;", "a.b.c.d.e &unknown f &;"),
        ("é日本\U0001f600", "é日本\U0001f600"),
        ("a<p", "a"),
        ("a<!-- b", "a"),
        ("a<script>b", "a"),
        ("", ""),
    ],
    ids=range(22),
)  # fmt: skip
def test_visible_by_example(text, visible):
    share = np.float32(len(visible) / len(text)) if text else None
    assert measured(text) == [(len(visible), share)]


WORDS = st.lists(st.sampled_from(["a", "word", "é", "&amp;", "&#65;", "1", ",", "\n", "  "]), max_size=5).map(
    " ".join
)
NAMES = st.sampled_from(["p", "div", "b", "td", "a"])
ATTRIBUTES = st.sampled_from(["", " id=x", ' title="a > b"', " title='<p>'", " disabled"])


def _element(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    plain = st.builds(lambda n, a, i: f"<{n}{a}>{i}</{n}>", NAMES, ATTRIBUTES, inner)
    hidden = st.builds(lambda n, i: f"<{n}>{i}</{n}>", st.sampled_from(["script", "style"]), WORDS)
    return plain | hidden | WORDS.map("<!--{}-->".format) | st.lists(inner, max_size=3).map("".join)


@given(st.recursive(WORDS, _element, max_leaves=12))
def test_well_formed_pages_show_what_the_reference_shows(text):
    assert measured(text)[0][0] == reference(text)


PIECES = st.sampled_from(["<", ">", "</", "<!--", "-->", "<script>", "</script", "<style", "&", "&lt", ";", '"', "'", "=", "/",
                          "a", " ", "<?", "?>", "<![CDATA[", "]]>", "\n", "é", "#"])  # fmt: skip


@given(st.lists(PIECES, max_size=40).map(lambda p: "".join(p).encode()) | st.binary(max_size=80))
def test_any_bytes(text):
    [(visible, share)] = measured(text)
    characters = sum(byte & 0xC0 != 0x80 for byte in text)
    assert 0 <= visible <= characters
    assert share == (np.float32(visible / characters) if characters else None)
    assert measured("<p", text, "x")[1] == (visible, share), "neighbours in the batch matter"


@pytest.mark.parametrize("unit", ["<", "<a", "<!--", "<script>", "&a", '<a b="', "<?php", "</", "<![CDATA["])
def test_a_hostile_megabyte_is_read_in_one_pass(unit):
    """The size is such that a quadratic search would not end."""
    assert measured(unit * (4_000_000 // len(unit)))


def test_template_languages_are_html():
    assert {"HTML", "HTML+PHP", "HTML+ERB"} <= HTML_LANGUAGES and "XML" not in HTML_LANGUAGES
