"""Nothing of detect-secrets is lost silently: each of its findings is redacted or recorded with an explanation."""

import pytest
from detect_secrets.core import scan as ds
from detect_secrets.settings import default_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, HEX, pem, rand
from test_gate import GATED, corpus, real_texts

from pii import Settings, redact_one, scan_text
from pii.explained import EXPLANATIONS
from pii.gate_findings import gate_findings
from pii.secret_names import name_before
from pii.verify_generic import assignment_explanation

LINES = [
    f'password = "{rand(ALNUM, 12)}"',
    'password = "changeme"',
    'secret_name = "some words"',
    f'x = "{rand(HEX, 40)}"',
    f'x = "{rand(ALNUM + "+/", 44)}"',
    f'api_key = "{rand(HEX, 32)}"  # pragma: allowlist secret',
    "# pragma: allowlist nextline secret",
    "https://user:password@h.test",
    f"https://user:{rand(ALNUM, 10)}@h.test",
    pem(),
    "-----BEGIN RSA PRIVATE " + "KEY-----",
    'key = "0123456789abcdef"',
    "é = 1",
    "",
]


def lost(text):
    """Findings of the gate that the scan neither redacts nor records; an explanation without a sentence counts too."""
    theirs = GATED.findings(text)
    if not theirs:
        return []
    body = text.encode()
    held = scan_text(body, Settings(sensitivity="high"))
    assert {s[4] for s in held.spared} <= set(EXPLANATIONS), "an explanation needs its sentence"
    at = {0: 0}
    for i, c in enumerate(text):
        at[i + 1] = at[i] + len(c.encode())
    return [
        f.type
        for f in theirs
        if not any(s[0] < at[f.end] and s[1] > at[f.start] for s in [*held.findings, *held.spared])
    ]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=10).map("\n".join))
def test_nothing_is_lost(text):
    assert lost(text) == []


def test_nothing_is_lost_on_a_generated_corpus():
    assert lost(corpus(7, 200)) == []


def test_nothing_is_lost_in_real_files():
    assert {t for _, text in real_texts(1.0, seed=3) for t in lost(text)} == set()


def test_every_explanation_is_a_sentence():
    for name, sentence in EXPLANATIONS.items():
        assert name == name.lower() and sentence[0].isupper() and sentence.endswith(".")


def test_pragmas_hide_nothing():
    text = f'api_key = "{rand(ALNUM, 32)}"  # pragma: allowlist secret\n'.encode()
    found, spared = gate_findings(text)
    assert len(found) >= 1 and spared == []
    assert rand(ALNUM, 32).encode() not in redact_one(text, scan_text(text).findings)[0]
    obeyed = scan_text(text, Settings(obey_pragmas=True))
    assert obeyed.findings == [] and {s[4] for s in obeyed.spared} == {"pragma"}


@pytest.mark.slow
def test_what_detect_secrets_finds_by_file_name_is_found_or_explained():
    """Real names switch on its expressions for unquoted YAML and INI and for Go; ours do not know names."""
    unexplained, seen = [], 0
    with default_settings() as held:
        held.disable_filters("detect_secrets.filters.allowlist.is_line_allowlisted")
        for path, text in real_texts(6, seed=5):
            body, lines = text.encode(), text.split("\n")
            for f in ds.scan_file(str(path)):
                seen += 1
                result = scan_text(body)
                low = len("\n".join(lines[: f.line_number - 1]).encode()) + (f.line_number > 1)
                start = body.find(f.secret_value.encode(), low)
                end = start + len(f.secret_value.encode())
                if start < 0 or any(s[0] < end and s[1] > start for s in [*result.findings, *result.spared]):
                    continue
                name = name_before(body[low:start])
                if assignment_explanation(body, start, end, name) is None:
                    unexplained.append((path.name, f.type))
    assert seen > 0 and unexplained == []
