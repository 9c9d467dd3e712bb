"""What source files say of their own license in their first lines."""

import itertools
import re
import textwrap
from importlib import resources

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.detection import Detection
from licensing.headers import (
    HEADER_BYTES,
    HEADERS,
    Header,
    answered,
    from_row,
    header_batch,
    normalised,
    read_header,
    table_of,
)
from licensing.known import KnownTexts

TAG = "SPDX-License-" + "Identifier:"
KNOWN = KnownTexts.load()

GPL = (
    "This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public"
    " License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later"
    " version."
)
STYLES = {
    "hash": ("", "# ", ""),
    "slashes": ("", "// ", ""),
    "stars": ("/*\n", " * ", " */\n"),
    "markup": ("<!--\n", "", "-->\n"),
    "doc": ('"""Work.\n\n', "", '"""\n'),
    "dashes": ("", "-- ", ""),
    "semicolons": ("", ";; ", ""),
    "percent": ("", "%% ", ""),
    "rem": ("", "REM ", ""),
    "dnl": ("", "dnl ", ""),
    "frame": ("#" * 70 + "\n", "#  ", "#" * 70 + "\n"),
}


def comment(text, style, width):
    """`text` wrapped at `width` in comments of a style, before some code."""
    opening, mark, closing = STYLES[style]
    paragraphs = [textwrap.wrap(paragraph, width) for paragraph in text.split("\n\n")]
    lines = "\n\n".join("\n".join(lines) for lines in paragraphs).split("\n")
    return opening + "".join(f"{mark}{line}".rstrip() + "\n" for line in lines) + closing + "\nx = 1\n"


def header(head, known=KNOWN):
    return read_header(head.encode() if isinstance(head, str) else head, known)


# ------------------------------------------------------------------------------------------------- known notices

FAMILIES = {
    "bsd-new": "BSD-3-Clause", "apache-2.0": "Apache-2.0", "mit": "MIT", "isc": "ISC", "mpl-2.0": "MPL-2.0",
    "gpl-2.0-plus": "GPL-2.0-or-later", "gpl-3.0": "GPL-3.0-only", "lgpl-2.1-plus": "LGPL-2.1-or-later",
    "agpl-3.0-plus": "AGPL-3.0-or-later",
}  # fmt: skip
PER_FAMILY = 4


def _notices():
    """Some of ScanCode's own rules that are notices in the first place, by name: expression and text."""
    rules = resources.files("licensedcode") / "data" / "rules"
    for family, expression in FAMILIES.items():
        taken = 0
        for number in range(1, 400):
            name = f"{family}_{number}.RULE"
            if not (rule := rules / name).is_file():
                continue
            facts, _, text = rule.read_text("utf-8").removeprefix("---\n").partition("\n---\n")
            lines = facts.split("\n")
            if (
                f"license_expression: {family}" not in lines
                or "is_license_notice: yes" not in lines
                or any(line.startswith("relevance:") and line != "relevance: 100" for line in lines)
                or not 150 < len(text) < 2_000
                or not re.search("licen[cs]e|permission|redistribut", text, re.IGNORECASE)
            ):
                continue
            yield name, expression, text.replace("{{", "").replace("}}", "").strip()
            taken += 1
            if taken == PER_FAMILY:
                break


NOTICES = {name: (expression, text) for name, expression, text in _notices()}


def test_there_are_notices_of_each_family():
    assert {expression for expression, _ in NOTICES.values()} == set(FAMILIES.values())
    assert len(NOTICES) > 20


@pytest.mark.parametrize("name", NOTICES)
def test_a_notice_is_known_in_any_comment_and_wrapping(policy, name):
    expression, text = NOTICES[name]
    for style, width in zip(STYLES, itertools.cycle([40, 57, 72, 100]), strict=False):
        found = header(comment(" ".join(text.split()) if style == "frame" else text, style, width))
        if found.notice is None:  # else it is asked for: see below
            assert any(d.expression == expression for d in found.detections), (style, width)
            assert policy.decide(found.expression).permitted == policy.decide(expression).permitted


def test_most_of_them_are_known_without_scancode_and_it_agrees_on_the_rest(policy, scancode):
    found = {
        (name, style): header(comment(text, style, 70))
        for name, (_, text) in NOTICES.items()
        for style in STYLES
    }
    left = {key: one for key, one in found.items() if one.notice is not None}
    assert len(left) < 0.15 * len(found)
    asked = {one.notice for one in left.values()}
    assert len(asked) < 0.5 * len(left), "a notice is one notice in every comment"
    answers = {notice: scancode.detect(notice) for notice in asked}
    for (name, style), one in left.items():
        expression = answered(one, answers[one.notice]).expression
        assert policy.decide(expression).permitted == policy.decide(NOTICES[name][0]).permitted, (name, style)


