"""`report.html`: one page that needs and runs nothing, whatever the names in it; its numbers are those of `stats.json`."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from copy import deepcopy
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from manifests.reader import Release
from manifests.report import svg
from manifests.report.markup import MAX_NAME, POLICY, share, size
from manifests.report.page import render_report
from manifests.report.style import DARK, LIGHT, STYLE
from manifests.row_figures import figures_of_rows
from manifests.statistics import build_stats, compare_manifests

VOID = {"meta", "br"}
EVIL = (
    "</style><script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "\u202egpj.exe\u2066 \u200b\ufeff",
    "a\x00\x1b[31m\r\n\tb\x7f\x85\u2028",
    "javascript:alert(1)//" + "x" * 5_000,
    "שלום",
    "&lt;b&gt; &#x22; &amp;",
    "\U0001f468\u200d\U0001f469",
)


class Page(HTMLParser):
    """The elements of a page in order, checked to be balanced; attributes; text outside of style."""

    def __init__(self, data: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(data.decode("utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in ("rect", "polygon"):
            return  # of a self-closing tag
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


@pytest.fixture(scope="module")
def stats(pristine, factory):
    release = Release.open(pristine)
    near = {
        "languages": {"Python": {"entered": 46, "dropped": 6}, "Gone": {"entered": 3, "dropped": 3}},
        "origins": {"alarms": [], "alarms_without_rows": 0},
    }
    return build_stats(
        release.manifest, figures_of_rows(release), near=near, duplication=factory.duplication()
    )


@pytest.fixture
def hostile(stats, pristine, factory):
    """Statistics in which every name that a stranger chose is an attack, and every list is long."""
    found = deepcopy(stats)
    manifest = Release.open(pristine).manifest
    found["comparison"] = compare_manifests(manifest, manifest)
    for number, evil in enumerate(EVIL):
        found["licenses"][evil] = 40
        found["encodings"][evil] = 40
        found["redactions"][evil] = {"spans": 3, "rows": 2}
        found["languages"][evil] = dict(found["languages"]["Python"])
        found["totals"]["dropped"][evil] = 1
        found["origins"]["unresolved"][evil] = 1
        found["policies"][evil] = evil
        found["top_origins"].insert(0, {"origin": evil, "rows": 40, "bytes": 10})
        row = {
            "row_id": evil,
            "language": evil,
            "origin": evil,
            "path": evil,
            "length_bytes": 1,
            "num_lines": 1,
        }
        found["largest_clusters"].insert(0, {**row, "cluster_size": 9})
        found["most_copied"].insert(0, {**row, "num_occurrences": 9})
        found["near"]["language_alarms"].append({"language": evil, "entered": 100, "dropped": 90})
        found["near"]["origin_alarms"].append({"origin": evil, "rows": 1, "entered": 100, "dropped": 90})
        for part, told in factory.duplication(evil).items():
            name = {"roots": "largest", "networks": "largest", "repeated": "most"}.get(part)
            if name is not None:
                found["duplication"][part][name] = [*told[name], *found["duplication"][part][name]]
        for key in ("languages", "licenses", "dropped", "redactions"):
            found["comparison"][key][evil] = {"old": 1, "new": 2 + number}
        found["comparison"]["languages_gained"].append(evil)
        found["comparison"]["parent"]["name"] = evil
    return found


def test_equal_figures_give_equal_bytes(stats):
    other = dict(reversed(deepcopy(stats).items()))
    other["licenses"] = dict(reversed(stats["licenses"].items()))
    other["languages"] = dict(reversed(stats["languages"].items()))
    assert render_report(stats) == render_report(other)


@pytest.mark.parametrize("given", ["stats", "hostile"])
def test_nothing_is_loaded_and_nothing_is_run(request, given):
    data = render_report(request.getfixturevalue(given))
    page = Page(data)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "base",
        "form",
        "use",
        "image",
        "foreignobject",
    }
    assert sum(tag == "style" for tag, _ in page.elements) == 1 == data.count(b"<style")
    assert STYLE.encode() in data and "url(" not in STYLE and "@import" not in STYLE and "</" not in STYLE
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on") and name not in (
                "style",
                "src",
                "srcset",
                "action",
                "xlink:href",
            )
            if name == "href":
                assert re.fullmatch(r"#[a-z]+", value or ""), value
            if tag != "meta":
                assert "://" not in (value or "")
    policies = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [POLICY] == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert data.index(b"Content-Security-Policy") < data.index(b"<style")


def test_names_are_shown_escaped_and_cut(hostile):
    data = render_report(hostile).decode()
    assert not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200d\u2028\u202a-\u202e\u2066-\u2069\ufeff]", data
    )
    page = Page(data.encode())
    shown = "".join(page.text)
    assert (
        "</style><script>alert(1)</script>" in shown
        and "\\u202egpj.exe" in shown
        and "&lt;b&gt; &#x22;" in shown
    )
    assert "x" * MAX_NAME not in shown and "xxx…" in shown
    names = [a for tag, a in page.elements if tag == "bdi"]
    assert len(names) > 100 and all(a == {"class": "name"} for a in names)


def test_the_numbers_are_in_the_page(stats):
    text = re.sub(r"\s+", " ", " ".join(Page(render_report(stats)).text))
    for number in (
        stats["rows"], stats["totals"]["found"], stats["origins_with_rows"], len(stats["languages"]), *stats["licenses"].values(),
        *stats["totals"]["dropped"].values(), *(one["rows"] for one in stats["languages"].values()),
        *(one["rows"] for one in stats["top_origins"]),
    ):  # fmt: skip
        assert f"{number:,}" in text
    for words in (
        stats["merkle_root"],
        stats["opt_out_head"],
        "Apache-2.0",
        "F*",
        "1 languages have no row",
        "Gone",
        "13.0 %",
    ):
        assert words in text, words


def test_the_document_is_one_that_screen_readers_can_read(hostile):
    page = Page(render_report(hostile))
    tags = [tag for tag, _ in page.elements]
    assert tags[0] == "html" and page.elements[0][1] == {"lang": "en"}
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    order = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(order))
    identifiers = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert {a["href"][1:] for tag, a in page.elements if tag == "a"} <= set(identifiers)
    assert tags.count("caption") == tags.count("table") > 10
    assert all(a.get("scope") in ("col", "row") for tag, a in page.elements if tag == "th")
    assert all(a.get("aria-hidden") == "true" for tag, a in page.elements if tag == "svg")


def test_the_shapes_are_well_formed_and_inside_their_boxes(hostile):
    shapes = re.findall(r"<svg .*?</svg>", render_report(hostile).decode())
    assert len(shapes) > 50
    for shape in set(shapes):
        root = ElementTree.fromstring(shape)
        assert root.tag == "svg"
        _, _, width, height = map(
            int, root.attrib["viewBox".lower() if "viewbox" in root.attrib else "viewBox"].split()
        )
        for child in root:
            if child.tag == "rect":
                x, w = int(child.attrib["x"]), int(child.attrib["width"])
                assert x >= 0 and w >= 0 and x + w <= width
            else:
                points = [tuple(map(int, point.split(","))) for point in child.attrib["points"].split()]
                assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


def test_bars_are_in_proportion_and_never_too_long():
    assert [svg.of(part, 200) for part in (0, 1, 50, 100, 200, 500)] == [0, 5, 250, 500, 1000, 1000]
    assert svg.of(1, 10**15) == 1 and svg.of(5, 0) == 0
    widths = [int(w) for w in re.findall(r'width="(\d+)" height="10"', svg.bar([(3, "k"), (9, "d")], 10))]
    assert widths == [300, 700]


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(1, 3, "33.3 %"), (0, 5, "0.0 %"), (5, 5, "100.0 %"), (1, 10**9, "&lt; 0.1 %"), (10**9 - 1, 10**9, "&gt; 99.9 %"),
     (0, 0, "–")],
)  # fmt: skip
def test_shares(part, whole, said):
    assert share(part, whole) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_000, "1.0 kB"), (99_949, "99.9 kB"), (123_456, "123 kB"),
     (42_800_000_000_000, "42.8 TB"), (10**19, "10,000 PB")],
)  # fmt: skip
def test_sizes(value, said):
    assert size(value) == said


def test_empty_parts_have_words(stats):
    bare = deepcopy(stats)
    bare |= {
        "redactions": {},
        "redacted_rows": 0,
        "near": None,
        "duplication": None,
        "largest_clusters": [],
        "most_copied": [],
        "years": {"unknown": 70},
    }
    bare["languages"] = {"Python": stats["languages"]["Python"]}
    bare["totals"] = {"found": 70, "kept": 70, "dropped": {}, "stages": []}
    text = " ".join(Page(render_report(bare)).text)
    for words in (
        "Nothing was redacted", "Near-duplicates were not sought", "No row has a date", "nothing dropped of 70", "none",
    ):  # fmt: skip
        assert words in text
    assert "Against the parent" not in text


def test_hundreds_of_languages_are_folded_and_all_there(stats):
    many = deepcopy(stats)
    for number in range(800):
        many["languages"][f"Language {number}"] = {
            "rows": 1,
            "text_bytes": 5,
            "bytes": 9,
            "shards": 1,
            "tokens": None,
        }
    page = Page(render_report(many))
    text = "".join(page.text)
    assert "The other 782 languages" in text and "782 more" in text
    assert all(f"Language {number}" in text for number in range(800))
    assert sum(tag == "details" for tag, _ in page.elements) == 1


def test_alarms_are_told(stats):
    alarm = deepcopy(stats)
    alarm["near"] |= {
        "language_alarms": [{"language": "LLVM", "entered": 200, "dropped": 196}],
        "origin_alarms_without_rows": 4,
    }
    text = " ".join(Page(render_report(alarm)).text)
    assert "Wipe-out alarm" in text and "LLVM" in text and "98.0 %" in text and "4 further origins" in text
    assert "Wipe-out alarm" not in "".join(Page(render_report(stats)).text)


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_contrast(colours):
    for ground in ("ground", "raised", "warm"):
        for role, least in {"ink": 7, "soft": 4.5, "kept": 3, "dropped": 3, "other": 3}.items():
            low, high = sorted((luminance(colours[ground]), luminance(colours[role])))
            assert (high + 0.05) / (low + 0.05) >= least, (ground, role)
    low, high = sorted((luminance(colours["ground"]), luminance(colours["kept"])))
    assert (high + 0.05) / (low + 0.05) >= 4.5  # links
