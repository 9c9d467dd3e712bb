"""Filter profiles of the user's own: what a rule can say, that its two readings agree, and what is wrong with a file."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import parse, resolved
from pipeline.content.names import TEXT_CLASSES
from pipeline.content.profiles import (
    Condition,
    Profile,
    ProfileError,
    Rule,
    load_profile,
    parse_profile,
    profile_names,
)
from pipeline.content.quality import failures, verdict
from pipeline.content.signal_schema import KNOWN
from pipeline.content.taxonomy import LANGUAGES
from pipeline.errors import ConfigError

SOME = ("num_lines", "alpha_fraction", "lfs_pointer", "comment_fraction")
ASKED = ["Python", "JSON", "Markdown", "HTML", "SMT", "WebAssembly", "Text", None]


def profile(*rules: dict[str, object]) -> Profile:
    return parse_profile({"profile": "x", "rules": list(rules)}, "x")


def of(rows: list[dict[str, object]], language: str | None, rules: Profile) -> list[str | None]:
    table = pa.table({name: pa.array([row.get(name) for row in rows], KNOWN[name]) for name in rows[0]})
    return verdict(table, pa.array([language] * len(rows), pa.string()), rules).to_pylist()


def conditions() -> st.SearchStrategy[Condition]:
    def of_signal(name: str) -> st.SearchStrategy[Condition]:
        if pa.types.is_boolean(KNOWN[name]):
            return st.builds(Condition, signal=st.just(name), equal=st.booleans())
        bound = st.sampled_from([0, 0.25, 0.5, 1, 10])
        return st.one_of(
            st.builds(Condition, signal=st.just(name), above=bound),
            st.builds(Condition, signal=st.just(name), below=bound),
            st.builds(Condition, signal=st.just(name), above=bound, below=bound),
        )

    return st.sampled_from(SOME).flatmap(of_signal)


def rows() -> st.SearchStrategy[dict[str, object]]:
    values = {
        pa.int64(): st.integers(0, 12),
        pa.float32(): st.sampled_from([0.0, 0.25, 0.375, 0.5, 1.0]),
        pa.bool_(): st.booleans(),
    }
    return st.fixed_dictionaries({name: st.none() | values[KNOWN[name]] for name in SOME})


def lists(strategy: st.SearchStrategy, most: int = 3) -> st.SearchStrategy[tuple]:
    return st.lists(strategy, max_size=most).map(tuple)


RULES = st.builds(
    Rule,
    rule=st.sampled_from(["a", "b"]),
    languages=lists(st.sampled_from(["Python", "JSON"])),
    excepted=lists(st.sampled_from(["Python", "HTML"])),
    kinds=lists(st.sampled_from(["programming", "data"])),
    any=lists(conditions()),
    all=lists(conditions()),
)


def plainly(test: Condition, row: dict[str, object]) -> bool:
    value = row[test.signal]
    if value is None:
        return False
    tried = [test.above is not None and value > test.above, test.below is not None and value < test.below]  # type: ignore[operator]
    return any(tried) or (test.equal is not None and value == test.equal)


@given(st.lists(rows(), min_size=1, max_size=5), st.sampled_from(ASKED), lists(RULES, 4))
def test_both_readings_are_the_plain_meaning(table, language, rules):
    given = Profile(name="x", rules=rules)
    found = of(table, language, given)
    for row, answer in zip(table, found, strict=True):
        failing = [
            rule.rule
            for rule in rules
            if rule.concerns(language)
            and (
                any(plainly(t, row) for t in rule.any)
                or (rule.all and all(plainly(t, row) for t in rule.all))
            )
        ]
        assert answer == (f"quality.{failing[0]}" if failing else None)
        told = [one["rule"] for one in failures(row, language, given)]
        assert list(dict.fromkeys(told)) == list(dict.fromkeys(failing))


def test_a_missing_signal_fails_nothing():
    both = [{"signal": "num_lines", "above": 0}, {"signal": "html_visible_chars", "below": 9}]
    rules = profile(
        {"rule": "a", "any": [{"signal": "comment_fraction", "above": 0}]}, {"rule": "b", "all": both}
    )
    assert of([{"num_lines": 5}], "HTML", rules) == [None]
    assert of([{"num_lines": 5, "html_visible_chars": None}], "HTML", rules) == [None]
    assert of([{"num_lines": 5, "html_visible_chars": 8}], "HTML", rules) == ["quality.b"]


def test_kinds_are_those_of_the_languages():
    rules = profile({"rule": "a", "kinds": ["data", "prose"], "any": [{"signal": "num_lines", "above": 0}]})
    for language in ASKED:
        hit = language is not None and LANGUAGES[language].kind in ("data", "prose")
        assert of([{"num_lines": 1}], language, rules) == (["quality.a"] if hit else [None])


VALUES = {
    pa.int64(): st.sampled_from([0, 1, 50, 99, 100, 512, 513, 1000, 1001, 10_001, 100_001]),
    pa.float32(): st.sampled_from([0.0, 0.1, 0.24, 0.25, 0.3, 0.5, 0.51, 0.9, 81.0, 101.0]),
    pa.bool_(): st.booleans(),
}


MILD, STRICT = load_profile("the-stack-v2"), load_profile("strict")


@settings(max_examples=80)
@given(
    st.fixed_dictionaries({name: st.none() | VALUES[kind] for name, kind in KNOWN.items()}),
    st.sampled_from([*ASKED, *sorted(LANGUAGES)]),
    st.sampled_from([b".x", *sorted(TEXT_CLASSES)]),
)
def test_strict_drops_what_the_stack_v2_drops(row, language, class_):
    table = pa.table({name: pa.array([value], KNOWN[name]) for name, value in row.items()})
    classes = pa.array([class_], pa.binary())
    mild, strict = (
        verdict(table, pa.array([language], pa.string()), one, name_classes=classes)[0].as_py()
        for one in (MILD, STRICT)
    )
    assert mild is None or strict is not None


def test_the_configuration_holds_the_rules_not_the_path(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "profile: mine\nrules:\n  - {rule: wide, kinds: [programming], any: [{signal: max_line_length, above: 300}]}\n"
    )
    config = parse({"quality": {"profile": str(file)}})
    held = resolved(config)
    assert str(tmp_path) not in repr(held) and held["quality"]["profile"]["profile"] == "mine"
    assert resolved(parse({"quality": held["quality"]})) == held
    assert load_profile(held["quality"]["profile"]) == load_profile(file)
    file.write_text("gone")
    assert resolved(config) == held
    assert {parse({"quality": {"profile": name}}).quality.profile for name in profile_names()} == {
        "none",
        "strict",
        "the-stack-v2",
    }


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{rule: a, any: [{signal: max_line_lenght, above: 1}]}", ["rule 1 (a)", "`any`", "did you mean 'max_line_length'"]),
        ("{rule: a, languages: [Pyton], any: [{signal: num_lines, above: 1}]}", ["`languages`", "did you mean 'Python'"]),
        ("{rule: a, except: [HTLM], any: [{signal: num_lines, above: 1}]}", ["`except`", "did you mean 'HTML'"]),
        ("{rule: a, kinds: [program], any: [{signal: num_lines, above: 1}]}", ["`kinds`", "did you mean 'programming'"]),
        ("{rule: a, al: [{signal: num_lines, above: 1}]}", ["'al'", "did you mean 'all'"]),
        ("{rule: a, any: [{signal: num_lines, abov: 1}]}", ["'abov'", "did you mean 'above'"]),
        ("{rule: a, any: [{signal: lfs_pointer, above: 0}]}", ["`is: true`"]),
        ("{rule: a, any: [{signal: num_lines, is: true}]}", ["`above` or `below`"]),
        ("{rule: a, any: [{signal: lfs_pointer, is: 1}]}", ["true or false"]),
        ("{rule: a, any: [{signal: num_lines, above: .nan}]}", ["number"]),
        ("{rule: a, any: [{signal: num_lines, above: .inf}]}", ["number"]),
        ("{rule: a, languages: [], any: [{signal: num_lines, above: 1}]}", ["empty"]),
        ("{rule: a, any: [{signal: num_lines, above: 1}], any: [{signal: num_words, above: 1}]}", ["'any' is given twice"]),
        ("{rule: a, any: []}", ["nothing is tested"]),
        ("{rule: é, any: [{signal: num_lines, above: 1}]}", ["letters"]),
    ],
    ids=lambda value: None,
)  # fmt: skip
def test_what_is_wrong_is_told(tmp_path, rule, words):
    file = tmp_path / "mine.yaml"
    file.write_text(f"profile: mine\nrules: [{rule}]\n")
    with pytest.raises(ProfileError) as error:
        load_profile(file)
    assert all(word in str(error.value) for word in [str(file), *words]), str(error.value)
    with pytest.raises(ConfigError, match=r"quality\.profile"):
        parse({"quality": {"profile": str(file)}})


def test_a_profile_is_bounded(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"[" * 100_000)
    with pytest.raises(ProfileError, match="YAML"):
        load_profile(file)
    file.write_bytes(b"a" * (2 << 20))
    with pytest.raises(ProfileError, match="larger"):
        load_profile(file)
