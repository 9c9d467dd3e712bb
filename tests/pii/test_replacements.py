"""What stands where a secret was: no finding, the same for the same value, and nothing around it is disturbed."""

import json
import re
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, HEX, crc_token, pem, rand

from pii import KINDS, SENSITIVITIES, Settings, redact_batch, redact_one, scan, scan_one
from pii.redact import released_spans, released_spared, replace
from pii.replacements import LONGEST, Form, Replacement, is_stand_in, placeholder, stand_in
from pii.rules import rule_table
from pii.rules.examples import expand
from pii.scan import FINDINGS, scan_text
from pii.surroundings import Line, has_markup

REPLACEMENTS = get_args(Replacement)

# Examples of all rules, in a row.
LINES = sorted({expand(t)[0].decode() for r in rule_table() for t in (*r.found, *r.not_found)})
GLUE = [
    "\n",
    "\r\n",
    "\r",
    " ",
    "'",
    '"',
    "`",
    "\\",
    "</a>",
    "/>",
    "# ",
    " // ",
    "/*",
    "*/",
    "=",
    "é",
    "<EMAIL_1>",
    "password = ",
    "<",
]
TEXT = st.lists(st.sampled_from([*LINES, *GLUE * (1 + len(LINES) // 20)]), max_size=12).map("".join)
SOME_KINDS = ("key", "password", "email", "phone", "national_id")

# Values of one shape: the class of the alphabet and the length are the same, all else is free.
VALUES = {
    "key": st.text(ALNUM, min_size=18, max_size=18).map(lambda t: "Aa" + t),
    "password": st.text("0123456789abcdef", min_size=10, max_size=10).map(lambda t: "f" + t),
    "email": st.text("abcdefgh", min_size=3, max_size=9).map(lambda t: f"{t}@uni" + "-x.org"),
    "phone": st.text("23456789", min_size=10, max_size=10),
    "national_id": st.text("123456789", min_size=9, max_size=9).map(lambda t: f"{t[:3]}-{t[3:5]}-{t[5:]}"),
}
GAP = st.text("ab \"'`\\\n\r#/*<>=:,()[]{};-é", max_size=12)
PARTS = st.lists(st.tuples(GAP, st.sampled_from(SOME_KINDS), st.integers(0, 3)), max_size=8)


def built(parts, values, tail):
    text, spans = b"", []
    for gap, kind, number in parts:
        text += gap.encode()
        value = values[kind][number].encode()
        spans.append((len(text), len(text) + len(value), kind, "rule"))
        text += value
    return text + tail.encode(), spans


def four():
    return st.fixed_dictionaries(
        {k: st.lists(v, min_size=4, max_size=4, unique=True) for k, v in VALUES.items()}
    )


@settings(max_examples=80, deadline=None)
@given(PARTS, GAP, four(), four(), st.sampled_from(REPLACEMENTS))
def test_only_kind_and_ordinal_decide(parts, tail, one, two, replacement):
    """Breach: a letter of a secret, or its place, is seen in the released text."""
    text, spans = built(parts, one, tail)
    other, other_spans = built(parts, two, tail)
    released, places = replace(text, spans, replacement)
    assert replace(other, other_spans, replacement)[0] == released
    assert replace(text, spans, replacement) == (released, places)
    new = {}
    for (start, end, kind, _), p in zip(spans, places, strict=True):
        got = released[p.released_start : p.released_end]
        assert new.setdefault((kind, text[start:end]), got) == got  # same value, same replacement
        assert is_stand_in(got) or (got.isdigit() and len(got) < 7)
    assert len({(k, v) for (k, _), v in new.items()}) == len(new)  # and another for another
    # Bytes between findings are copied; a backslash that escaped a value's first byte goes with it.
    at = released_at = 0
    for p, (start, *_) in zip(places, spans, strict=True):
        assert text[at : p.start] == released[released_at : p.released_start]
        assert p.start == start or text[p.start : start] == b"\\"
        at, released_at = p.end, p.released_end
    assert text[at:] == released[released_at:]


@settings(max_examples=120, deadline=None)
@given(TEXT, st.sampled_from(SENSITIVITIES))
@example("<a>'" + "x" * 9 + '</a> password = "Aa9' + "q" * 8 + '"', "high")
def test_released_with_stand_ins_holds_no_finding(text, tier):
    how = Settings(sensitivity=tier, replacement="fake")
    body = text.encode()
    found = scan_one(body, how)
    released, _ = redact_one(body, found, "fake")
    assert scan_one(released, how) == []
    assert len(re.split(b"\r\n|\r|\n", released)) == len(re.split(b"\r\n|\r|\n", body))
    assert redact_one(released, scan_one(released, how), "fake")[0] == released


ANYWHERE = [
    "%s", '"%s"', "password = '%s'", 'secret: "%s",', "api_key=%s\n", "export AUTH_TOKEN=%s", "<%s>", "`%s`;", "AWS_SECRET=%s",
    "<password>%s</password>", '<a key="%s"/>', "Authorization: Bearer %s", '{"client_secret": "%s"}', "host = %s",
]  # fmt: skip
CONTEXTS = {
    "key": ["https://u:%s@h.org", "x = 'postgres://u:%s@db.h.org/x'"], "password": ["https://u:%s@h.org", "PGPASSWORD=%s psql"],

    "email": ["# @author %s", "mailto:%s", "Contact: X <%s>"],
    "name": ["# @author %s", "Signed-off-by: %s <x>", '"author": "%s"'],
    "phone": ["phone: %s", "tel = '%s'", '<a href="tel:%s">'], "credit_card": ["card number: %s", "visa = '%s'"],
    "bank_account": ["iban: %s", "IBAN = '%s'", "account number: %s"], "national_id": ["SSN: %s", "passport %s", "ssn = '%s'"],
    "ip_address": ["ping %s", "http://%s/", "listen %s;"],
}  # fmt: skip
SHAPES = {
    "key": (rand(ALNUM, 40), rand(HEX, 32), "A1" * 12), "password": ("x9_y!", "12345678", rand(ALNUM, 12)),
    "ip_address": ("1.2.3.4", "2a00::1"), "phone": ("+49 30 1", "2025551234"), "name": ("N N",), "email": ("m",),
    "credit_card": ("4" * 16, "4444 4444 4444 4444", "4444-4444-4444-4444"), "private_key": ("k",),
    "bank_account": ("DE00", "DE00 0000", "123456789"), "national_id": ("123-45-6789", "123456789", "AB 12 34 56 C"),
}  # fmt: skip


@pytest.mark.parametrize("tier", SENSITIVITIES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_replacement_is_a_finding_anywhere(kind, tier):
    """Breach: a released text, scanned again, is not free of findings."""
    how = Settings(sensitivity=tier, kinds=(("name", tier),))
    for n in (1, 2, 9, 10, 99, 100, 300, 123456):
        news = [placeholder(kind, n, form) for form in Form]
        if kind != "private_key":
            news += [stand_in(kind, n, shape.encode()) for shape in SHAPES[kind]]
        for new in news:
            assert is_stand_in(new) or new.isdigit()
            for context in CONTEXTS:
                text = context.replace("%s", new.decode()).encode()
                assert scan_one(text, how) == [], (context, new)


@pytest.mark.parametrize(
    "value",
    ["EXAMPLE", "example", "exam2024", "Example1", "EXAMPLEX1", "10000", "0001", "KEY", "KEY_", "KEY_01", "MY_KEY_1",
     "<KEY_1", "Person X",
     "user1@example.org", "user@example.com", "192.0.2.1.5", "203.0.114.1", "2001:db9::1", "000", "1" * 700],
)  # fmt: skip
def test_what_only_looks_like_a_replacement_is_none(value):
    assert not is_stand_in(value.encode()) or value == "<KEY_1"  # a span may leave a bracket out


def test_stand_ins_have_the_form_of_the_value():
    assert stand_in("key", 1, rand(ALNUM, 40).encode()) == (b"EXAMPLE" * 6)[:39] + b"1"
    assert stand_in("key", 12, b"abcdefghij0123456789xyz") == (b"example" * 3) + b"12"
    assert stand_in("key", 2, rand(HEX, 32).encode()) == b"0" * 31 + b"2"
    assert stand_in("password", 3, b"12345678901") == b"10000000003"
    assert stand_in("password", 1, b"pw") == b"example1"  # a word at least, or a scan could not tell it
    assert len(stand_in("key", 1, b"Q" * 50_000)) == LONGEST
    assert stand_in("credit_card", 1, b"3333 333333 33333") == b"4111 1111 1111 1111"
    assert stand_in("national_id", 7, b"AB 12 34 56 C") == b"XX 00 00 00 7"
    assert stand_in("ip_address", 254, b"1.2.3.4") == b"192.0.2.254"
    assert stand_in("ip_address", 255, b"1.2.3.4") == b"198.51.100.1"
    assert stand_in("ip_address", 10, b"::1") == b"2001:db8::a"
    assert (
        stand_in("phone", 1, b"+49 30") == b"+1-202-555-0100" and stand_in("phone", 1, b"49") == b"2025550100"
    )


TOKEN = crc_token("gh" + "p")
CASES = {
    # text with {} for the secret -> released with placeholders
    "string": ("t = '{}'", "t = '<KEY_1>'"),
    "comment": ("x = 1  # {} is it", "x = 1  # <KEY_1> is it"),
    "slashes": ("x(); // {} is it", "x(); // <KEY_1> is it"),
    "block comment": ("/* {} */ f('{}')", "/* <KEY_1> */ f('<KEY_1>')"),
    "behind a block comment": ("/* a */ T={}", "/* a */ T=KEY_1"),
    "URL is no comment": ("curl https://h.org/{}", "curl https://h.org/KEY_1"),
    "shell": ("export T={}\n", "export T=KEY_1\n"),
    "element": ("<a>{}</a>", "<a>KEY_1</a>"),
    "attribute": ('<a k="{}"/>', '<a k="KEY_1"/>'),
    "markup anywhere": ("</p>\nx = '{}'", "</p>\nx = 'KEY_1'"),
    "one form for a value": ("T={}\nu = '{}'", "T=KEY_1\nu = 'KEY_1'"),
    "two quotes closed": ("f('a', \"b\") {}", "f('a', \"b\") KEY_1"),
    "quote in a string": ('f("it\'s {}")', 'f("it\'s <KEY_1>")'),
    "escaped quote": ("f('it\\'s {}')", "f('it\\'s <KEY_1>')"),
    "next line": ("f('a\n{}", "f('a\nKEY_1"),
}


@pytest.mark.parametrize("case", CASES)
def test_form_by_surroundings(case):
    text, expected = CASES[case]
    body = text.replace("{}", TOKEN).encode()
    found = scan_one(body, Settings(sensitivity="low"))
    assert redact_one(body, found)[0].decode() == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ('{"n": §}', '{"n": 1}'), ("[\n  §,\n  §\n]", "[\n  1,\n  1\n]"), ("x = §\n", "x = 1\n"), ("f(§)", "f(1)"),
        ('{"n": "§"}', '{"n": "<PHONE_1>"}'), ("call § now", "call PHONE_1 now"), ("n<§;", "n<PHONE_1;"),
        ("# x >= §)", "# x >= PHONE_1)"),
        ("<a>§</a>", "<a>PHONE_1</a>"), ("x=§y", "x=PHONE_1y"),
    ],
    ids=range(10),
)  # fmt: skip
def test_numbers_stay_numbers_where_only_a_number_may_stand(text, expected):
    digits = "4155557" + "890"
    body = text.replace("§", digits).encode()
    spans = [(m.start(), m.end(), "phone", "r") for m in re.finditer(digits.encode(), body)]
    released = redact_one(body, spans)[0].decode()
    assert released == expected
    if text[0] in "{[":
        json.loads(released)


def cut(text):
    """A text with «» around a span, as bytes, and the span."""
    start = len(text[: text.index("«")].encode())
    end = start + len(text[text.index("«") + 1 : text.index("»")].encode())
    return text.replace("«", "").replace("»", "").encode(), (start, end, "password", "r")


@pytest.mark.parametrize(
    "text, expected",
    [
        # an escape that the span begins or ends in
        (r's = "{\"k\": \"«abc\»"}"', r's = "{\"k\": \"<PASSWORD_1>\"}"'),
        (r's = "\«nabc»"', 's = "<PASSWORD_1>"'),
        (r's = "\\«abc»"', r's = "\\<PASSWORD_1>"'),
        (r's = "«abc\\»"', 's = "<PASSWORD_1>"'),
        (r"s = '«abc\»' + x' # don't", r"s = '<PASSWORD_1>\' + x' # don't"),
        # a quote that the span opens or closes
        ('s = "«abc"» + x', 's = "<PASSWORD_1>" + x'),
        ('s = «f("a»bc")', 's = "PASSWORD_1bc")'),
        ("s = \"a«b\" + 'c»d'", "s = \"a<PASSWORD_1>\"'d'"),
        ('s = "«a" + "b»"', 's = "<PASSWORD_1>"'),
        ('s = "«a\'b»"', 's = "<PASSWORD_1>"'),
    ],
    ids=range(10),
)
def test_quotes_and_escapes_stay_whole(text, expected):
    body, span = cut(text)
    assert redact_one(body, [span])[0].decode() == expected


def test_same_value_with_the_backslash_of_what_follows():
    one, two = rb'a = "x\"', rb'"" b = "'
    text = one + b"abc\\" + two + b'abc"'
    first, second = len(one), len(one) + 4 + len(two)
    released, places = replace(text, [(first, first + 4, "key", "r"), (second, second + 3, "key", "r")])
    assert released == one + b"<KEY_1>\\" + two + b'<KEY_1>"'
    assert places[0].released_end - places[0].released_start == 8


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_key_blocks_keep_their_placeholder(replacement):
    block = pem()
    how = Settings(replacement=replacement)
    for text, expected in (
        (f'k = """{block}"""\n', 'k = """<PRIVATE_KEY_1>'),
        (f"<k>{block}</k>\n", "<k>PRIVATE_KEY_1"),
    ):
        body = text.encode()
        released = redact_one(body, scan_one(body, how), replacement)[0]
        assert released.startswith(expected.encode()) and released.count(b"\n") == body.count(b"\n")


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT, max_size=3), st.sampled_from(REPLACEMENTS))
@example(['password = "changeme9x" ' + f"t = '{TOKEN}' " + 'secret = "placeholder1"'], "placeholder")
def test_what_is_left_is_found_again_in_the_released_text(texts, replacement):
    bodies = [t.encode() for t in texts]
    table = scan(pa.array(bodies, pa.large_binary()), Settings(replacement=replacement))
    released, redactions = redact_batch(pa.array(bodies, pa.large_binary()), table, replacement)
    moved = released_spared(table, redactions)
    assert moved.schema == FINDINGS
    old = [r for r in table.to_pylist() if r["spared"] is not None]
    for was, now in zip(old, moved.to_pylist(), strict=True):
        assert {**was, "start": 0, "end": 0} == {**now, "start": 0, "end": 0}
        new = released[now["doc"]].as_py().encode()[now["start"] : now["end"]]
        assert new == bodies[was["doc"]][was["start"] : was["end"]]
    for doc, body in enumerate(bodies):
        scanned = scan_text(body, Settings(replacement=replacement))
        _, places = replace(body, scanned.findings, replacement)
        spans = released_spans(places, scanned.spared)
        assert spans == [(r["start"], r["end"]) for r in moved.to_pylist() if r["doc"] == doc]


def test_work_is_linear_in_the_text(monkeypatch):
    """Bytes that are looked at for surroundings, with 50,000 findings on one line: the text once, not its square."""
    import pii.surroundings

    read = 0
    real = Line.feed

    def counting(self, piece):
        nonlocal read
        read += len(piece)
        real(self, piece)

    monkeypatch.setattr(pii.surroundings.Line, "feed", counting)
    unit = b"'aaaaaaaaaa', \"b\" "
    spans = [(i * len(unit) + 1, i * len(unit) + 11, "key", "r") for i in range(50_000)]
    text = unit * len(spans)
    released, places = replace(text, spans)
    assert released.startswith(b"'<KEY_1>', \"b\" '<KEY_1>'") and len(places) == 50_000
    assert read <= len(text) + len(spans)


def test_markup_is_told_by_elements_that_end():
    assert has_markup([b"a", b"x </b>"]) and has_markup([b'<a b="c"/>'])
    assert not has_markup([b"if a < b and c > d: pass", b"#include <x.h>"])


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_settings_pass_the_replacement_on(replacement):
    """Breach: the closure looked at another text than the one that is released."""
    mails = [f"{n}@uni" + "-x.org" for n in ("ann", "bob")]
    text = pa.array([f"m = '{mails[0]}'; '{mails[1]}'; '{mails[0]}'"])
    table = scan(text, Settings(replacement=replacement))
    released, _ = redact_batch(text, table, replacement)
    one, two = (
        ("<EMAIL_1>", "<EMAIL_2>")
        if replacement == "placeholder"
        else ("user1@example.com", "user2@example.com")
    )
    assert released[0].as_py() == f"m = '{one}'; '{two}'; '{one}'"
