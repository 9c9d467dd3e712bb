"""Every shared name has a decision, and every rule a text that it decides and one that it must not fit."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pyarrow as pa
import pytest
import re2
from ambiguous_texts import EXAMPLES, NONE

from pipeline.content.ambiguous import AMBIGUOUS
from pipeline.content.languages import decide
from pipeline.content.taxonomy import BY_EXTENSION, BY_FILENAME, named

RULES = Path(__file__).parents[2] / "pipeline" / "content" / "data" / "ambiguous.toml"
ENTRIES = [entry["names"] for entry in tomllib.loads(RULES.read_text())["name"]]


def test_every_ambiguous_name_of_the_taxonomy_has_a_decision_and_only_those():
    several = {key for table in (BY_EXTENSION, BY_FILENAME) for key, found in table.items() if len(found) > 1}
    assert set(AMBIGUOUS) == several
    for key, one in AMBIGUOUS.items():
        assert one.candidates == named(key)[1] and len(one.candidates) > 1
        decided = {one.primary, *(name for name, _ in one.rules)} | ({one.otherwise} - {None})
        assert decided <= set(one.candidates), key


def test_patterns_are_linear():
    for one in AMBIGUOUS.values():
        for _, pattern in one.rules:
            re2.compile(pattern)  # RE2 knows no construct that is not linear


def test_every_rule_has_examples_and_every_example_a_rule():
    assert set(EXAMPLES) == {names[0] for names in ENTRIES}
    for name, texts in EXAMPLES.items():
        assert set(texts) == {language for language, _ in AMBIGUOUS[name.encode()].rules} | {NONE}, name


@pytest.mark.parametrize("names", ENTRIES, ids=lambda names: names[0].strip("."))
def test_examples_of_a_name(names):
    texts = EXAMPLES[names[0]]
    for name in map(str.encode, names):
        one = AMBIGUOUS[name]
        found = decide(
            pa.array([name] * len(texts), pa.binary()), pa.array(list(texts.values()), pa.large_binary())
        )
        for expected, language, by in zip(
            texts, found.language.to_pylist(), found.by.to_pylist(), strict=True
        ):
            if expected == NONE:
                assert by in ("usual", "nothing", "classifier"), (name, language)
                assert by == "classifier" or language == one.otherwise
            elif texts[expected].startswith(b"#!"):
                assert language == expected and by in ("shebang", "rule")
            else:
                assert (language, by) == (expected, "rule" if by != "modeline" else by), (name, language, by)
        for language, pattern in one.rules:
            assert re2.search(pattern.encode(), texts[language]), (name, language)
            assert not re2.search(pattern.encode(), texts[NONE]), (name, language)
