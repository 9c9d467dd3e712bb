"""What makes two files look alike: words always, punctuation when it counts, white space never."""

from __future__ import annotations

import re
import string

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import intersections, near_duplicates, shingle_sets, sketch

CODE = b"""
def area(width, height, *, scale=1.0):
    if width <= 0 or height <= 0:
        raise ValueError(f"{width} x {height}")
    total = sum(row[i] * scale + 1 for i, row in enumerate(rows) if row[i] >= 0)
    return {"area": width * height / scale, "total": total % 7}
"""
PUNCTUATION = string.punctuation.replace("_", "").encode()
WHITE = st.sampled_from([b" ", b"\n", b"\t", b"\r\n    ", b"\0", b"\x7f"])
PIECES = st.one_of(
    st.sampled_from([b"a", b"_1", "ü".encode()]), st.sampled_from(list(PUNCTUATION)).map(lambda c: b"%c" % c)
)


def sets(texts, operators):
    return shingle_sets(pa.array(texts, pa.large_binary()), operators=operators)


def similarity(a: bytes, b: bytes, operators: bool = False) -> float:
    both = sets([a, b], operators)
    inter, union = intersections(both, both, *(pa.array([i]).to_numpy() for i in (0, 1)))
    return inter[0] / union[0] if union[0] else 0.0


@given(st.lists(st.tuples(PIECES, WHITE, st.booleans()), min_size=5, max_size=60))
@settings(deadline=None)
def test_white_space_beside_punctuation_makes_no_difference(parts):
    tight, loose = b"", b""
    for piece, white, wanted in parts:
        apart = piece[0] in PUNCTUATION or (tight[-1:] and tight[-1] in PUNCTUATION)
        tight += piece if apart else b" " + piece
        loose += (white if wanted or not apart else b"") + piece
    found = sets([tight, loose], True)
    assert found.sizes[0] == found.sizes[1]
    assert (found.values[: found.offsets[1]] == found.values[found.offsets[1] :]).all()


def test_each_byte_of_punctuation_is_one_token():
    text = b"a+=b ** c[d]->e"  # a + = b * * c [ d ] - > e
    counts = [sketch(pa.array([text], pa.large_binary()), operators=on).counts[0] for on in (False, True)]
    assert counts == [5 - 4, 13 - 4]
    words = len(re.findall(rb"\w+", CODE))
    signs = sum(c in PUNCTUATION for c in CODE)
    assert sketch(pa.array([CODE], pa.large_binary()), operators=True).counts[0] == words + signs - 4


@pytest.mark.parametrize("old, new", [(b"+", b"-"), (b"<=", b">="), (b"*", b"/"), (b"[i]", b"(i)")], ids=repr)
def test_files_that_differ_in_operators_only(old, new):
    other = CODE.replace(old, new)
    assert similarity(CODE, other) == 1.0
    assert 0.3 < similarity(CODE, other, operators=True) < 1.0


def test_files_of_punctuation_have_shingles_only_when_it_counts():
    texts = [b"+-*/ " * 30, b"+-*/ " * 29 + b"(((((((((( []", b"{}();\n" * 40, b"()" * 2]
    assert sketch(pa.array(texts, pa.large_binary())).counts.tolist() == [0] * 4
    assert near_duplicates(pa.array(texts, pa.large_binary()))["kind"].to_pylist() == ["unique"] * 4
    assert sketch(pa.array(texts, pa.large_binary()), operators=True).counts.tolist() == [116, 124, 196, 0]
    assert similarity(texts[0], texts[2], operators=True) == 0.0


@pytest.mark.parametrize("method", ["fast", "minhash"])
def test_one_call_finds_what_the_mode_lets_it(method):
    long = CODE + b"".join(b"x_%d = y_%d + z_%d\n" % (i, i, i) for i in range(40))
    texts = pa.array(
        [long, long.replace(b"+", b"-").replace(b"=", b":").replace(b"(", b"["), CODE], pa.large_binary()
    )
    assert near_duplicates(texts, method=method)["kind"].to_pylist() == ["unique", "near", "unique"]
    assert near_duplicates(texts, method=method, operators=True)["kind"].to_pylist() == ["unique"] * 3


# ------------------------------------------------------------------------------------------------ beyond ASCII

ALPHABETS = {
    "Chinese": ["变量", "函数", "返回", "数据", "文件", "错误", "名称", "长度"],
    "Japanese": ["変数", "かんすう", "データ", "ファイル", "エラー", "なまえ", "長さ", "配列"],
    "Cyrillic": ["имя", "длина", "файл", "ошибка", "данные", "число", "строка", "список"],
    "Arabic": ["اسم", "طول", "ملف", "خطأ", "بيانات", "عدد", "نص", "قائمة"],
    "emoji": ["😀", "🚀", "🐍", "🔥", "🎉", "👩‍💻", "🧪", "⚙️"],
    "not UTF-8": [b"\xff\xfe", b"\xe5", b"\xc3\x28"[:1], b"\x80\x80", b"\xed\xa0", b"\xfe", b"\xbf", b"\xc0"],
}


@pytest.mark.parametrize("operators", [False, True], ids=["words", "operators"])
@pytest.mark.parametrize("name", ALPHABETS)
def test_files_that_differ_in_their_letters_only_do_not_look_alike(name, operators):
    """The same structure with other identifiers, no ASCII letter anywhere: what counts ASCII words sees nothing."""
    letters = [w if isinstance(w, bytes) else w.encode() for w in ALPHABETS[name]]
    one = b"".join(
        b"%b = %b ( %b )\n" % (letters[i % 7], letters[i * i % 5], letters[i % 3]) for i in range(60)
    )
    two = b"".join(
        b"%b = %b ( %b )\n" % (letters[(i + 3) % 8], letters[(i * i + 2) % 7], letters[i % 5 + 2])
        for i in range(60)
    )
    assert sketch(pa.array([one, two], pa.large_binary()), operators=operators).counts.min() > 100
    assert similarity(one, one + b" ", operators) == 1.0
    assert similarity(one, two, operators) < 0.5
    assert (
        near_duplicates(pa.array([one, two], pa.large_binary()), operators=operators)["kept"].to_pylist()
        == [True] * 2
    )


def test_nul_separates_like_white_space():
    text = b"one two three four five six"
    assert similarity(text, text.replace(b" ", b"\0")) == 1.0
    assert similarity(text, text.replace(b" ", b"\0"), operators=True) == 1.0
    assert similarity(text, text.replace(b" ", b"")) == 0.0
