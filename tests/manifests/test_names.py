"""What may stand in a release: paths that stay inside it and mean one file on every system."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import names
from manifests.errors import PathError

HOSTILE = [
    "",
    "/etc/passwd",
    "../x",
    "a/../b",
    "a/..",
    "./a",
    "a//b",
    "a/",
    "a\\b",
    "C:/x",
    "C:x",
    "a\0b",
    "a\nb",
    "a\x1b[31mb",
    "a\u202eb",
    "a\u200bb",
    "a\ud800b",
    "a?",
    "a*",
    "a|b",
    "a. ",
    "a.",
    "dir./x",
    "a/nul",
    "COM1.txt/x",
    "x" * 1025,
    "é" * 513,
]


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_are_refused(path):
    with pytest.raises(PathError):
        names.check_path(path)


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["..", ".", "a", "", "b c", "C:", "\\"]), max_size=5).map("/".join)
)
def test_an_accepted_path_stays_inside(path):
    try:
        names.check_path(path)
    except PathError:
        return
    for kind in (PurePosixPath, PureWindowsPath):
        parts = kind(path).parts
        assert not kind(path).is_absolute() and ".." not in parts and not kind(path).drive
    assert "/".join(PurePosixPath(path).parts) == path


@pytest.mark.parametrize(
    ("language", "config"),
    [
        ("F*", "F-star"),
        ("C++", "C++"),
        ("C#", "C#"),
        ("a/b", "a-b"),
        ("1C Enterprise", "1C Enterprise"),
        (".x", "-x"),
    ],
)
def test_config_names(language, config):
    assert names.config_name(language) == config
    assert names.shard_path(language, "01") == f"data/{config}/train-01.parquet"


@given(st.text(min_size=1, max_size=20))
def test_a_language_that_is_accepted_has_a_safe_path(language):
    try:
        names.check_language(language)
    except PathError:
        return
    path = names.shard_path(language)
    assert path.count("/") == 2
    assert not any(character in path for character in '*?[]<>:"|\\')


@pytest.mark.parametrize("language", ["", "default", "Default", " C", "a\nb", "x" * 101])
def test_languages_that_are_refused(language):
    with pytest.raises(PathError):
        names.check_language(language)


@pytest.mark.parametrize("version", ["2.1", "0.1.0", "2.1.3.4", "2.1-rc.1"])
def test_versions(version):
    assert names.check_version(version) == version


@pytest.mark.parametrize(
    "version", ["", "2", "v2.1", "2.01", "2.1.", "2.1 ", "../2.1", "2.1/3", "2.1-", "1.2.3.4.5"]
)
def test_versions_that_are_refused(version):
    with pytest.raises(PathError):
        names.check_version(version)


@pytest.mark.parametrize("prefix", ["", "2", "all1", "0 1", "0" * 257])
def test_prefixes_that_are_refused(prefix):
    with pytest.raises(PathError):
        names.shard_path("C", prefix)


def test_visible_text_has_no_escape_sequences():
    assert names.visible("a\x1b[31m\u202eb\n") == "a\\x1b[31m\\u202eb\\n"
    assert names.visible("größe #1") == "größe #1"
