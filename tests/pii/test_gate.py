"""The gate finds what detect-secrets finds: on generated texts, with and without Hyperscan."""

import random
import string
import sysconfig
from itertools import chain, islice
from pathlib import Path

import pytest
from detect_secrets.core import scan as ds
from detect_secrets.settings import default_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, HEX, crc_token, every_example, pem, rand

from pii import detect_secrets_gate
from pii.detect_secrets_gate import LONG_LINE, NEUTRAL_NAME, Gate, GateMismatch
from pii.gate_patterns import shadow, widen


@pytest.fixture(scope="module")
def library():
    """detect-secrets' own scan of the lines of a text, pragmas not obeyed: a set of (line, type, value)."""
    with default_settings() as held:
        held.disable_filters("detect_secrets.filters.allowlist.is_line_allowlisted")

        def run(text):
            lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            found = ds._process_line_based_plugins(list(enumerate(lines, 1)), NEUTRAL_NAME)
            return {(f.line_number, f.type, f.secret_value) for f in found}

        yield run


def ours(gate, text):
    """The same of the gate, less its extras; where the whole token is the span, the library's group of it."""
    out = set()
    for f in gate.findings(text):
        before = text[: f.start].replace("\r\n", "\n").replace("\r", "\n")
        value = text[f.start : f.end]
        if f.type == "GitHub Token":
            value = value[:3]
        elif f.type == "GitLab Token" and value.startswith(("glpat", "gldt", "glft", "glsoat", "glrt")):
            value = value.split("-")[0]
        if not f.extra:
            out.add((before.count("\n") + 1, f.type, value))
    return out


GATED = Gate(use_hyperscan=True)
UNGATED = Gate(use_hyperscan=False)


def corpus(seed, lines=400):
    """Lines with and without credentials, in several shapes, with non-ASCII characters and odd breaks."""
    g = random.Random(seed)

    def r(alphabet, n):
        return "".join(g.choices(alphabet, k=n))

    low, up = string.ascii_lowercase, string.ascii_uppercase
    words = [
        "password",
        "db_pass",
        "api_key",
        "apikey",
        "secret",
        "contraseña",
        "CONTRASEÑA",
        "pwd",
        "clientkey",
    ]
    name = lambda: g.choice(words) + g.choice(["", "_x", "é", "2"])  # noqa: E731
    makers = [
        lambda: f'{name()} = "{r(ALNUM, 12)}"',
        lambda: f"{name()}: '{r(ALNUM, 9)}', {name()}='{r(low, 7)}'",
        lambda: f'if "{r(ALNUM, 8)}" == {name()}:',
        lambda: f'{name()}("{r(ALNUM, 8)}");',
        lambda: f"{name()} = {r(low, 9)}({r(low, 3)})",
        lambda: f"user_id = '{r(ALNUM, 40)}'",
        lambda: f'x = "{r(ALNUM + "+/", g.randint(15, 60))}"',
        lambda: f"h = '{r(HEX, g.choice([8, 16, 32, 40]))}'",
        lambda: "k = AK" + f"IA{r(up + string.digits, 16)}",
        lambda: "t = gh" + f"p_{r(ALNUM, 36)} gl" + f"pat-{r(ALNUM, 20)}",
        lambda: "aws é" + "漢" * g.randint(0, 25) + f" key = '{r(ALNUM, 40)}'",
        lambda: f"postgres://u:{r(ALNUM, 8)}@h/{r(low, 3)}",
        lambda: "-" * 5 + "BEGIN RSA PRIVATE " + "KEY" + "-" * 5,
        lambda: f'secret = "{r(ALNUM, 10)}"  # pragma: allowlist secret',
        lambda: "# pragma: allowlist nextline secret",
        lambda: f'paſſword = "{r(ALNUM, 10)}"; toKen_apİ_Key = "{r(ALNUM, 44)}"',
        lambda: f"softlayer_api_key = {r(low + string.digits, 64)}",
        lambda: f"cos_secret_access_key: {r(HEX, 48)}  \t\u00a0",
        lambda: f"//registry.x/:_authToken={r(HEX + '-', 36)}",
        lambda: f"AP{r('123ABC', 1)}{r(ALNUM, 12)}",
        lambda: "xox" + f"b-١٢٣-{r(string.digits, 11)}-{r(low, 12)}",
        lambda: f"{r(low, 5)} = {r(low, 4)}[{g.randint(0, 9)}]  # {r(low + ' é', 30)}",
        lambda: "",
    ]
    return "".join(g.choice(makers)() + g.choice(["\n", "\n", "\n", "\r\n", "\r"]) for _ in range(lines))


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_detect_secrets_on_a_generated_corpus(library, seed):
    text = corpus(seed)
    expected = library(text)
    assert len(expected) > 80
    assert ours(GATED, text) == expected
    assert ours(UNGATED, text) == expected


def test_equal_on_the_rule_examples(library):
    true, false = every_example()
    text = "\n".join([*true, *false, pem()])
    assert ours(GATED, text) == library(text)


def real_texts(megabytes, seed=0, most=100_000):
    """Text files of the installed packages, a random choice by their names."""
    files = sorted(
        p
        for p in Path(sysconfig.get_paths()["purelib"]).rglob("*")
        if p.is_file() and p.stat().st_size < most
    )
    random.Random(seed).shuffle(files)
    size = 0
    for path in files:
        body = path.read_bytes()
        try:
            text = body.decode()
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            yield path, text
            size += len(body)
        if size > megabytes * 1e6:
            return


