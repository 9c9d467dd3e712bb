"""Values that are split or escaped in a text are found, and every finding is a range of the text's own bytes."""

import ast
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, crc_token, rand

from pii import Settings, redact_one, scan_one
from pii.linear import compiled
from pii.views import TRIGGERS, view_of

TOKEN = crc_token("gh" + "p")
MAIL = "ann@uni" + "-x.org"
PASSWORD = rand(ALNUM, 14)
LOW, MEDIUM = Settings(sensitivity="low"), Settings(sensitivity="medium")
ENGINES = [pytest.param(True, id="hyperscan"), pytest.param(False, id="keywords")]
INVISIBLE = ["\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff"]

PLACES = [
    "\u200b",
    "\u00ad",
    "\ufeff",
    "\\\n",
    "\\\r\n  ",
    '\\"',
    "\\/",
    "\\\\\\/",
    "\\u002d",
    "%2D",
    "%",
    "\\",
]
TEXT = st.lists(
    st.sampled_from([*PLACES, "a", "Z9", '"', "'", "\n", " ", "+ ", '"\n"', "é", '" +\n   "', "-"]),
    max_size=30,
).map("".join)


@settings(deadline=None)
@given(TEXT, st.sampled_from(sorted(TRIGGERS)), st.data())
def test_a_view_is_made_of_the_text(text, kind, data):
    body = text.encode()
    view = view_of(body, kind)
    assert len(view.at) == len(view.origin) == len(view.width)
    at = origin = 0
    for number, (start, begin, width) in enumerate(zip(view.at, view.origin, view.width, strict=True)):
        # pieces lie one behind the other in the copy, and in order in the text
        assert start == at and begin >= origin
        end = view.at[number + 1] if number + 1 < len(view.at) else len(view.text)
        if width:
            assert end - start == 1 and body[begin : begin + width][:1] in b"\\%"
        else:
            assert view.text[start:end] == body[begin : begin + end - start]
        at, origin = end, begin + (width or end - start)
    assert at == len(view.text) and origin <= len(body)
    if view.text:
        start = data.draw(st.integers(0, len(view.text) - 1))
        end = data.draw(st.integers(start + 1, len(view.text)))
        low, high = view.original(start, end)
        assert 0 <= low < high <= len(body)
        # the range ends where its first and last bytes come from
        assert view.original(start, start + 1)[0] == low and view.original(end - 1, end)[1] == high


@settings(deadline=None)
@given(TEXT)
def test_without_a_trigger_the_view_holds_nothing_new(text):
    body = text.encode()
    for kind, trigger in TRIGGERS.items():
        if not compiled(trigger).search(body) and not any(mark in text for mark in ("%", "\\", *INVISIBLE)):
            assert kind == "joined" or view_of(body, kind).text == body


@pytest.mark.parametrize("use_hyperscan", ENGINES)
@pytest.mark.parametrize("mark", INVISIBLE, ids=[f"U+{ord(c):04X}" for c in INVISIBLE])
def test_a_token_with_an_invisible_character_anywhere_is_one_finding(mark, use_hyperscan):
    for at in range(1, len(TOKEN)):
        body = f"t = {TOKEN[:at]}{mark}{TOKEN[at:]};".encode()
        assert [f[:2] for f in scan_one(body, LOW, use_hyperscan=use_hyperscan)] == [(4, len(body) - 1)], at


def split(text, mark):
    """A text with a mark after every fourth character."""
    return mark.join(text[i : i + 4] for i in range(0, len(text), 4))


