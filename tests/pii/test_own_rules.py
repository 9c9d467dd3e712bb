"""Users' own rule files: errors name file, line, rule and position; examples are tried on both engines."""

import dataclasses

import pytest

from pii import Settings, scan_text
from pii.matcher import Matcher
from pii.rules import BadRule, load_rules, rule_table
from pii.rules.examples import expand
from pii.rules.own import check_examples, load_rules_file
from pii.rules.proofs import Unreadable, tree_of

GOOD = r"""rules:
  - id: acme-token
    kind: key
    tier: low
    source: 'Acme: API tokens'
    pattern: 'acme_[A-Za-z0-9]{32}'
    keywords: [acme_]
    found: ['t = "[[acme_{base62:32}]]"', '[[acme_{base62:32}]];']
    not_found: ['acme_short', 'acme_{of:x*32}']
  - id: acme-host
    kind: ip_address
    tier: medium
    source: own
    pattern: 'host-[0-9]{4}\b'
    verifier: token
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_own_rules_find_beside_the_product(file):
    rules = load_rules_file(file(GOOD))
    assert [r.id for r in rules] == ["acme-token", "acme-host"]
    assert [check_examples(r) for r in rules] == [[], []]
    body, span = expand(rules[0].found[0], "x")
    settings = Settings(sensitivity="low", rules=rules)
    for use_hyperscan in (True, False):
        assert scan_text(body, settings, use_hyperscan=use_hyperscan).findings == [
            (*span, "key", "acme-token")
        ]
    assert scan_text(body, Settings(sensitivity="low")).findings == []


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        pytest.param(
            "acme_[A-Za-z0-9]{32}",
            "acme_[A-Za-z0-9{32}",
            6,
            "at position 5: unterminated character set",
            id="set",
        ),
        pytest.param(
            "acme_[A-Za-z0-9]{32}", "acme_(?=[A-Z])x", 6, "at position 5: RE2 says: ", id="look-ahead"
        ),
        pytest.param("acme_[A-Za-z0-9]{32}", r"(acme_)\1", 6, r"at position 7: RE2 says: ", id="reference"),
        pytest.param("acme_[A-Za-z0-9]{32}", "acme_(", 6, "at position 5: missing )", id="group"),
        pytest.param("acme_[A-Za-z0-9]{32}", "(?:acme_)*", 6, "it matches the empty text", id="empty"),
        pytest.param(
            "acme_[A-Za-z0-9]{32}",
            r"acme_\pL{9}",
            6,
            r"at position 5: \p means different things",
            id="unicode",
        ),
        pytest.param("acme_[A-Za-z0-9]{32}", r"(?i)acme_\xe9{9}", 6, "bytes beyond ASCII", id="case"),
        pytest.param("acme_[A-Za-z0-9]{32}", "acme_[a-z]{1001}", 6, "RE2 says", id="repetition"),
        pytest.param(
            "acme_[A-Za-z0-9]{32}", "a(cme)?_[A-Z]{9}", 7, "keywords: a text can match", id="keywords"
        ),
        pytest.param("id: acme-token", "id: github-token", 2, "the id is one of the product's", id="clash"),
        pytest.param(
            "verifier: token",
            "verifier: tokens",
            15,
            "no verifier named 'tokens': choose one of",
            id="verifier",
        ),
        pytest.param("id: acme-host", "id: acme-token", 10, "stands twice", id="twice"),
        pytest.param("kind: ip_address", "kind: address", 10, "unknown kind 'address'", id="kind"),
    ],
)
def test_a_bad_rule_names_file_line_rule_and_position(file, old, new, line, message):
    assert GOOD.count(old) == 1
    path = file(GOOD.replace(old, new))
    with pytest.raises(BadRule) as error:
        load_rules_file(path)
    assert str(error.value).startswith(f"{path}, line {line}, rule '") and message in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(BadRule, match="not read: No such file"):
        load_rules_file(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"rules: [\xe9]")
    with pytest.raises(BadRule, match="not read: not UTF-8"):
        load_rules_file(tmp_path / "latin.yaml")


def test_examples_that_do_not_hold_are_told_without_their_text():
    (rule, _) = load_rules(GOOD, "x")
    secret = "[[acme_{base62:31}]]"
    bad = dataclasses.replace(
        rule,
        found=(f"t = {secret}", "acme_{base62:32}", "[[ab]] acme_{base62:32}", "[[{nothing:3}]]", "[[x"),
        not_found=("acme_{base62:32}", "fine"),
    )
    problems = check_examples(bad)
    assert problems == [
        "found, example 1: finds nothing, not bytes 4..40",
        "found, example 2: without [[ and ]] around what is to be found",
        "found, example 3: finds bytes 3..40, not bytes 0..2",
        "found, example 4: unknown generator 'nothing'",
        "found, example 5: marks do not pair: [[ without ]]",
        "not_found, example 1: finds bytes 0..37, not nothing",
    ]


def test_the_table_is_as_strict(file):
    """Rules of the product would be accepted as a user's, but for their ids."""
    table = rule_table()
    unread = {}
    for rule in table:
        try:
            tree_of(rule.pattern)
        except Unreadable as error:
            unread[rule.id] = str(error)
    assert unread == {}
    for rule in table[:: len(table) // 12]:
        (own,) = load_rules_file(
            file(
                f"rules:\n  - {{id: my-{rule.id}, kind: {rule.kind}, tier: {rule.tier}, source: own, "
                f"verifier: {rule.verifier}, pattern: '{rule.pattern.decode().replace(chr(39), chr(39) * 2)}'}}\n"
            )
        )
        assert own.pattern == rule.pattern


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        pytest.param(rb"ab\sc\S", b"ab\x0bc\x0b ab\tc\x0b", id="vertical tab"),
        pytest.param(rb"a[\s_]b", b"a\x0bb a\x0cb", id="in a class"),
        pytest.param(rb"x[^\s]y", b"x\x0by", id="negated"),
        pytest.param(rb"[][\s]z", b"]z [z", id="brackets"),
        pytest.param(rb"[[:alpha:]\s]z\s", b"qz\n", id="posix"),
        pytest.param(rb"a.b", b"a\nb a\rb a\xffb", id="dot"),
        pytest.param(rb"(?s)a.b", b"a\nb", id="dot all"),
        pytest.param(rb"(?i)k[a-z]\bs?", b"Kk \xe2\x84\xaa", id="case"),
        pytest.param(rb"[^a-z]\xe9\d", b"A\xe91 A\xc91", id="bytes"),
        pytest.param(rb"ab$", b"ab\n", id="end"),
        pytest.param(rb"(?m)^ab$", b"x\nab\ny\r\nab\r\n", id="lines"),
        pytest.param(rb"ab{3}", b"abbb", id="tail"),
        pytest.param(rb"a\{3}", b"a{3}", id="escaped tail"),
        pytest.param(rb"\w+-\W\D", b"a-\xe9\xe9", id="categories"),
    ],
)
def test_the_engines_read_a_pattern_alike(pattern, text):
    rule = dataclasses.replace(rule_table()[0], pattern=pattern, keywords=(), verifier="any")
    from pii import matcher

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(matcher.VERIFIERS, "any", lambda body, start, end: (start, end))
        fast, slow = (Matcher((rule,), use_hyperscan=use) for use in (True, False))
        for body in (text, b"x" + text, text + b"\n", text.replace(b" ", b""), text[1:]):
            assert fast.findings(body) == slow.findings(body)
            if slow._searches[0].search(body):
                assert fast.occurring(body).rules == [0]
