"""Texts made to hide values or to hurt: whatever surrounds a value, and however texts are stored, it is found."""

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, EXAMPLES, crc_token, marked, pem, rand

from pii import Settings, redact_one, scan, scan_one, scan_text
from pii.detect_secrets_gate import LONG_LINE
from pii.texts import bodies
from pipeline.content.decode import decode_batch

TOKEN = crc_token("gh" + "p")
MAIL = "ann@uni" + "-x.org"
LOW, MEDIUM, HIGH = (Settings(sensitivity=s) for s in ("low", "medium", "high"))
ACTIVE = {r.id for r in MEDIUM.active_rules}
TRUE = [(rule, *marked(t)) for rule, (true, _) in EXAMPLES.items() if rule in ACTIVE for t in true]
TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(), pa.binary_view()]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=9)), max_size=8), st.sampled_from(TYPES), st.data())
def test_bodies_are_the_texts_in_any_form(texts, kind, data):
    wanted = [None if t is None else t.encode() for t in texts]
    array = (
        pa.array(wanted, pa.large_binary()).cast(kind) if kind != pa.binary_view() else pa.array(wanted, kind)
    )
    low = data.draw(st.integers(0, len(texts)))
    high = data.draw(st.integers(low, len(texts)))
    for held, expected in (
        (array, wanted),
        (array.slice(low, high - low), wanted[low:high]),
        (pa.chunked_array([array.slice(0, low), array.slice(low)], kind), wanted),
        (pa.chunked_array([], kind), []),
    ):
        assert [None if b is None else bytes(b) for b in bodies(held)] == expected


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_findings_are_the_same_in_any_form(kind):
    texts = [f"t = {TOKEN}", None, "", f"é {MAIL} é", "nothing"]
    array = (
        pa.array(texts, kind)
        if "binary" not in str(kind)
        else pa.array([t and t.encode() for t in texts], kind)
    )
    found = scan(array, MEDIUM)
    assert found["doc"].to_pylist() == [0, 3] and found["kind"].to_pylist() == ["key", "email"]
    assert scan(array.slice(2), MEDIUM)["doc"].to_pylist() == [1]


def test_a_text_without_findings_is_not_copied(monkeypatch):
    copied = []
    monkeypatch.setitem(scan.__globals__, "bytes", lambda view: copied.append(len(view)) or bytes(view))
    scan(pa.array(["quiet", "x" * 99, f"t = {TOKEN}"]), LOW)
    assert copied == [len(TOKEN) + 4]


