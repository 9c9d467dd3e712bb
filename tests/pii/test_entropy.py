"""Bare random strings: the kernel against plain Python, batches, borders, and what is found of them."""

import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, HEX, URL64, UUID, rand

from pii import Settings, scan_text
from pii.entropy import RULE, RUN_MAX, RUN_MIN, bare_findings, runs
from pii.word_model import score

_RUN = re.compile(rb"[A-Za-z0-9+/_-]+")


def reference(body):
    """What `runs` finds, with the standard library; those within a hundredth of a limit of the entropy as maybe."""
    sure, maybe = set(), set()
    for m in _RUN.finditer(body):
        value, n = m.group(), len(m.group())
        if (
            not RUN_MIN <= n <= RUN_MAX
            or not re.search(rb"[0-9]", value)
            or not re.search(rb"[A-Za-z]", value)
        ):
            continue
        hexadecimal = re.fullmatch(rb"[0-9A-Fa-f]+", value)
        # the kernel's alphabets: hex, 36 without upper case, else 64
        bits = score(value)[0] + n * _difference(value, hexadecimal)
        if bits > -8:
            continue
        entropy = math.log2(n) - sum(c * math.log2(c) for c in Counter(value).values()) / n
        margin = entropy - (2.8 if hexadecimal else 3.2)
        if margin > -0.01:
            (sure if margin > 0.01 else maybe).add(m.span())
    return sure, maybe


def _difference(value, hexadecimal):
    """Bits per character by which the kernel's alphabet is larger than that of the score."""
    used = 4.0 if hexadecimal else 48 / 8 if re.search(rb"[A-Z]", value) else 41 / 8
    marks = re.search(rb"[-_+/=]", value)
    lower, upper = re.search(rb"[a-z]", value), re.search(rb"[A-Z]", value)
    if marks or (lower and upper):
        own = 6.0
    elif hexadecimal:
        own = 4.0
    elif upper and not re.search(rb"[0189]", value):
        own = 5.0
    else:
        own = 41 / 8
    return used - own


def found(body):
    return {
        (s, e) for s, e, _ in runs(np.frombuffer(body, np.uint8), np.array([0, len(body)], np.int64)).tolist()
    }


PIECES = st.one_of(
    st.sampled_from(
        [rand(ALNUM, n, n) for n in (15, 16, 17, 24, 40)]
        + [rand(HEX, n, n) for n in (15, 16, 32, 64)]
        + [
            rand(URL64, 512),
            rand(URL64, 513),
            "someIdentifierName2Long",
            "a" * 30 + "1",
            " ",
            "=",
            '"',
            "\n",
            "é",
            "path/to/file_2/x",
        ]
    ),
    st.text(alphabet=ALNUM + "+/_-= \n", max_size=30),
)
TEXT = st.lists(PIECES, max_size=12).map("".join).map(str.encode)


@settings(max_examples=200, deadline=None)
@given(TEXT)
def test_the_kernel_agrees_with_plain_python(body):
    sure, maybe = reference(body)
    got = found(body)
    assert sure <= got <= sure | maybe


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, max_size=5))
def test_texts_do_not_touch_each_other(texts):
    data = np.frombuffer(b"".join(texts), np.uint8)
    offsets = np.cumsum([0, *(len(t) for t in texts)]).astype(np.int64)
    got = runs(data, offsets).tolist()
    assert got == [
        [s + int(offsets[i]), e + int(offsets[i]), i]
        for i, t in enumerate(texts)
        for s, e in sorted(found(t))
    ]


def test_more_runs_than_the_first_guess():
    body = b" ".join(rand(ALNUM, 24, i).encode() for i in range(1000))
    assert len(found(body)) > 900


@pytest.mark.parametrize(
    "line",
    [
        f'client.connect("h.test", "[[{rand(ALNUM, 32)}]]")',
        f"headers = {{'X-Session': '[[{rand(ALNUM + '+/', 44)}]]'}}",
        f'  - "[[{rand(URL64, 43)}]]"',
        f"the token is [[{rand(ALNUM, 40)}]]",
        f"# secret [[{rand(HEX, 48)}]]",
    ],
    ids=range(5),
)
def test_found(line):
    before, rest = line.split("[[")
    value = rest.split("]]")[0]
    body = line.replace("[[", "").replace("]]", "").encode()
    start = len(before)
    assert (start, start + len(value), "key", RULE) in bare_findings(body)
    assert any(f[0] <= start and f[1] >= start + len(value) for f in scan_text(body, Settings()).findings)
    assert bare_findings(b"\n" + body + b"\n") == [(s + 1, e + 1, k, r) for s, e, k, r in bare_findings(body)]


@pytest.mark.parametrize(
    "line",
    [
        f'x = "{rand(HEX, 40)}"',
        f'x = "{UUID}"',
        f'integrity: "sha512-{rand(ALNUM, 86)}=="',
        f'versionId = "{rand(ALNUM, 32)}"',
        f"see {rand(ALNUM, 32)} there",
        f'x = ["{rand(ALNUM, 32, 1)}", "{rand(ALNUM, 32, 2)}", "{rand(ALNUM, 32, 3)}"]',
        'name = "aVeryLongIdentifierOfSome2ThingWithNames"',
        f'x = "data:image/png;base64,{rand(ALNUM, 90)}"',
        f'secret_hash = "{rand(ALNUM, 44)}"',
        'x = "' + "ab1" * 20 + '"',
        f'x = "{rand(ALNUM, 19)}"',
    ],
    ids=range(11),
)
def test_not_found(line):
    assert bare_findings(line.encode()) == []
