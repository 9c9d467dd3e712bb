"""Filter profiles: the published thresholds, and errors that say where."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.content.names import name_class
from pipeline.content.profiles import ProfileError, load_profile
from pipeline.content.quality import failures, verdict
from pipeline.content.signals import SCHEMA, signals

GOOD = {
    "num_lines": 10,
    "avg_line_length": 30.0,
    "max_line_length": 80,
    "alpha_fraction": 0.6,
    "alphanum_fraction": 0.7,
    "encoded_fraction": 0.0,
    "longest_encoded_run": 0,
    "first_lines_generated": False,
}


def judge(
    language: str | None, name: bytes = b"a.x", profile: str = "the-stack-v2", **changed: object
) -> str | None:
    table = pa.Table.from_pylist([GOOD | changed], schema=SCHEMA)
    classes = name_class(pa.array([name], pa.binary()))
    found = verdict(table, pa.array([language], pa.string()), load_profile(profile), name_classes=classes)
    # What `explain` tells of a file begins with the rule that drops it.
    told = list(
        failures(table.to_pylist()[0], language, load_profile(profile), name_class=classes[0].as_py())
    )
    assert found[0].as_py() == (f"quality.{told[0]['rule']}" if told else None)
    return found[0].as_py()


@pytest.mark.parametrize(
    ("language", "changed", "expected"),
    [
        ("Python", {}, None),
        (None, {}, None),
        ("Python", {"num_lines": 0}, "quality.empty"),
        ("Python", {"num_lines": 100_000}, None),
        ("Python", {"num_lines": 100_001}, "quality.long_file"),
        ("Python", {"avg_line_length": 100.0}, None),
        ("Python", {"avg_line_length": 100.5}, "quality.line_length"),
        ("Python", {"max_line_length": 1000}, None),
        ("Python", {"max_line_length": 1001}, "quality.line_length"),
        (None, {"max_line_length": 1001}, "quality.line_length"),
        ("HTML", {"max_line_length": 100_000, "avg_line_length": 5000.0}, None),
        ("HTML", {"max_line_length": 100_001}, "quality.line_length"),
        ("Python", {"alpha_fraction": 0.25}, None),
        ("Python", {"alpha_fraction": 0.24}, "quality.alphabetic"),
        ("WebAssembly", {"alpha_fraction": 0.1}, None),
        ("WebAssembly", {"alpha_fraction": 0.1, "alphanum_fraction": 0.24}, "quality.alphabetic"),
        ("Python", {"encoded_fraction": 0.5, "longest_encoded_run": 1024}, None),
        ("Python", {"encoded_fraction": 0.51}, "quality.encoded"),
        ("Python", {"longest_encoded_run": 1025}, "quality.encoded"),
        ("JSON", {"num_lines": 512}, None),
        ("JSON", {"num_lines": 513}, "quality.data_like"),
        ("Python", {"num_lines": 513}, None),
        ("Text", {}, "quality.text"),
        ("Python", {"num_lines": 100_001, "alpha_fraction": 0.0}, "quality.long_file"),  # the first rule
    ],
)
def test_published_thresholds(language, changed, expected):
    assert judge(language, **changed) == expected


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (b"README", True),
        (b"readme.txt", True),
        (b"Notes.TXT", True),
        (b"todo.txt", True),
        (b"my-requirements.txt", True),
        (b"cmakelists.txt", True),
        (b"license.txt", False),
        (b"LICENSE", False),
        (b"x.txt", False),
    ],
)
def test_text_rule(name, kept):
    assert (judge("Text", name) is None) == kept


def test_profile_none_drops_nothing():
    assert judge("Python", profile="none", num_lines=10**9, alpha_fraction=0.0) is None


def test_missing_text_has_no_verdict():
    table = signals(pa.array([None, b""], pa.large_binary()))
    assert verdict(table, pa.array([None, None], pa.string())).to_pylist() == [None, "quality.empty"]


def test_digest_follows_the_rules():
    assert load_profile().digest == load_profile("the-stack-v2").digest != load_profile("none").digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1", "YAML"),
        ("a: 1", "`profile`"),
        ("profile: x\nrules: [1]", "rule 1"),
        ("profile: x\nrules: [{rule: a, anny: []}]", "anny"),
        ("profile: x\nrules: [{rule: a}]", "nothing is tested"),
        ("profile: x\nrules: [{rule: 'a b', any: []}]", "letters"),
        ("profile: x\nrules: [{rule: a, languages: [Pyton], any: []}]", "Pyton"),
        ("profile: x\nrules: [{rule: a, languages: [C], except: [C]}]", "not both"),
        ("profile: x\nrules: [{rule: a, languages: C}]", "list"),
        ("profile: x\nrules: [{rule: a, any: [{signal: lines, above: 1}]}]", "num_lines"),
        ("profile: x\nrules: [{rule: a, any: [{signal: num_lines, above: many}]}]", "number"),
        ("profile: x\nrules: [{rule: a, any: [{signal: num_lines}]}]", "above"),
        ("profile: x\nrules: [{rule: a, any: [1]}]", "above"),
    ],
)
def test_malformed_profiles(tmp_path, text, message):
    path = tmp_path / "profile.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=message) as error:
        load_profile(path)
    assert str(path) in str(error.value)


def test_unknown_profile():
    with pytest.raises(ProfileError, match="the-stack-v2"):
        load_profile("the-stack-v9")
