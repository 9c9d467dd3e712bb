"""What a configuration comes to for a text: the strictest of all its places; entries without reason or object are errors."""

import hashlib

import pyarrow as pa
import pytest

from pii import Allow, Override, Policy, Settings, scan, scan_text
from pii.paths import matches
from pii.rules import SENSITIVITIES

MAIL = "ann@uni" + "-x.org"
TEXT = f"a = '{MAIL}'\n".encode()


def test_levels_by_kind():
    s = Settings(sensitivity="low", kinds=(("email", "medium"), ("key", "off")))
    ids = {r.id for r in s.active_rules}
    assert "email" in ids and "github-token" not in ids and "ipv4" not in ids
    assert scan_text(TEXT, s).findings == [(5, 5 + len(MAIL), "email", "email")]
    with pytest.raises(ValueError, match="unknown kind 'mail'"):
        Settings(kinds=(("mail", "low"),))
    with pytest.raises(ValueError, match="choose one of low, medium, high"):
        Settings(kinds=(("email", "extreme"),))


def test_the_strictest_of_all_places_counts():
    policy = Policy(
        base=Settings(sensitivity="medium"),
        languages=(("Markdown", Override(sensitivity="low")), ("YAML", Override(kinds=(("email", "off"),)))),
    )
    assert policy.needs_places
    for languages, found in (
        ([], True),
        (["Python"], True),
        (["Markdown"], False),
        (["YAML"], False),
        (["Markdown", "YAML"], False),
        (["Markdown", "Python"], True),
        ([None, "YAML"], True),
    ):
        assert bool(scan_text(TEXT, policy.settings_for(languages)).findings) == found, languages
    assert policy.settings_for(["Python"]) == policy.base


def test_allow_list_entries_need_all_places():
    digest = hashlib.sha256(MAIL.encode()).hexdigest()
    policy = Policy(
        allow=(
            Allow(reason="list of maintainers", values=(digest,), paths=("docs/**", "*.md")),
            Allow(reason="addresses of a test", rules=("email",), languages=("Text",)),
        )
    )
    left = "allowed: list of maintainers"
    for paths, languages, why in (
        ([b"docs/a/b.py"], [], left),
        ([b"x/y.md", b"docs/z"], [], left),
        ([b"docs/a", b"src/a"], [], None),
        ([], [], None),
        ([b"src/a"], ["Text"], "allowed: addresses of a test"),
        ([b"src/a"], ["Text", "Python"], None),
    ):
        found = scan_text(TEXT, policy.settings_for(languages, paths))
        assert [s[4] for s in found.spared] == ([why] if why else []) and bool(found.findings) == (
            why is None
        )
    table = scan(pa.array([TEXT.decode()]), policy.settings_for([], [b"docs/a"]))
    assert table["spared"].to_pylist() == [left] and table["pragma"].to_pylist() == [False]


@pytest.mark.parametrize(
    "entry", [{"reason": " ", "rules": ("x",)}, {"reason": "why"}, {"reason": "why", "kinds": ("mail",)}]
)
def test_entries_that_say_nothing_are_errors(entry):
    with pytest.raises(ValueError):
        Allow(**entry)


def test_digest_changes_with_what_decides():
    one = Settings()
    others = [
        Settings(sensitivity="low"),
        Settings(kinds=(("name", "high"),)),
        Settings(obey_pragmas=True),
        Settings(replacement="fake"),
        Settings(allow=(Allow(reason="r", kinds=("email",)),)),
    ]
    assert len({s.digest() for s in [one, *others]}) == 6
    assert set(SENSITIVITIES) == {"low", "medium", "high"}


@pytest.mark.parametrize(
    ("pattern", "path", "holds"),
    [
        ("*.md", b"a/b.md", True),
        ("*.md", b"b.mdx", False),
        ("docs/*", b"docs/a", True),
        ("docs/*", b"docs/a/b", False),
        ("docs/**", b"docs/a/b", True),
        ("**/t/*.py", b"t/x.py", True),
        ("**/t/*.py", b"a/b/t/x.py", True),
        ("a?c", b"abc", True),
        ("/x", b"x", True),
        ("a.b", b"a\nb", False),
        ("[x]", b"[x]", True),
    ],
)
def test_path_patterns(pattern, path, holds):
    assert matches(pattern, path) == holds


def test_pragmas_are_recorded_and_obeyed_only_when_asked():
    text = pa.array([f"a = '{MAIL}'  # pragma: allowlist secret\n"])
    noted = scan(text, Settings(sensitivity="medium"))
    assert noted["pragma"].to_pylist() == [True] and noted["spared"].to_pylist() == [None]
    assert scan(text, Settings(sensitivity="medium", obey_pragmas=True))["spared"].to_pylist() == ["pragma"]
