"""The automaton finds what a search for each keyword finds; keywords of the table are proven to be in every match."""

import dataclasses
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pii.database import Expression, database
from pii.keywords import Keywords
from pii.linear import compiled
from pii.matcher import Matcher
from pii.rule_databases import compile_rules, form_of, reports
from pii.rules import rule_table
from pii.rules.proofs import Matches, Unreadable, keywords_are_necessary, tree_of

RULES = rule_table()
WORDS = st.lists(st.text("ab_-", min_size=1, max_size=5).map(str.encode), max_size=8, unique=True)


@settings(deadline=None)
@given(WORDS, st.text("abAB_-é\n", max_size=60))
@example([b"a", b"aa", b"ba", b"aab"], "BAAB")
def test_the_automaton_is_a_search_for_each(words, text):
    body = text.encode()
    expected = {i for i, w in enumerate(words) if w in body.lower()}
    assert Keywords(words).occurring(body) == expected
    assert Keywords(words).occurring(memoryview(body)) == expected


@pytest.mark.parametrize(
    ("pattern", "keywords", "holds"),
    [
        (rb"abc[0-9]+", [b"abc"], True),
        (rb"(?i)ABC[0-9]", [b"bc"], True),
        (rb"(?:ab|cd)x", [b"ab"], False),
        (rb"(?:ab|cd)x", [b"ab", b"dx"], True),
        (rb"a[bc]d", [b"abd", b"acd"], True),
        (rb"a[b-d]d", [b"abd", b"acd"], False),
        (rb"(?:a|b){3}", [b"aa", b"b"], True),
        (rb"(?:ab){2,9}", [b"baba"], False),
        (rb"(?:ab){2,9}", [b"aba"], True),
        (rb"x?key", [b"xkey"], False),
        (rb"\bkey\b", [b"key"], True),
        (rb"k.y", [b"k"], True),
        (rb"[^k]ey", [b"ey"], True),
        (rb"key", [], False),
        (rb"[[:alpha:]]_[^[:digit:]_]z", [b"_"], True),
        (rb"aXb", [b"axb"], True),
    ],
)
def test_necessary_keywords(pattern, keywords, holds):
    assert keywords_are_necessary(pattern, keywords) == holds


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (rb"a*", "empty text"),
        (rb"(?:a|b?)", "empty text"),
        (rb"a(b", "position 1: missing )"),
        (rb"ab\pL", r"position 2: \p means"),
        (rb"a[\S]", r"position 2: \S means"),
        (rb"(?i)\xe9", "beyond ASCII"),
        (rb"x(?i:[a\xe0-\xef])", "beyond ASCII"),
        (rb"[[:nothing:]]", "position 1: no such class"),
    ],
)
def test_what_the_engines_read_differently_is_refused(pattern, said):
    with pytest.raises(Unreadable, match=re.escape(said)):
        tree_of(pattern)


def test_keywords_of_the_table_are_necessary():
    # Rules without: searched for in every text where Hyperscan is missing, so let them be few.
    without = [r.id for r in RULES if not keywords_are_necessary(r.pattern, r.keywords)]
    assert len(without) <= 0.1 * len(RULES), without


def test_both_engines_name_every_rule_that_matches():
    """Matches of every pattern, behind and before much else: RE2 finds them, and neither road misses the rule.

    (Hyperscan does miss matches of some patterns: `pii.matcher` gives it others for them.)
    """
    found = 0
    for number, rule in enumerate(RULES):
        matches = Matches(tree_of(rule.pattern))
        for i in range(number % 2, 8, 2):
            match = matches.next()
            text = (
                match,
                b"x = '" + match + b"'\n",
                b" " * 61 + match.swapcase(),
                b"\n" * 27 + match[:-1] + b" " * 90,
                b"\xff" + match + b"\x00",
                match * 2,
                b"some more words and numbers 012345 before " + match + b"\r\n",
                b"-" * (17 + number % 80) + match + b"," * (number % 70),
            )[i]
            if SLOW._searches[number].search(text):
                found += 1
                assert number in FAST.occurring(text).rules and number in SLOW.occurring(text).rules, rule.id
            if i < 2:
                assert FAST.findings(text) == SLOW.findings(text), rule.id
    assert found > 2 * len(RULES)


def test_an_expression_that_hyperscan_compiles_wrongly_gets_another_form(tmp_path, monkeypatch):
    monkeypatch.setenv("STACKMILL_CACHE", str(tmp_path))
    pattern = rb"(?:GF_SECURITY_ADMIN_PASSWORD|DB_PASSWORD|SMTP_PASSWORD|EMAIL_HOST_PASSWORD)[\"']?[ \t]{0,4}[:=][a-z]{8}"
    rule = dataclasses.replace(RULES[0], id="wrong", pattern=pattern, keywords=(b"_password",))
    text = b" " * 40 + b"DB_PASSWORD=" + b"q" * 8
    plain = database([Expression(pattern, 0, 0)])
    part = compile_rules((rule,))
    assert not part.untrusted and reports(part.database, text, 0)
    # the day this fails, Hyperscan is mended, and the trial costs nothing but a second
    assert not reports(plain, text, 0)


def test_forms_of_a_rule_are_wider(monkeypatch):
    """Whatever form a rule is in, it is reported where its pattern matches."""
    for rule in RULES[:: len(RULES) // 40]:
        matches = Matches(tree_of(rule.pattern))
        for level in (1, 2):
            form = form_of(rule, level)
            if form:
                held = database([Expression(p, 0, f) for p, f in form], folder=None)
                for _ in range(4):
                    text = b" " * 20 + matches.next() + b" "
                    assert not compiled(rule.pattern).search(text) or reports(held, text, 0), rule.id


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_the_engines_agree_on_any_bytes(body):
    assert FAST.findings(body) == SLOW.findings(body)


FAST, SLOW = Matcher(RULES, use_hyperscan=True), Matcher(RULES, use_hyperscan=False)
