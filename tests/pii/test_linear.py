"""Work is linear in the text for every rule: counted in bytes read, not timed."""

import random

import pytest
from patterns import Machine, is_bounded
from pii_examples import ALNUM, crc_token, rand

from pii import Settings, scan_text
from pii.linear import compiled
from pii.rules import rule_table
from pii.rules.proofs import Matches, tree_of

RULES = rule_table()


def hostile(tree):
    """Beginnings, ends and most of a match: repeated, they make a search begin again and again."""
    text = Matches(tree).next()
    return [
        text,
        text[:-1],
        text[: len(text) // 2],
        text[:6],
        text[:3],
        text[:1],
        text[-1:],
        text[:-1] + b" ",
    ]


@pytest.mark.parametrize(
    ("pattern", "text", "linear"),
    [
        (rb"ab", b"abab", True),
        (rb"a[^z]*z|b", b"ab", False),  # every search for the next b reads to the end for a z
        (rb"a(?:[^z]*z)?", b"a", False),
        (rb"a(?:[^z]{0,9}z)?", b"a", True),
        (rb"a[a-z]{3,}", b"abcd", True),
        (rb"x[a-z]*?y", b"xa", True),
    ],
)
def test_the_counting_machine(pattern, text, linear):
    machine = Machine(tree_of(pattern))
    small, large = (machine.read(text * n) for n in (100, 400))
    assert (large <= 5 * small) == linear
    # the machine finds what RE2 finds
    ends = [m.end() for m in compiled(pattern).finditer(text * 9)]
    at, found = 0, []
    while (end := machine._search(text * 9, at)[0]) is not None:
        found.append(end)
        at = end
    assert found == ends


def test_searches_read_each_byte_a_bounded_number_of_times():
    """All rules whose matches have no bound, and some of the others; a bounded one reads at most its bound beyond a match."""
    g = random.Random(5)
    unbounded = [r for r in RULES if not is_bounded(tree_of(r.pattern))]
    assert unbounded
    for rule in unbounded + g.sample(RULES, 8):
        tree = tree_of(rule.pattern)
        machine = Machine(tree)
        for unit in hostile(tree):
            small, large = (machine.read(unit * (n // len(unit) + 1)) for n in (250, 500))
            assert large <= 3 * small + 2 * len(unit), (rule.id, len(unit))


@pytest.mark.parametrize("level", ["low", "medium", "high"])
def test_the_closure_looks_a_bounded_number_of_times(level, monkeypatch):
    from pii.matcher import Matcher as Real

    looked = []
    real = Real.findings
    monkeypatch.setattr(
        Real, "findings", lambda self, body, *a: looked.append(len(body)) or real(self, body, *a)
    )
    for text in (
        " ".join(crc_token("gh" + "p", i) for i in range(300)),
        "\n".join(f"u{i}@mail.uni" + f"-x.org password = '{rand(ALNUM, 12, i)}'" for i in range(300)),
        "'" + "://u:" * 2000,
        '"' + '\\"secret\\":' * 2000,
    ):
        looked.clear()
        scan_text(text.encode(), Settings(sensitivity=level))
        assert len(looked) <= 4 and sum(looked) <= 4 * len(text)
