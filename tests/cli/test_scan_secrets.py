"""`pipeline scan secrets`: places, masks, allow-lists, baselines, SARIF and exit codes; no value leaves it in any form."""

from __future__ import annotations

import hashlib
import json
import random
import re
import string
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pii.allow import BadAllowList, load_allow
from pipeline.cli.main import app
from pipeline.errors import ConfigError, GateError

g = random.Random(7)
ALNUM = string.ascii_letters + string.digits


def value(n: int) -> str:
    return "".join(g.choices(ALNUM, k=n - 2)) + "4a"


PASSWORD, OTHER, MAIL = value(16), value(15), "ann@uni" + "-x.org"
DIGEST = "".join(g.choices("0123456789abcdef", k=39)) + "7"
VALUES = (PASSWORD, OTHER, MAIL, DIGEST)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "docs").mkdir(parents=True)
    (root / "app.py").write_text(
        f'# é {MAIL}\n\npassword = "{PASSWORD}"  # pragma: allowlist secret\ndigest = "{DIGEST}"\n', "utf-8"
    )
    (root / "docs" / "a\n b.md").write_text(f"Write to {MAIL}.\n", "utf-8")
    (root / "wide.txt").write_bytes(f"\ufeffpassword = '{OTHER}'\n".encode("utf-16-le"))
    (root / "nothing.bin").write_bytes(b"\0\1\2" + MAIL.encode())
    return root


def scan(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, ["scan", "secrets", *map(str, arguments)])
    if code == 0:
        assert result.exit_code == 0, (result.output, result.exception)
    else:
        assert isinstance(result.exception, ConfigError | GateError | ValueError), result.exception
        assert getattr(result.exception, "exit_code", 2) == code
        assert not any(v in str(result.exception) for v in VALUES)
    assert not any(v in result.output for v in VALUES)
    return result


def records(*arguments: object):
    return [json.loads(line) for line in scan(*arguments, "--json").stdout.splitlines()]


def test_every_finding_has_its_place(folder):
    found = records(folder)
    assert [(r["path"], r["kind"], r["line"], r["column"]) for r in found] == [
        ("app.py", "email", 1, 5),
        ("app.py", "password", 3, 13),
        ("docs/a\\x0a b.md", "email", 1, 10),
        ("wide.txt", "password", 1, 13),
    ]
    body = (folder / "app.py").read_bytes()
    assert body[found[0]["start"] : found[0]["end"]].decode() == MAIL
    assert [r["pragma"] for r in found] == [False, True, False, False]


def test_context_is_the_released_line(folder):
    context = [r["context"] for r in records(folder, "--show-context", "--spared")]
    assert context == [
        "# é <EMAIL_1>",
        'password = "<PASSWORD_1>"  # pragma: allowlist secret',
        'digest = "<KEY_1>"',
        "Write to EMAIL_1.",
        "password = '<PASSWORD_1>'",
    ]


def test_long_lines_and_control_characters_in_context(tmp_path):
    (tmp_path / "x.js").write_text("a" * 50_000 + f" \x1b[31m '{MAIL}' " + "b" * 50_000)
    (one,) = records(tmp_path, "--show-context")
    assert "\x1b" not in one["context"] and len(one["context"]) < 300 and "<EMAIL_1>" in one["context"]


def test_what_is_spared_is_told_when_asked(folder):
    assert [r["spared"] for r in records(folder, "--spared")] == [None, None, "digest", None, None]
    assert "spared: digest" in scan(folder).stderr
    assert [r["spared"] for r in records(folder, "--spared", "--obey-pragmas")][1] == "pragma"


def test_kinds_and_sensitivity(folder):
    assert {r["kind"] for r in records(folder, "--kind", "email=off")} == {"password"}
    assert {r["kind"] for r in records(folder, "--sensitivity", "low", "--kind", "email=medium")} == {"email"}
    scan(folder, "--kind", "email", code=2)
    scan(folder, "--kind", "mail=off", code=2)
    scan(folder, "--kind", "email=extreme", code=2)


def test_allow_lists(folder, tmp_path):
    (digest,) = {r["value_sha256"] for r in records(folder, "--value-digests") if r["kind"] == "email"}
    assert digest == hashlib.sha256(MAIL.encode()).hexdigest()
    allow = tmp_path / "allow.yaml"
    allow.write_text(
        f"allow:\n- {{reason: in docs, values: ['{digest}'], paths: ['docs/**']}}\n"
        "- {reason: plain text, kinds: [password], languages: [Text]}\n"
    )
    told = records(folder, "--allow", allow, "--spared")
    assert [r["spared"] for r in told] == [None, None, "digest", "allowed: in docs", "allowed: plain text"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("allow: {}", "is a list", id="form"),
        pytest.param("allow:\n- {kinds: [email]}", "entry 1: `reason` must be a text", id="reason"),
        pytest.param("allow:\n- {reason: x}", "entry 1: allow-list entry 'x' names nothing", id="nothing"),
        pytest.param("allow:\n- {reason: x, colour: [y]}", "unknown key 'colour'", id="key"),
        pytest.param("allow:\n- {reason: x, values: [hunter]}", "1 of `values` are no SHA-256", id="value"),
        pytest.param("allow: [", "line 1, column", id="yaml"),
        pytest.param("deny: []", "one key, `allow`", id="other"),
    ],
)
def test_bad_allow_lists_say_what_is_wrong(text, message):
    with pytest.raises(BadAllowList, match=re.escape(message)) as error:
        load_allow(text, "allow.yaml")
    assert str(error.value).startswith("allow.yaml") and "hunter" not in str(error.value)


