"""The table: well-formed, accepted by both engines, every rule true to its examples."""

import dataclasses
import re

import pytest
from pii_examples import EXAMPLES, marked

from pii import rules
from pii.matcher import BadRule, Matcher
from pii.rules import KINDS, RULES, SENSITIVITIES, UnknownSensitivity, rules_digest, rules_of

ENGINES = [pytest.param(True, id="hyperscan"), pytest.param(False, id="keywords")]


def test_table_is_well_formed():
    assert len({r.id for r in RULES}) == len(RULES)
    for r in RULES:
        assert r.kind in KINDS and r.tier in SENSITIVITIES and r.source
        assert re.fullmatch(r"[a-z0-9-]+", r.id)
        assert all(k == k.lower() for k in r.keywords)


def test_every_rule_has_two_true_and_two_false_examples():
    assert EXAMPLES.keys() == {r.id for r in RULES}
    for true, false in EXAMPLES.values():
        assert len(true) >= 2 and len(false) >= 2


@pytest.mark.parametrize("use_hyperscan", ENGINES)
@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.id)
def test_examples(rule, use_hyperscan):
    matcher = Matcher((rule,), use_hyperscan=use_hyperscan)
    true, false = EXAMPLES[rule.id]
    for text in true:
        body, span = marked(text)
        assert matcher.findings(body) == [(*span, rule.kind, rule.id)], text[:20]
    for text in false:
        assert matcher.findings(text.encode()) == [], text[:20]


def test_tiers_contain_each_other():
    low, medium, high = (set(rules_of(s)) for s in SENSITIVITIES)
    assert low < medium <= high
    with pytest.raises(UnknownSensitivity, match="choose one of low, medium, high"):
        rules_of("extreme")


def test_digest_changes_with_the_table_and_the_library(monkeypatch):
    before = rules_digest()
    assert before == rules_digest() and re.fullmatch("[0-9a-f]{64}", before)
    monkeypatch.setattr(rules, "RULES", RULES[1:])
    fewer = rules_digest()
    monkeypatch.setattr(rules, "DETECT_SECRETS_VERSION", "0")
    assert len({before, fewer, rules_digest()}) == 3


@pytest.mark.parametrize("use_hyperscan", ENGINES)
@pytest.mark.parametrize(
    ("field", "value"), [("pattern", rb"(?=a)b"), ("pattern", rb"a("), ("verifier", "none")]
)
def test_a_bad_rule_is_named(field, value, use_hyperscan):
    bad = dataclasses.replace(RULES[3], **{field: value})
    with pytest.raises(BadRule, match=f"rule {bad.id}: "):
        Matcher((bad,), use_hyperscan=use_hyperscan)