def equal_on(texts, library):
    """Findings of detect-secrets in the texts; the gate finds all of them, and more in lines beyond `LONG_LINE` only.

    (There its filter on the whole line does not apply: see the gate's long lines.)
    """
    seen = 0
    for _, text in texts:
        expected, found = library(text), ours(GATED, text)
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert expected <= found
        assert all(len(lines[number - 1]) > LONG_LINE for number, _, _ in found - expected)
        seen += len(expected)
    return seen


def test_equal_on_real_files(library):
    # Which packages are installed differs; so some files come first in which there is something to find.
    some = islice((t for t in real_texts(20, seed=2, most=20_000) if GATED.findings(t[1])), 6)
    assert equal_on(chain(some, real_texts(0.5)), library) > 0


@pytest.mark.slow
def test_equal_on_many_real_files(library):
    assert equal_on(real_texts(10, seed=1), library) > 0


PIECES = [
    "password",
    "secret",
    "_id",
    " = ",
    ": ",
    "=='",
    "'",
    '"',
    "`",
    "\n",
    "\r",
    " ",
    "://u:",
    "@",
    "é",
    "K",
    "ſ",
]
PIECES += [
    "# pragma: allowlist secret",
    ";",
    "(",
    "[",
    "abc",
    "{",
    "$",
    "\\",
    "AKC",
    "key",
    "aws",
    "漢",
    "\u2028",
]
PIECES += [
    "\x0b",
    "-us12",
    crc_token("gh" + "p"),
    rand(ALNUM, 30),
    rand(HEX, 12),
    rand(HEX, 32),
    "\u212a",
    "=>",
]
FRAGMENTS = st.sampled_from(PIECES)


@settings(max_examples=250, deadline=None)
@given(st.lists(FRAGMENTS, max_size=25).map("".join))
def test_equal_on_free_texts(library, text):
    expected = library(text)
    assert ours(GATED, text) == expected
    assert ours(UNGATED, text) == expected
    assert GATED.findings(text) == UNGATED.findings(text)


def test_the_gate_lets_few_lines_through():
    quiet = "".join(f"total += items[{i}].price * {i}  # row {i}\n" for i in range(2000))
    gate = Gate(use_hyperscan=True)
    gate.findings(quiet + 'password = "' + rand(ALNUM, 12) + '"\n' + quiet)
    assert gate.lines_passed == 1


def test_decimal_runs_are_not_let_through(library):
    text = "".join(f"'{1202555000 + i}': {{'en': u'City'}},\n" for i in range(500))
    gate = Gate(use_hyperscan=True)
    assert ours(gate, text) == library(text) == set() and gate.lines_passed == 0
    for at in range(12):  # a letter anywhere makes hex of it
        line = "x = '" + "123456789012"[:at] + "c" + "98765432101a"[at:] + "'"
        assert ours(gate, line) == library(line)


@pytest.mark.parametrize(
    "unit", ["secret", "password=`", "eyJ.", "////:_authToken=", "'a", '"' + rand(ALNUM, 30)]
)
def test_work_on_a_long_line_is_linear(unit):
    def windows(n):
        gate = Gate(use_hyperscan=True)
        gate.findings((unit * (n // len(unit) + 1))[:n])
        return gate.lines_passed

    n = 20 * LONG_LINE
    assert windows(n) <= 2 * n // LONG_LINE + 2


def test_a_long_line_is_looked_at_everywhere():
    secret = rand(ALNUM, 20)
    part = f'password = "{secret}", '
    for pad in range(0, 3 * LONG_LINE, 997):
        text = "x" * 10 + " " * pad + part + " " * (3 * LONG_LINE - pad)
        for gate in (GATED, UNGATED):
            at = text.index(secret)
            assert (at, at + 20) in {(f.start, f.end) for f in gate.findings(text)}


def test_every_occurrence_in_the_line_is_a_span():
    secret = rand(ALNUM, 12)
    text = f'a = 1\npassword = "{secret}"; check({secret}, "{secret}")\nlater({secret})\n'
    line_end = text.index("\nlater")
    places = [i for i in range(line_end) if text.startswith(secret, i)]
    assert sorted({f.start for f in GATED.findings(text)}) == places and len(places) == 3


def test_an_unknown_plugin_or_filter_is_an_error(monkeypatch):
    class Other:
        pass

    monkeypatch.setattr(detect_secrets_gate, "get_plugins", lambda: [Other()])
    with pytest.raises(GateMismatch, match="Other"):
        Gate()
    monkeypatch.undo()
    real = detect_secrets_gate.get_filters

    def new_filter():
        return False

    monkeypatch.setattr(detect_secrets_gate, "get_filters", lambda: [*real(), new_filter])
    with pytest.raises(GateMismatch, match="new_filter"):
        Gate()


def test_shadow_has_one_byte_per_character():
    text = "aé漢\r\n😀ſ\u212aİı\udc80z"
    assert shadow(text) == b"a\xff\xff\n\n\xffskii\xffz"


@pytest.mark.parametrize(
    ("pattern", "wider"),
    [
        (r"[^\v'\"]*", rb"[^\x0b'\"]*"),
        (r"\w+[\w\-]", rb"[\w\xff]+[\w\xff\-]"),
        (r"[^\s\w]", rb"[^\s\w]"),
        (r"[]\'\"]{0,2}", rb"[]\'\"]{0,2}"),
        (r"contraseña", rb"contrase\xffa"),
        (r"a\b.\\w", rb"a.\\w"),
        (r"x$", rb"x(?:$|[\s\x1c-\x1f\xff])"),
    ],
)
def test_widening(pattern, wider):
    assert widen(pattern, verbose=False) == wider
