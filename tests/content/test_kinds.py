"""Kinds of files: by path, name class, language and line length, each for itself."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config_kinds import Kinds
from pipeline.content.generated_names import (
    GENERATED_NAMES,
    GENERATED_SUFFIXES,
    LOCK_NAMES,
    MINIFIED_SUFFIXES,
)
from pipeline.content.kinds import CONFIGURATION, KINDS, kinds
from pipeline.content.names import name_class
from pipeline.content.taxonomy import LANGUAGES


def kinds_of(path: bytes, language: str | None = "Python", average: float | None = 20.0) -> set[str]:
    paths = pa.array([path], pa.binary())
    found = kinds(
        paths, name_class(paths), pa.array([language], pa.string()), pa.array([average], pa.float32())
    )
    assert tuple(found) == KINDS
    return {kind for kind, flags in found.items() if flags[0]}


def test_tables():
    assert set(Kinds.model_fields) == set(KINDS)
    assert set(LANGUAGES) >= CONFIGURATION
    assert LOCK_NAMES < GENERATED_NAMES and set(MINIFIED_SUFFIXES) < set(GENERATED_SUFFIXES)


@pytest.mark.parametrize(
    ("path", "language", "expected"),
    [
        (b"src/a.py", "Python", set()),
        (b"docs/a.py", "Python", {"documentation"}),
        (b"a/Documentation/b/c.rst", "reStructuredText", {"documentation"}),
        (b"docs", "Text", set()),
        (b"mydocs/a.py", "Python", set()),
        (b"README", "Text", {"documentation"}),
        (b"a/ReadMe.de.md", "Markdown", {"documentation"}),
        (b"a/CHANGELOG.rst", "reStructuredText", {"documentation"}),
        (b"security.py", "Python", set()),
        (b"SECURITY.md", "Markdown", {"documentation"}),
        (b"readme_reader.py", "Python", set()),
        (b"a.min.js", "JavaScript", {"minified"}),
        (b"a.css.map", "JSON", {"minified", "data"}),
        (b"yarn.lock", "YAML", {"lock"}),
        (b"docs/package-lock.json", "JSON", {"documentation", "lock"}),
        (b"a.yml", "YAML", {"configuration"}),
        (b"a.json", "JSON", {"data"}),
        (b"a.unknown", None, set()),
        (b"\xff/docs/\xfe", None, {"documentation"}),
        (b"", None, set()),
    ],
)
def test_examples(path, language, expected):
    assert kinds_of(path, language) == expected


@pytest.mark.parametrize(("language", "expected"), [("JavaScript", True), ("CSS", True), ("Python", False)])
def test_long_lines_are_minified_in_the_languages_that_are_minified(language, expected):
    assert ("minified" in kinds_of(b"a.x", language, 110.5)) is expected
    assert "minified" not in kinds_of(b"a.x", language, 110.0)
    assert "minified" not in kinds_of(b"a.x", language, None)


@given(st.lists(st.tuples(st.binary(max_size=30), st.sampled_from([None, "JSON", "CSS"])), max_size=6))
def test_does_not_depend_on_the_batch(files):
    paths = pa.array([path for path, _ in files], pa.binary())
    languages = pa.array([language for _, language in files], pa.string())
    whole = kinds(paths, name_class(paths), languages, pa.array([200.0] * len(files), pa.float32()))
    for row, (path, language) in enumerate(files):
        assert {kind for kind in KINDS if whole[kind][row]} == kinds_of(path, language, 200.0)