def test_spans_are_bytes_of_the_file():
    head = "# é — Ünïcode\n" + comment(GPL, "hash", 60)
    (found,) = header(head).detections
    inside = head.encode()[found.start : found.end].decode()
    assert inside.startswith("This program") and inside.endswith("version")
    assert (found.expression, found.detector.split()[0]) == ("GPL-3.0-or-later", "known")


@pytest.mark.parametrize(
    ("line", "expression"),
    [
        ("Licensed under the MIT license. See LICENSE in the project root.", "MIT"),
        ("Licensed under the Apache License, Version 2.0", "Apache-2.0"),
        ("SPDX-FileCopyrightText: 2020 Someone", None),
        ("Copyright (c) 2020 Someone. All rights reserved.", None),
        ("This module parses dates.", None),
    ],
)
def test_short_statements(line, expression):
    assert header(f"# {line}\nx = 1\n").expression == expression


def test_tags_and_notices_apply_together():
    found = header(f"# {TAG} MIT\n#\n" + comment(GPL, "hash", 70))
    assert found.expression == "GPL-3.0-or-later AND MIT"


def test_contradicting_tags_apply_together():
    assert header(f"# {TAG} MIT\n# {TAG} GPL-3.0-only\n").expression == "GPL-3.0-only AND MIT"


def test_a_tag_is_told_once():
    (found,) = header(f"# {TAG} MIT\nx = 1\n").detections
    assert found.detector.startswith("spdx-tag")


def test_a_tag_in_a_sentence_is_read_as_words():
    """Whether it is a statement or talk, nobody knows: it is not passed over."""
    found = header(f"# Files may be used under {TAG} GPL-3.0-only and nothing else.\nx = 1\n")
    assert found.expression == "GPL-3.0-only" or found.notice is not None


@pytest.mark.parametrize(
    "body",
    [
        f'TEXT = """\n{GPL}\n"""\n',
        f"def test():\n    # {GPL}\n    pass\n",
        "int main(void) { gpl(); license(); }\n",
        f'x = "{TAG} GPL-3.0-only"\n',
        f"import os\n\nGIVEN = '''\n# {GPL}\n'''[1:]\n",
        "x = 1\n" + comment(GPL, "stars", 60),
    ],
    ids=["string", "comment-in-code", "calls", "tag-in-string", "fixture", "after-code"],
)
def test_code_says_nothing(body):
    assert header(body) == Header()


def test_without_known_texts_only_tags_are_read_and_the_rest_is_left():
    found = header(f"# {TAG} MIT\n#\n" + comment(GPL, "hash", 70), None)
    assert found.expression == "MIT"
    assert found.notice is not None and found.notice.startswith("This program is free software")


# ------------------------------------------------------------------------------------------------- what is left

UNKNOWN = "This file is licensed under the Quux Secret License 7, which only the clergy of Quux may read."


def test_what_is_not_known_is_left_with_its_place():
    head = comment(f"Copyright (c) 2001 Someone\n\n{UNKNOWN}\n\nIt parses dates.", "stars", 40)
    found = header(head)
    assert found.notice == UNKNOWN
    inside = head.encode()[found.notice_start : found.notice_end].decode()
    assert "clergy" in inside and "parses" not in inside and "Copyright" not in inside


def test_one_notice_for_all_files_that_have_it():
    bodies = [
        comment(f"Copyright (c) {2000 + n} Author {n}\n\n{UNKNOWN}\n\nWork number {n}.", style, width)
        for n, style in enumerate(STYLES)
        for width in (35, 60, 90)
    ]
    assert {header(body).notice for body in bodies} == {UNKNOWN}


def test_a_restriction_beside_a_known_notice_is_told(policy):
    found = header(
        "# Licensed under the MIT license.\n# It is not for commercial use, whatever that is.\nx = 1\n"
    )
    assert not policy.decide(found.expression).permitted


def test_comments_on_code_restrict_nothing():
    """Breach: "do not import machine learning models here" makes a file one that may not be used."""
    doc = "Import nothing of machine learning models here, only what copying needs.\n\nIt is not for internal use."
    assert header(comment(doc, "doc", 80)).expression is None
    assert header(comment(f"Licensed under the MIT license.\n\n{doc}", "doc", 80)).expression == "MIT"


def test_answers_take_the_place_of_what_was_known_of_the_notice():
    known = Detection("MIT", "known 1", "mit_1.RULE", 100.0, 50, 60)
    elsewhere = Detection("ISC", "known 1", "isc_1.RULE", 100.0, 5, 30)
    tag = Detection("BSD-2-Clause", "spdx-tag 1", "tag", 100.0, 52, 58)
    rider = Detection("LicenseRef-stackmill-rider-x", "rider 1", "x", 100.0, 53, 59)
    left = Header((elsewhere, known, tag, rider), "some license", 40, 90)
    answer = Detection("MIT OR GPL-2.0-only", "scancode 0", "both", 90.0, 0, 12)
    found = answered(left, [answer])
    assert (
        found.expression == "BSD-2-Clause AND ISC AND LicenseRef-stackmill-rider-x AND (MIT OR GPL-2.0-only)"
    )
    assert found.notice is None
    assert (40, 90) in {(d.start, d.end) for d in found.detections}