CASES = {
    "invisible everywhere": (f"x = {split(TOKEN, chr(0x200B))}\n", LOW),
    "several at once": (f"x = {split(TOKEN, chr(0x200B) + chr(0x2060))}\n", LOW),
    "mail": (f"by {split(MAIL, chr(0x200D))} \n", MEDIUM),
    "password": (f"password = '{split(PASSWORD, chr(0xAD))}'\n", MEDIUM),
    "python continuation": (f'x = "{TOKEN[:9]}\\\n{TOKEN[9:]}"\n', LOW),
    "windows continuation": (f'x = "{TOKEN[:9]}\\\r\n{TOKEN[9:]}"\r\n', LOW),
    "shell": (f"export T={TOKEN[:20]}\\\n{TOKEN[20:]}\n", LOW),
    "yaml folded": (f'x: "{TOKEN[:20]}\\\n    {TOKEN[20:]}"\n', LOW),
    "continued password": (f"password = '{PASSWORD[:6]}\\\n{PASSWORD[6:]}'\n", MEDIUM),
    "adjacent literals": (f'x = ("{TOKEN[:20]}"\n     "{TOKEN[20:]}")\n', LOW),
    "one character lines": ("x = (" + "\n     ".join(f"'{c}'" for c in TOKEN) + ")\n", LOW),
    "plus at the end": (f'x = ("{TOKEN[:20]}" +\n     "{TOKEN[20:]}")\n', LOW),
    "plus in front": (f"x = '{TOKEN[:20]}'\n  + '{TOKEN[20:]}';\n", LOW),
    "literals with a backslash": (f'x = "{TOKEN[:20]}" \\\n    "{TOKEN[20:]}"\n', LOW),
    "unicode escape": (f'{{"x": "{TOKEN.replace("_", chr(92) + "u005f")}"}}', LOW),
    "percent escape": (f"https://h.net/?t={TOKEN.replace('_', '%5F')}&x=1", LOW),
    "percent mail": (f"https://h.net/?m={MAIL.replace('@', '%40')}&x=1", MEDIUM),
    "escaped slashes": (f'"https:\\/\\/bob:{PASSWORD}@db.host\\/x"', LOW),
    "json in yaml": (f'x: "{{\\"password\\": \\"{PASSWORD}\\"}}"\n', MEDIUM),
    "json in json in yaml": (f'x: "{{\\\\\\"password\\\\\\": \\\\\\"{PASSWORD}\\\\\\"}}"\n', MEDIUM),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_split_or_escaped(name):
    text, level = CASES[name]
    body = text.encode()
    found = scan_one(body, level)
    assert len(found) == 1
    assert scan_one(body, level, use_hyperscan=False) == found
    released, marks = redact_one(body, found)
    assert scan_one(released, level) == [] and len(marks) == 1
    assert released.count(b"\n") == body.count(b"\n") and released.count(b"\r") == body.count(b"\r")
    # nothing longer than the pieces that a line can hold is left of the value
    rest = released.decode()
    for value in (TOKEN, PASSWORD, MAIL):
        assert not any(value[i : i + 4] in rest for i in range(len(value) - 3)), rest


@pytest.mark.parametrize(
    "name",
    [
        "python continuation",
        "adjacent literals",
        "one character lines",
        "plus at the end",
        "literals with a backslash",
    ],
)
def test_code_still_parses(name):
    text = CASES[name][0]
    ast.parse(text)
    ast.parse(redact_one(text.encode(), scan_one(text.encode(), LOW))[0])


def test_nested_json_still_parses():
    inner = json.dumps({"user": "bob", "password": PASSWORD, "note": "a/b"})
    text = json.dumps({"config": inner, "n": 1})
    released = redact_one(text.encode(), scan_one(text.encode(), MEDIUM))[0]
    held = json.loads(json.loads(released)["config"])
    assert held["user"] == "bob" and held["password"].startswith("<PASSWORD")


QUIET = {
    "a list of strings": f'["{TOKEN[:20]}",\n "{TOKEN[20:]}"]',
    "one line": f'x = "{TOKEN[:20]}" + "{TOKEN[20:]}"',
    "two statements": f'a = "{TOKEN[:20]}";\n"{TOKEN[20:]}"',
    "other quotes": f"\"{TOKEN[:20]}\"\n'{TOKEN[20:]}'",
    "words of a macro": "#define KEY(x) secret_\\\n  value_of(x)",
    "a sentence": "the pass\u00adword of the user",
    "printf": 'printf("%2d%2d:%2d", a, b, c)',
}


@pytest.mark.parametrize("name", QUIET)
def test_what_is_no_split_value(name):
    for level in (LOW, MEDIUM):
        assert scan_one(QUIET[name].encode(), level) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [TOKEN, MAIL, PASSWORD, "password = '", "'", '"', *PLACES, '"\n"', "\n", " ", "x", "="]
        ),
        max_size=16,
    ).map("".join),
    st.sampled_from(["low", "medium"]),
)
def test_split_texts_are_closed_and_the_engines_agree(text, tier):
    body = text.encode()
    level = Settings(sensitivity=tier)
    found = scan_one(body, level)
    released, _ = redact_one(body, found)
    assert scan_one(released, level) == []
    assert scan_one(body, level, use_hyperscan=False) == found
    assert released.count(b"\n") == body.count(b"\n")


def test_work_is_linear_in_the_number_of_places():
    for unit in ("\\\n", "a\u200b", '"a"\n', "%2D", "\\u002d", "\\" * 9, '"' + " " * 9, "a\\ \n"):
        sizes = [len(view_of((unit * n).encode(), kind).at) for n in (1000, 2000) for kind in TRIGGERS]
        assert all(b <= 2 * a + 2 for a, b in zip(sizes[:2], sizes[2:], strict=True))
