"""Decoding is lossless or says why not."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.content.decode import BARE, DECLARABLE, SCHEMA, decode_batch, encode

BODIES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(str.encode),
    st.text(max_size=60).map(lambda text: text.encode("utf-8-sig")),
    st.text(max_size=60).map(lambda text: b"\xff\xfe" + text.encode("utf-16-le")),
    st.text(max_size=60).map(lambda text: b"\0\0\xfe\xff" + text.encode("utf-32-be")),
    st.text("\u00e9\u00e8a b\n\u00fc", max_size=60).map(lambda text: text.encode("cp1252")),
    st.text("\u0436\u0448\u044f a\n", max_size=60).map(lambda text: text.encode("cp1251")),
    st.binary(min_size=60, max_size=80).flatmap(lambda one: st.just(b"x" * 70 + one)),
)


def decoded(bodies: list[bytes | None]) -> list[dict[str, object]]:
    table = decode_batch(pa.array(bodies, pa.large_binary()))
    assert table.schema == SCHEMA
    return table.to_pylist()


@given(st.lists(BODIES, max_size=6))
@example([b"\x80" * 500])
@example([b"\xff\xfe\0\0"])
@example([b"\xff\xfea"])
@example([b"\xed\xa0\x80", b"\xed\xb0\x80abc"])  # lone surrogates
@example([b"\xc0\x80", b"\xf5\x80\x80\x80", b"\xe0\x80\x80"])
@example([b"# coding: hex\n\xff", b"# coding: rot13\n\xff", b"# -*- coding: undefined -*- \xff"])
def test_lossless_or_a_reason(bodies):
    for body, row in zip(bodies, decoded(bodies), strict=True):
        if row["reason"] is None:
            assert encode(row["text"].decode("utf-8"), row["encoding"]) == body
            assert b"\0" not in row["text"]
        else:
            assert row["reason"] in ("binary", "undecodable")
            assert row["text"] is None and row["encoding"] is None


@given(st.lists(st.one_of(st.none(), BODIES), max_size=6), st.integers(0, 6))
def test_does_not_depend_on_the_batch(bodies, cut):
    whole = decoded(bodies)
    assert decoded(bodies[:cut]) + decoded(bodies[cut:]) == whole
    padded = pa.array([b"\xff", None, *bodies], pa.large_binary())
    assert decode_batch(padded[2:]).to_pylist() == whole


@given(st.binary(max_size=150))
def test_utf8_is_what_python_says_it_is(body):
    for padded in (body, b"a" * 61 + body, body + b"a" * 64):
        try:
            padded.decode()
            plain = b"\0" not in padded and not padded.startswith(b"\xef\xbb\xbf")
        except UnicodeDecodeError:
            plain = False
        assert (decoded([padded])[0]["encoding"] == "utf-8") == plain


LONG = st.text(st.characters(codec="latin-1", exclude_characters="\0"), min_size=8, max_size=60)


@given(st.sampled_from(sorted(DECLARABLE)), st.binary(max_size=60), st.booleans())
def test_every_encoding_that_is_believed_is_lossless(encoding, raw, valid):
    raw = raw.replace(b"\0", b"")
    raw = raw.decode(encoding, "ignore").encode(encoding, "ignore") if valid else raw
    body = b"# coding: " + encoding.encode() + b"\n" + raw
    row = decoded([body])[0]
    assert row["reason"] in (None, "undecodable")
    if row["reason"] is None:
        assert encode(row["text"].decode(), row["encoding"]) == body


@given(LONG, st.sampled_from(sorted(BARE)), st.binary(max_size=3))
@example("hello, world\n", "utf-16-le-bare", b"")
@example("hello, world\n", "utf-16-be-bare", b"a")
def test_bare_utf16_is_lossless_or_binary(text, name, tail):
    body = text.encode(BARE[name]) + tail
    row = decoded([body])[0]
    if row["reason"] is None:
        assert encode(row["text"].decode(), row["encoding"]) == body
        assert b"\0" not in row["text"]
    if text.isascii() and text.replace("\n", "").isprintable() and not tail:
        assert (row["encoding"], row["text"]) == (name, text.encode())


@given(
    st.text(st.characters(min_codepoint=0x80, exclude_categories=("Cs",)), min_size=12, max_size=40),
    st.data(),
)
def test_broken_utf8_is_never_shown_as_other_letters(text, data):
    body = b"# " + text.encode()
    cut = body[: data.draw(st.integers(len(body) - 3, len(body) - 1))]
    mixed = body + b"\n# \xe9 \n"
    for broken in (cut, mixed, b"# coding: latin-1\n" + mixed):
        row = decoded([broken])[0]
        assert row["reason"] == "undecodable" or broken == row["text"]


def test_plain_batches_are_not_copied():
    bodies = pa.array([b"abc", "d\u00e9f".encode(), b""], pa.large_binary())
    text = decode_batch(bodies)["text"].chunk(0)
    assert text.buffers()[2].address == bodies.buffers()[2].address


FRENCH = "# la moyenne des éléments donnés, où la précision est désirée\n"
RUSSIAN = "// Функция возвращает количество элементов в списке\n"
JAPANESE = "// この関数はリストの要素数を返します。\n"


@pytest.mark.parametrize(
    ("body", "encoding", "text"),
    [
        (b"", "utf-8", ""),
        (b"\xef\xbb\xbfabc\r\n", "utf-8-sig", "abc\r\n"),
        (b"\xff\xfea\0\n\0", "utf-16-le", "a\n"),
        (b"\xfe\xff\0a\0\n", "utf-16-be", "a\n"),
        (b"\xff\xfe\0\0a\0\0\0", "utf-32-le", "a"),
        (FRENCH.encode("latin-1"), "cp1252", FRENCH),
        ((FRENCH * 200).encode("latin-1"), "cp1252", FRENCH * 200),
        ((RUSSIAN * 20).encode("cp1251"), "cp1251", RUSSIAN * 20),
        (b"# coding: latin-1\n# \x93quoted\x94", "cp1252", "# coding: latin-1\n# \u201cquoted\u201d"),
        (RUSSIAN.encode("koi8_r"), "koi8_r", RUSSIAN),
        ((JAPANESE * 20).encode("euc_jp"), "euc_jp", JAPANESE * 20),
        (JAPANESE.encode("cp932"), "cp932", JAPANESE),
        ("a = 1\r\nb = 2\n".encode("utf-16-le"), "utf-16-le-bare", "a = 1\r\nb = 2\n"),
        ("a = 1; b = 2\n".encode("utf-16-be"), "utf-16-be-bare", "a = 1; b = 2\n"),
        (
            "caf\u00e9 = '\u20ac\U0001f600' # a comment that is longer\n".encode("utf-16-le"),
            "utf-16-le-bare",
            None,
        ),
        (
            b"# coding: utf-7\n# +AGE-\n",
            "utf-8",
            "# coding: utf-7\n# +AGE-\n",
        ),  # never UTF-7: what is there stands there
        (b"# coding: utf-7\n# \xe9l\xe8ve\n", "cp1252", None),
        ("# coding: latin-1\n# \u00e9t\u00e9\n".encode(), "utf-8", None),  # it lies
        ("# coding: ascii\n# \u00e9t\u00e9\n".encode("cp1252"), "cp1252", None),
        (b"a\nb\r\nc\rd", "utf-8", "a\nb\r\nc\rd"),
        (b"\xef\xbb\xbf\xef\xbb\xbfa", "utf-8-sig", "\ufeffa"),
        (b"# -*- coding: iso-8859-2 -*-\n# " + "\u0142\u00f3d\u017a".encode("iso8859_2"), "iso8859_2", None),
    ],
)
def test_encodings(body, encoding, text):
    row = decoded([body])[0]
    assert row["encoding"] == encoding
    assert text is None or row["text"].decode() == text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"a\0b", "binary"),
        (b"a" * 200 + b"\0", "binary"),
        ("text".encode("utf-16-le"), "binary"),  # no mark, and too short to be sure
        ("a long enough text\n".encode("utf-16-le") + b"x", "binary"),  # half a character
        ("a long enough text\0".encode("utf-16-le"), "binary"),
        ("a long enough text\x07".encode("utf-16-le"), "binary"),
        ("a long enough text\ue000".encode("utf-16-be"), "binary"),
        ("a long enough text".encode("utf-16-le") + b"\0\xd8", "binary"),  # half of a pair
        ("a long enough text".encode("utf-32-le"), "binary"),
        ("\u0436\u0448\u044f \u0430\u0431\u0432 \u0433\u0434".encode("utf-16-le"), "binary"),
        (("\u3042\u3044\u3046\u3048" * 9).encode()[:-1], "undecodable"),  # cut
        (("\u00e9t\u00e9 " * 9).encode() + b"\xe9", "undecodable"),  # two encodings
        (b"\xff\xfe\0\0", None),  # UTF-32 mark and nothing behind it: an empty text
        (b"\xff\xfea\0\0\0", "binary"),  # UTF-16 with U+0000
        (b"\0" * 10_000, "binary"),
        (bytes(range(1, 256)) * 20, "undecodable"),
    ],
)
def test_reasons(body, reason):
    assert decoded([body])[0]["reason"] == reason


def test_null_body():
    assert decoded([None, b"a"])[0] == {"encoding": None, "reason": None, "text": None}


def test_large_hostile_bodies_take_linear_time():
    for body in (b"\x80" * 2_000_000, b"a" * 2_000_000 + b"\xe9", b"\xe9\n" * 500_000, b"\xc3" * 2_000_001):
        assert len(decoded([body])) == 1