def test_nothing_found_leaves_a_statement_open_and_no_other():
    said = Header((), "under the Quux license", 0, 20)
    assert answered(said, []) == said
    assert answered(Header((), "these characters are permitted", 0, 20), []) == Header()
    assert answered(Header(), [Detection("MIT", "scancode 0", "x", 1.0, 0, 1)]) == Header()


def test_scancode_answers_what_is_left(scancode, policy):
    near = GPL.replace("this program", "this fine program").replace("it and/or modify", "and even modify")
    found = header(comment(near.replace("This program", "This fine program"), "stars", 60))
    assert found.notice is not None
    found = answered(found, scancode.detect(found.notice))
    assert not policy.decide(found.expression).permitted and found.expression.startswith("GPL-3.0")


def test_rows_come_back():
    heads = [f"# {TAG} MIT\n", comment(UNKNOWN, "hash", 50), comment(GPL, "stars", 60), ""]
    headers = [header(head) for head in heads]
    assert [from_row(row) for row in table_of(headers).to_pylist()] == headers


# ------------------------------------------------------------------------------------------- batches, hostile input

HOSTILE = {
    "empty": b"",
    "nul": b"\x00" * 5_000,
    "long-line": b"# license " * 1_000_000,
    "open-comments": b"/* license " * 400,
    "open-braces": b"{ license " * 400,
    "hashes": b"#" * 4_000 + b" license",
    "slashes": b"/" * 4_000 + b" GPL",
    "spaces": b"# license" + b" " * 4_000 + b"x",
    "newlines": b"# license\n" + b"\n" * 4_000,
    "underscores": b"__license__ = " + b"_" * 4_000,
    "quotes": b"__license__ = " + b"'\"" * 2_000,
    "markup": b"<" * 4_000 + b"license",
    "braces": b"{{" * 2_000 + b"license",
    "stars": b"/*" + b"*" * 4_000 + b"license",
    "tags": (f"# {TAG} " * 200).encode(),
    "commas": b"#a " + b"a," * 2_000 + b" license",
    "lists": b"import (" * 500 + b"license",
    "words": b"# may not be licensed permission warranty\n" * 90,
    "surrogates": b"# license \xed\xa0\x80\xff\xfe\n" * 100,
    "invisible": "# l\u200bicensed under the M\u00adIT license\n".encode(),
    "latin-1": b"# Licensed under the MIT license by J\xf6rg\nx = 1\n",
    "utf-16": "# Licensed under the MIT license\n".encode("utf-16"),
    "cut": b"#" + "é".encode() * 2_047 + "é license".encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_heads_are_read(name):
    """Breach: hours of regular expressions, an error, or a place outside of the head."""
    found = header(HOSTILE[name])
    end = min(len(HOSTILE[name]), HEADER_BYTES)
    assert all(0 <= d.start <= d.end <= end for d in found.detections)
    assert found.notice is None or 0 <= found.notice_start < found.notice_end <= end


@pytest.mark.parametrize("name", ["invisible", "latin-1", "utf-16"])
def test_odd_encodings_are_read(name):
    assert header(HOSTILE[name]).expression == "MIT"


pieces = st.sampled_from(
    [comment(GPL, "hash", 60).encode(), comment(UNKNOWN, "stars", 50).encode(), f"// {TAG} ISC\n".encode(), b"x = 1\n",
     b"# Licensed under the MIT license.\n", b"# \xff\xfe\n", b"", b"<?php\n", "# é ".encode() * 1_200]
)  # fmt: skip
bodies_of = st.lists(st.one_of(st.none(), st.lists(pieces, max_size=4).map(b"".join)), max_size=12)


@given(bodies_of, st.integers(0, 12))
def test_any_split_of_a_batch_gives_the_same(bodies, cut):
    array = pa.array(bodies, pa.large_binary())
    whole = header_batch(array, KNOWN)
    assert whole.schema.equals(HEADERS) and whole.num_rows == len(bodies)
    parts = [header_batch(part, KNOWN) for part in (array[:cut], array[cut:])]
    assert pa.concat_tables(parts).to_pylist() == whole.to_pylist()
    assert header_batch(pa.array([b and b[:HEADER_BYTES] for b in bodies], pa.binary()), KNOWN).equals(whole)


@given(bodies_of)
def test_the_gate_lets_everything_through_that_speaks(bodies):
    """Row by row without the gate: the same."""
    rows = header_batch(pa.array(bodies, pa.large_binary()), KNOWN).to_pylist()
    assert [from_row(row) for row in rows] == [
        Header() if b is None else read_header(b, KNOWN) for b in bodies
    ]


@given(st.text(max_size=200))
def test_normalised_text_stays_as_it_is(text):
    once = normalised(text)
    assert "\n" not in once
    assert normalised(once) in (once, "")