@pytest.mark.parametrize("level", [LOW, HIGH], ids=["low", "high"])
def test_a_value_is_found_at_any_offset(level):
    """Whatever an engine reads at once: blocks of 16 to 64 bytes, lines, windows of long lines."""
    edges = {
        *range(130),
        *range(LONG_LINE - 50, LONG_LINE + 50, 3),
        *range(3 * LONG_LINE // 2 - 45, 3 * LONG_LINE // 2 + 5, 7),
    }
    for pad in sorted(edges):
        body = b"." * pad + b" " + TOKEN.encode() + b" " + b"." * (LONG_LINE // 2)
        assert [f[:2] for f in scan_one(body, level)] == [(pad + 1, pad + 1 + len(TOKEN))], pad


@pytest.mark.parametrize("level", [LOW, MEDIUM, HIGH], ids=["low", "medium", "high"])
def test_findings_do_not_depend_on_how_texts_are_cut(level):
    """The same text as a row of one, of many chunks, of slices with neighbours that end and begin like a token."""
    texts = [t.decode() for _, t, _ in TRUE[:60]]
    whole = scan(pa.array(texts), level).to_pydict()
    for size in (1, 7):
        chunks = [pa.array(texts[i : i + size]) for i in range(0, len(texts), size)]
        assert scan(pa.chunked_array(chunks), level).to_pydict() == whole
    for cut in range(1, len(TOKEN)):
        # a token in two rows is none: rows are texts, whatever lies behind them in memory
        assert scan(pa.array([TOKEN[:cut], TOKEN[cut:]]), LOW).num_rows == 0
        assert scan(pa.array([TOKEN[:cut], TOKEN, TOKEN[cut:]]).slice(1, 1), LOW)["end"].to_pylist() == [
            len(TOKEN)
        ]


AROUND = [
    b"",
    b"\xff",
    b"\x80",
    b"\xc3",
    b"\xe2\x82",
    b"\xf0\x9f",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\x00",
    b"\x1b[0m",
    b"\x7f",
]


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(range(len(TRUE))),
    st.lists(st.sampled_from(AROUND), max_size=4).map(b"".join),
    st.lists(st.sampled_from(AROUND), max_size=4).map(b"".join),
)
def test_invalid_bytes_around_a_text_hide_nothing(number, before, after):
    _, text, (start, end) = TRUE[number]
    body = before + b"\n" + text + b"\n" + after
    found = scan_one(body, MEDIUM)
    at = len(before) + 1
    assert any(s <= start + at and end + at <= e for s, e, _, _ in found)
    released = redact_one(body, found)[0]
    assert scan_one(released, MEDIUM) == [] and released.startswith(before) and released.endswith(after)


@pytest.mark.parametrize("junk", AROUND[1:], ids=lambda b: b.hex())
def test_invalid_bytes_right_beside_a_token(junk):
    body = junk + TOKEN.encode() + junk
    if junk == b"\x1b[0m":  # ends with a letter: the token does not begin here
        body = junk + b" " + TOKEN.encode() + junk
    at = body.index(TOKEN.encode())
    assert [f[:2] for f in scan_one(body, LOW)] == [(at, at + len(TOKEN))]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_other_encodings_once_decoded(encoding):
    text = f"# Größe\r\nkey = '{TOKEN}'\r\nmail = '{MAIL}'\r\n" + "x = 1\r\n" * 20
    decoded = decode_batch(pa.array([text.encode(encoding)], pa.large_binary()))["text"].combine_chunks()
    body = text.encode()
    assert scan(decoded, MEDIUM).select(["start", "end", "kind"]).to_pylist() == [
        {"start": body.index(v.encode()), "end": body.index(v.encode()) + len(v), "kind": k}
        for v, k in ((TOKEN, "key"), (MAIL, "email"))
    ]


def test_binary_like_text():
    blob = bytes(range(256)) * 40
    body = blob + b"\x00" + TOKEN.encode() + b"\x00" + blob + pem().encode() + b"\x00\x01"
    found = scan_one(body, HIGH)
    assert {f[2] for f in found} >= {"key", "private_key"}
    assert not any(v in redact_one(body, found)[0] for v in (TOKEN.encode(), pem().encode()[40:80]))


def test_one_value_that_many_rules_find():
    text = f"password = 'https://{TOKEN}:{TOKEN}@uni" + f'-x.org/?t={TOKEN}\'; secret = "{TOKEN}" # {MAIL}'
    for level in (LOW, MEDIUM, HIGH):
        found = scan_one(text.encode(), level)
        assert all(a[1] <= b[0] for a, b in pairwise(found))
        released = redact_one(text.encode(), found)[0].decode()
        assert TOKEN not in released and scan_one(released.encode(), level) == []


def test_placeholders_that_look_like_secrets_and_the_reverse():
    for quiet in (
        "gh" + "p_" + "x" * 36,
        "AK" + "IA" + "IOSFODNN7" + "EXAMPLE",
        "gh" + "p_" + "0" * 36,
        "sk" + "_live_" + "x" * 24,
    ):
        assert scan_one(f"key = '{quiet}'".encode(), LOW) == []
    # words for placeholders beside a value hide nothing
    for text in (
        f"example: {TOKEN}",
        f"your-token-here={TOKEN}",
        f"<token>{TOKEN}</token>",
        f"xxxx {TOKEN} xxxx",
        f"${{X:-{TOKEN}}}",
    ):
        assert len(scan_one(text.encode(), LOW)) == 1, text


def test_many_values_in_one_line_are_all_found():
    n = 4_000
    text = ", ".join(
        f"u{i}@mail.uni" + f"-x.org '{crc_token('gh' + 'p', i % 500)}'" for i in range(n)
    ).encode()
    found = scan_text(text, MEDIUM).findings
    assert len(found) == 2 * n
    released, _ = redact_one(text, found)
    assert scan_one(released, MEDIUM) == []


def test_a_text_beyond_what_the_engines_read_is_an_error(monkeypatch):
    monkeypatch.setitem(scan.__globals__, "MAX_TEXT", 20)
    with pytest.raises(ValueError, match="text 1 has 21 bytes"):
        scan(pa.array(["x" * 20, "x" * 21]), LOW)
    with pytest.raises(ValueError, match="has 21 bytes"):
        scan_one(b"x" * 21, LOW)


@pytest.mark.slow
@pytest.mark.parametrize("level", [LOW, MEDIUM, HIGH], ids=["low", "medium", "high"])
def test_a_line_of_100_megabytes(level):
    unit = b'function a(b,c){return b.d(c)+"e f"};var g={h:1,i:[2,3],j:"k-l"};'
    half = unit * (50_000_000 // len(unit))
    token = TOKEN.encode()
    body = b" ".join([token, half, token, half, token])
    found = scan_one(body, level)
    assert [f[0] for f in found] == [0, len(token) + len(half) + 2, len(body) - len(token)]
    assert rand(ALNUM, 9) not in str(found)
