"""The automaton finds what a search for each keyword finds; keywords of the table are proven to be in every match."""

import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from patterns import sample

from pii.keywords import Keywords
from pii.matcher import Matcher
from pii.rules import rule_table
from pii.rules.proofs import Unreadable, keywords_are_necessary, tree_of

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
    """Matches of every pattern, made from it, alone and within text: RE2 finds them, and neither road misses the rule."""
    fast, slow = Matcher(RULES, use_hyperscan=True), Matcher(RULES, use_hyperscan=False)
    g = random.Random(7)
    found = 0
    for number, rule in enumerate(RULES):
        tree = tree_of(rule.pattern)
        for i in range(6):
            text = sample(tree, g)
            text = (
                text,
                b"x = '" + text + b"'\n",
                text.swapcase(),
                text[:-1],
                b"\xff" + text + b"\x00",
                text * 2,
            )[i]
            if slow._searches[number].search(text):
                found += 1
                assert number in fast.occurring(text).rules and number in slow.occurring(text).rules, rule.id
            assert fast.findings(text) == slow.findings(text), rule.id
    assert found > 3 * len(RULES)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_the_engines_agree_on_any_bytes(body):
    assert FAST.findings(body) == SLOW.findings(body)


FAST, SLOW = Matcher(RULES, use_hyperscan=True), Matcher(RULES, use_hyperscan=False)
