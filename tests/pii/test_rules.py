"""The table: well-formed, accepted by both engines, every rule true to its examples."""

import dataclasses
import re

import pytest

from pii import rules
from pii.matcher import BadRule, Matcher
from pii.rules import KINDS, SENSITIVITIES, load_rules, rule_table, rules_digest
from pii.rules.examples import expand
from pii.settings import Settings

RULES = rule_table()
ENGINES = [pytest.param(True, id="hyperscan"), pytest.param(False, id="keywords")]


def examples(rule):
    """(text, span) pairs that the rule finds, and texts in which it finds nothing."""
    return [expand(t, rule.id) for t in rule.found], [expand(t, rule.id)[0] for t in rule.not_found]


def test_table_is_well_formed():
    assert len({r.id for r in RULES}) == len(RULES)
    for r in RULES:
        assert r.kind in KINDS and r.tier in SENSITIVITIES and r.source
        assert re.fullmatch(r"[a-z0-9-]+", r.id)
        assert all(k == k.lower() for k in r.keywords)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.id)
def test_every_rule_has_two_true_and_two_false_examples(rule):
    true, false = examples(rule)
    assert len(true) >= 2 and len(false) >= 2


@pytest.mark.parametrize("use_hyperscan", ENGINES)
@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.id)
def test_examples(rule, use_hyperscan):
    matcher = Matcher((rule,), use_hyperscan=use_hyperscan)
    true, false = examples(rule)
    for number, (body, span) in enumerate(true):
        assert span is not None, f"no marks in example {number}"
        assert matcher.findings(body) == [(*span, rule.kind, rule.id)], f"example {number}"
    for number, body in enumerate(false):
        assert matcher.findings(body) == [], f"false example {number}"


def test_tiers_contain_each_other():
    low, medium, high = (set(Settings(sensitivity=s).active_rules) for s in SENSITIVITIES)
    assert low < medium <= high


def test_digest_changes_with_the_table_and_the_library(monkeypatch):
    before = rules_digest()
    assert before == rules_digest() and re.fullmatch("[0-9a-f]{64}", before)
    monkeypatch.setattr(rules, "rule_table", lambda: RULES[1:])
    fewer = rules_digest()
    monkeypatch.setattr(rules, "DETECT_SECRETS_VERSION", "0")
    assert len({before, fewer, rules_digest()}) == 3


GOOD = """rules:
  - {id: one, kind: key, tier: low, source: own, pattern: 'one_[a-z]{8}', keywords: [one_]}
  - {id: two, kind: key, tier: low, source: own, pattern: 'two_[a-z]{8}'}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "kind: key, tier: low, source: own, pattern: 'two",
            "kind: kex, tier: low, source: own, pattern: 'two",
            "line 3, rule 'two': unknown kind 'kex'",
            id="kind",
        ),
        pytest.param("id: two", "id: one", "line 3, rule 'one': the id 'one' stands twice", id="twice"),
        pytest.param(
            ", source: own, pattern: 'two",
            ", pattern: 'two",
            "line 3, rule 'two': `source` must be a text",
            id="missing",
        ),
        pytest.param("id: two", "id: two, colour: red", "unknown key 'colour'", id="unknown"),
        pytest.param("[one_]", "[One_]", "line 2, rule 'one': `keywords` are lower case", id="case"),
        pytest.param("rules:", "rules", "one key, `rules`", id="form"),
        pytest.param("}\n", "\n", "not YAML", id="yaml"),
    ],
)
def test_a_bad_rule_file_names_line_and_rule(old, new, message):
    assert [r.id for r in load_rules(GOOD, "mine.yaml")] == ["one", "two"]
    with pytest.raises(BadRule, match=re.escape(message)) as error:
        load_rules(GOOD.replace(old, new, 1) if old != "rules:" else "rules", "mine.yaml")
    assert str(error.value).startswith("mine.yaml")


@pytest.mark.parametrize("use_hyperscan", ENGINES)
@pytest.mark.parametrize(
    ("field", "value"), [("pattern", rb"(?=a)b"), ("pattern", rb"a("), ("verifier", "none")]
)
def test_a_bad_rule_is_named(field, value, use_hyperscan):
    bad = dataclasses.replace(RULES[3], **{field: value})
    with pytest.raises(BadRule, match=f"rule {bad.id}: "):
        Matcher((bad,), use_hyperscan=use_hyperscan)
