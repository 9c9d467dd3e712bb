"""What is doubtful about license evidence, and how unknown texts are told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.policy import Policy
from licensing.review import (
    EXCERPT,
    Doubt,
    conflict,
    doubtful_part,
    excerpt,
    fingerprint,
    reasons_for,
    statements,
)

POLICY = Policy.load()
TEXT = "You may read this work on Mondays.\nNot on Fridays, unless the tide is high and the authors agree.\n"


def found(expression, detector="scancode 32.5.0", score=100.0):
    return {"expression": expression, "detector": detector, "rule": "r", "score": score, "start": 0, "end": 1}


@pytest.mark.parametrize(
    ("name", "detections", "doubts"),
    [
        (b"LICENSE", [], [Doubt.NO_DETECTION]),
        (b"README", [], []),
        (b"package.json", [], []),
        (b"LICENSE", [found("MIT")], []),
        (b"LICENSE", [found("GPL-3.0-only")], []),
        (b"LICENSE", [found("MIT", score=60)], [Doubt.LOW_SCORE]),
        (b"LICENSE", [found("LicenseRef-odd")], [Doubt.UNKNOWN_ID]),
        (b"LICENSE", [found("MIT"), found("LicenseRef-stackmill-rider-use")], [Doubt.RIDER]),
        (b"LICENSE", [found("LicenseRef-stackmill-unparsable")], [Doubt.UNPARSABLE]),
        (b"LICENSE", [found("MIT"), found("LicenseRef-stackmill-unread", score=0)], [Doubt.UNREAD]),
        (b"LICENSE", [found("MIT", "spdx-tag 1"), found("GPL-2.0-only", "spdx-tag 1")], [Doubt.CONTRADICTION]),
        (b"LICENSE", [found("MIT", "spdx-tag 1"), found("Apache-2.0", "spdx-tag 1")], []),
        (b"LICENSE", [found("MIT", "spdx-tag 1"), found("GPL-2.0-only")], [Doubt.CONTRADICTION]),
        (b"LICENSE", [found("MIT", "spdx-tag 1"), found("MIT"), found("GPL-2.0-only")], []),
        (b"LICENSE", [found("MIT"), found("LicenseRef-stackmill-unexplained", "residue 1", 40)], [Doubt.UNEXPLAINED]),
        (b"LICENSE", [found("MIT"), found("LicenseRef-stackmill-remark", "residue 1", 90)], []),
        (b"LICENSE", [found("MIT", "spdx-tag 1"), found("LicenseRef-stackmill-remark", "residue 1", 40)], [Doubt.LOW_SCORE]),
        (b"LICENSE", [found("NONE", "decision 1", 10)], []),
        (b"LICENSE", [found("LicenseRef-stackmill-refused", "decision 1")], []),
    ],
    ids=range(19),
)  # fmt: skip
def test_what_is_doubtful_about_a_file(name, detections, doubts):
    assert reasons_for(name, None, detections, POLICY) == doubts


@pytest.mark.parametrize(
    ("declared", "texts", "is_one"),
    [
        (["MIT"], ["GPL-3.0-only"], True),
        (["GPL-3.0-only"], ["MIT"], True),
        (["MIT"], ["Apache-2.0"], False),  # both are permitted: nothing comes of it
        (["GPL-2.0-only"], ["GPL-3.0-only"], False),
        (["MIT OR GPL-3.0-only"], ["GPL-3.0-or-later"], False),
        (["MIT"], ["MIT", "GPL-3.0-only"], False),
        (["MIT"], [], False),
        ([], ["MIT"], False),
    ],
    ids=range(8),
)
def test_a_manifest_contradicts_its_texts_where_that_changes_what_is_kept(declared, texts, is_one):
    assert conflict(declared, texts, POLICY) is is_one


@given(
    st.integers(0, 9999), st.sampled_from(["Ada", "Ben <b@example.org>", "the authors"]), st.integers(20, 100)
)
def test_copies_of_a_text_are_one_whoever_holds_it_and_however_it_is_wrapped(year, holder, width):
    words = TEXT.split()
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    wrapped = f"Copyright (c) {year} {holder}\n\n * " + "\n * ".join([*lines, line])
    assert fingerprint(wrapped) == fingerprint(TEXT)


@given(st.sampled_from(TEXT.split()))
def test_another_word_makes_it_another_text(word):
    assert fingerprint(TEXT.replace(word, word + "x", 1)) != fingerprint(TEXT)


@given(st.text(max_size=800))
def test_excerpts_are_bounded_and_one_line(text):
    for holders in (True, False):
        assert len(excerpt(text, holders=holders)) <= EXCERPT
        assert "\n" not in excerpt(text, holders=holders)


def test_an_excerpt_for_others_names_no_holder():
    text = f"Copyright 2020 Ada\nContact ada@example.org\nhttps://example.org/ada\n{TEXT}"
    assert excerpt(text, holders=False) == "You may read this work on Mondays."
    assert "Ada" in excerpt(text, holders=True)
    assert fingerprint("Copyright 2020 Ada\n") is None


def test_of_a_known_license_only_what_nobody_recognised_is_looked_at():
    body = "MIT terms. Not on Sundays, Zoë. More terms. Nor at night.".encode()
    spans = [(body.index(b"Not"), body.index(b" More")), (body.index(b"Nor"), len(body))]
    detections = [
        found("MIT"),
        *(found("LicenseRef-stackmill-unexplained") | {"start": a, "end": b} for a, b in spans),
    ]
    assert doubtful_part(body, detections) == "Not on Sundays, Zoë.\nNor at night."
    assert doubtful_part(body, [found("MIT")]) is None


def test_statements_are_bounded():
    shown = statements([found(f"A-{n}") for n in range(20)])
    assert len(shown) == 9 and shown[-1] == "and 12 more"
    assert shown[0] == "A-0: scancode 32.5.0, r, 100"