def test_baseline_tells_new_and_gone(folder, tmp_path):
    base = tmp_path / "baseline.json"
    scan(folder, "--write-baseline", base)
    first = base.read_text()
    assert not any(v in first for v in VALUES)
    assert (
        "0 findings that the baseline has not, 4 that it has, 0 of it are gone"
        in scan(folder, "--baseline", base, "--fail").stderr
    )
    # Lines move, one value is exchanged, one finding is added and one goes.
    app_py = (folder / "app.py").read_text("utf-8")
    (folder / "app.py").write_text("\n\n" + app_py.replace(PASSWORD, value(16)), "utf-8")
    (folder / "new.txt").write_text(f"{MAIL}\n")
    (folder / "wide.txt").unlink()
    result = scan(folder, "--baseline", base)
    assert [line.split("\t")[2] for line in result.stdout.splitlines()] == ["app.py:5:13", "new.txt:1:1"]
    assert "2 findings that the baseline has not, 2 that it has, 2 of it are gone" in result.stderr
    scan(folder, "--baseline", base, "--fail", code=3)
    # Written again over the old one: the salt stays, and so does every entry that is still there.
    scan(folder, "--baseline", base, "--write-baseline", base)
    assert json.loads(base.read_text())["salt"] == json.loads(first)["salt"]
    scan(folder, "--baseline", base, "--fail")
    assert "other rules or settings" in scan(folder, "--baseline", base, "--sensitivity", "low").stderr


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 7}', '{"format": 1, "salt": "x"}'], ids=["a", "b", "c", "d"]
)
def test_a_file_that_is_no_baseline(folder, tmp_path, text):
    (tmp_path / "b.json").write_text(text)
    scan(folder, "--baseline", tmp_path / "b.json", code=2)
    scan(folder, "--baseline", tmp_path / "missing.json", code=2)


def test_sarif(folder, tmp_path):
    base, out = tmp_path / "b.json", tmp_path / "out.sarif"
    scan(folder, "--write-baseline", base)
    (folder / "new.txt").write_text(f"é {MAIL}\n", "utf-8")
    scan(folder, "--sarif", out, "--baseline", base, "--obey-pragmas")
    text = out.read_text()
    assert not any(v in text for v in VALUES)
    log = json.loads(text)
    (run,) = log["runs"]
    assert log["version"] == "2.1.0" and run["columnKind"] == "unicodeCodePoints"
    rules = [r["id"] for r in run["tool"]["driver"]["rules"]]
    assert len(set(rules)) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
    by_uri = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]: r for r in run["results"]}
    assert set(by_uri) == {"app.py", "docs/a%0A%20b.md", "new.txt", "wide.txt"}
    new = by_uri["new.txt"]
    assert new["baselineState"] == "new" and new["level"] == "warning"
    assert new["locations"][0]["physicalLocation"]["region"] == {
        "startLine": 1,
        "startColumn": 3,
        "endLine": 1,
        "endColumn": 3 + len(MAIL),
        "byteOffset": 3,
        "byteLength": len(MAIL),
    }
    # Offsets of a text that had another encoding are not those of the file.
    assert "byteOffset" not in by_uri["wide.txt"]["locations"][0]["physicalLocation"]["region"]
    suppressed = [r for r in run["results"] if "suppressions" in r]
    assert [r["suppressions"] for r in suppressed] == [[{"kind": "inSource", "justification": "pragma"}]]


def test_own_rules(folder, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n- {id: acme-key, kind: key, tier: low, source: own, pattern: 'acme_[a-z]{8}', keywords: [acme_],\n"
        "   found: ['[[acme_{lower:8}]]', 'x=[[acme_{lower:8}]];'], not_found: ['acme_1', 'acme']}\n"
    )
    (folder / "app.py").write_text("x = 'acme_qwhzkfpv'\n")
    assert [r["rule"] for r in records(folder, "--rules", rules, "--sensitivity", "low")] == ["acme-key"]
    rules.write_text("rules:\n- {id: acme-key, kind: key, tier: low, source: own, pattern: 'acme_('}\n")
    scan(folder, "--rules", rules, code=2)


def test_settings_of_a_release_configuration(folder, tmp_path):
    config = tmp_path / "release.yaml"
    config.write_text(
        "secrets:\n  sensitivity: medium\n  kinds: {email: off}\n  languages: {Text: {kinds: {password: off}}}\n"
        "  allow:\n  - {reason: known, kinds: [password], paths: ['app.py']}\n"
    )
    assert [(r["path"], r["spared"]) for r in records(folder, "--config", config, "--spared")] == [
        ("app.py", "allowed: known")
    ]
    # What is given beside it counts more.
    assert {r["kind"] for r in records(folder, "--config", config, "--kind", "email=medium")} == {"email"}
    config.write_text("secrets: {sensitivty: low}\n")
    scan(folder, "--config", config, code=2)


def test_a_model_needs_its_labels(folder, tmp_path):
    scan(folder, "--model", tmp_path, code=2)
    (tmp_path / "labels.yaml").write_text("[]")
    scan(folder, "--model", tmp_path, "--model-labels", tmp_path / "labels.yaml", code=2)
    (tmp_path / "labels.yaml").write_text("PER: name\n")
    scan(folder, "--model", tmp_path / "none", "--model-labels", tmp_path / "labels.yaml", code=2)
