"""Name classes, extensions and shown paths: invariants on any bytes, then examples."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.content import names
from pipeline.content.generated_names import GENERATED_NAMES, GENERATED_SUFFIXES
from pipeline.content.shown import unescape
from pipeline.content.taxonomy import BY_EXTENSION, BY_FILENAME

PIECES = st.sampled_from(
    [
        b".",
        b"_",
        b"-",
        b"/",
        b"Makefile",
        b"README",
        b".txt",
        b".TAR",
        b".gz",
        b".html",
        b".erb",
        b"_pb2.py",
        b"requirements",
        b"min",
        b"js",
        b"\xff",
        b"\n",
        b"\\x41",
        b"\\",
        b"\xe2\x80\xae",
        b"\xc3\xa9",
        b"A",
        b"0",
    ]
)
PATHS = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=8).map(b"".join))


def classes(paths: list[bytes | None], kind: pa.DataType | None = None) -> list[bytes | None]:
    return names.name_class(pa.array(paths, kind or pa.large_binary())).to_pylist()


@given(st.lists(PATHS, max_size=20))
def test_class_is_idempotent_and_short(paths):
    found = classes(paths)
    assert classes(found) == found
    assert all(b"/" not in one and len(one) <= 40 for one in found)


@given(st.lists(PATHS, max_size=20), st.integers(0, 20))
def test_class_does_not_depend_on_the_batch_the_width_or_the_directory(paths, cut):
    whole = classes(paths)
    assert classes(paths[:cut]) + classes(paths[cut:]) == whole
    assert classes(paths, pa.binary()) == whole
    assert names.name_class(pa.array([b"x", *paths], pa.large_binary())[1:]).to_pylist() == whole
    assert classes([b"some/dir/" + path for path in paths]) == whole


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"src/Makefile", b"Makefile"),
        (b"src/MAKEFILE", b""),
        (b"a.b/c", b""),
        (b"x.TAR.GZ", b".tar.gz"),
        (b"page.html.ERB", b".html.erb" if b".html.erb" in BY_EXTENSION else b".erb"),
        (b"api_pb2.py", b"_pb2.py"),
        (b"jquery.min.js", b".min.js"),
        (b"web/package-lock.json", b"package-lock.json"),
        (b"Requirements-Dev.txt", b"requirements.txt"),
        (b"ReadMe.TXT", b"readme.txt"),
        (b"todo", b"todo"),
        (b"thing.xyz123", b".xyz123"),
        (b"thing." + b"q" * 17, b""),
        (b"thing.caf\xc3\xa9", b""),
        (b"thing.", b""),
        (b".bashrc", b".bashrc"),
        (b"dir/", b""),
        (b"", b""),
        (b"\xff\xfe.PY", b".py"),
    ],
)
def test_class_examples(path, expected):
    assert classes([path]) == [expected]


def test_every_name_of_the_tables_is_its_own_class():
    known = [*BY_FILENAME, *GENERATED_NAMES]
    assert classes(known) == known
    ends = [*BY_EXTENSION, *GENERATED_SUFFIXES]
    assert list(classes([b"x" + end for end in ends])) == ends


def test_nulls_stay_null():
    assert classes([b"a.py", None, b"b.c"]) == [b".py", None, b".c"]
    assert names.escape_paths(pa.array([None, b"a\n"], pa.binary())).to_pylist() == [None, "a\\x0a"]
    assert classes([]) == []


@given(st.lists(PATHS, max_size=10))
def test_shown_paths_are_reversible_and_harmless(paths):
    shown = names.escape_paths(pa.array(paths, pa.large_binary())).to_pylist()
    assert shown == [names.escape(path) for path in paths]
    assert [unescape(one) for one in shown] == paths
    for path, one in zip(paths, shown, strict=True):
        assert all(character.isprintable() or character.isspace() for character in one if character < "\x80")
        assert not any(ord(character) < 32 for character in one)
        assert not set(one) & set("\u202e\u2028\u2066\x9b")
        if path.isascii() and all(32 <= byte < 127 for byte in path) and b"\\" not in path:
            assert one == path.decode()


def test_escape_examples():
    assert names.escape("d\u00e9j\u00e0/vu.py".encode()) == "d\u00e9j\u00e0/vu.py"
    assert names.escape(b"caf\xe9") == "caf\\xe9"
    assert names.escape(b"C:\\new") == "C:\\new"
    assert names.escape(b"\\x41") == "\\x5cx41"


@given(st.lists(PATHS, max_size=10))
def test_extension_is_the_text_behind_the_last_dot(paths):
    found = names.extension(pa.array(paths, pa.large_binary())).to_pylist()
    for path, one in zip(paths, found, strict=True):
        base = path.split(b"/")[-1]
        assert unescape(one) == (base.split(b".")[-1].lower() if b"." in base else b"")


def test_long_and_many_names():
    path = b"a" * 4000 + b".py"
    assert classes([path] * 3) == [b".py"] * 3
    assert len(classes([b"." * 100_000])) == 1
