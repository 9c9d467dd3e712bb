"""Strict YAML."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import yaml_file
from training.errors import TrainingConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("4E5", 4e5),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("no", "no"),
        ("on", "on"),
        ("Y", "Y"),
        ("true", True),
        ("False", False),
        ("-.INF", -math.inf),
        (".Inf", math.inf),
        ("null", None),
        ("~", None),
        ("", None),
        ("1:30", "1:30"),
        ("010", 10),
        ("4_096", 4096),
        ("-7", -7),
        ("2026-11-21", "2026-11-21"),
        ("'1e-3'", "1e-3"),
        ("[a, 1, 2.5, yes]", ["a", 1, 2.5, "yes"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
    ],
)
def test_scalars_mean_what_people_write(text: str, value: object) -> None:
    parsed, _ = yaml_file.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_back(number: float) -> None:
    assert yaml_file.parse(repr(number))[0] == number


def test_lines_of_keys_and_items() -> None:
    _, lines = yaml_file.parse("a: 1\n\nb:\n  c: [x,\n      y]\n")
    assert lines == {("a",): 1, ("b",): 3, ("b", "c"): 4, ("b", "c", 0): 4, ("b", "c", 1): 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"line 3: the key 'a' was already given on line 1"),
        ("a: &x 1\nb: *x\n", r"aliases"),
        ("a: [1, 2\n", r"line \d+: not valid YAML"),
        ("a: !!python/object:os.system 1\n", r"line 1: the YAML tag"),
        ("? [a]\n: 1\n", r"line 1: keys must be plain"),
        ("a: 1\nb: " + "9" * 5000, r"line 2: a number of 5000 characters"),
        ("[" * 1000, "in one another too deeply"),
        ("a: 1\nb: x\x1b[2Jy", r"line 2: not valid YAML: the character U\+001B"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(TrainingConfigError, match=message):
        yaml_file.parse(text)


def test_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("a: 1\na: 2\n")
    with pytest.raises(TrainingConfigError, match=r"c\.yaml:2: the key 'a'"):
        yaml_file.read(file)
    file.write_bytes(b"a: \xff\n")
    with pytest.raises(TrainingConfigError, match="not UTF-8 at byte 3"):
        yaml_file.read(file)
    with pytest.raises(TrainingConfigError, match="cannot be read"):
        yaml_file.read(tmp_path / "none.yaml")
