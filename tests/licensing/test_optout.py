import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.optout import Registry, RegistryError, normalise

SAME = [
    "https://GitHost.example/Alice/Tool.git",
    "http://githost.example/alice/tool/",
    "git@githost.example:alice/tool.git",
    "ssh://git@githost.example:22/alice/tool",
    "https://user:word@www.githost.example/alice//tool?tab=readme#top",
    "githost.example/alice/tool",
    "https://githost.example/%61lice/tool",
]


def test_one_origin_many_spellings():
    assert {normalise(origin) for origin in SAME} == {"githost.example/alice/tool"}


def test_international_names():
    assert normalise("https://bücher.example/é") == normalise("https://xn--bcher-kva.example/e\u0301")


@given(st.text(max_size=40))
def test_normalising_never_fails(origin):
    assert isinstance(normalise(origin), str)


@given(st.sampled_from(SAME), st.sampled_from(SAME))
def test_matching_knows_no_spelling(entry, origin):
    registry = Registry.of([("origin", entry)])
    assert registry.match(pa.array([origin])).to_pylist() == [True]
    assert registry.digest == Registry.of([("origin", origin)]).digest


def test_owners():
    registry = Registry.of([("owner", "https://githost.example/Alice/")])
    origins = [*SAME, "https://githost.example/alice2/tool", "https://other.example/alice/tool", None]
    assert registry.match(pa.array(origins)).to_pylist() == [True] * len(SAME) + [False] * 3


def test_an_origin_is_not_a_prefix():
    registry = Registry.of([("origin", "https://h.example/a/b")])
    assert registry.match(pa.array(["https://h.example/a/b/c", "https://h.example/a"])).to_pylist() == [
        False,
        False,
    ]


def test_without_a_registry_nothing_matches():
    assert Registry.load(None).match(pa.chunked_array([["x", None]])).to_pylist() == [False, False]


def test_files(tmp_path):
    as_yaml, as_lines = tmp_path / "optout.yaml", tmp_path / "optout.jsonl"
    as_yaml.write_text(
        "# private\n- kind: origin\n  value: https://h.example/a/b\n  reason: asked\n  date: 2026-03-01\n"
        "- {kind: owner, value: h.example/c}\n"
    )
    as_lines.write_text(
        '{"kind": "owner", "value": "h.example/c"}\n\n{"kind": "origin", "value": "h.example/A/b.git"}\n'
    )
    assert Registry.load(as_yaml) == Registry.load(as_lines)
    (tmp_path / "empty.yaml").write_text("# nobody\n")
    assert Registry.load(tmp_path / "empty.yaml") == Registry.load(None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.yaml", "- kind: owner\n  value: h.example/a\n- kind: repo\n  value: x\n", "line 3: kind must be"),
        ("r.yaml", "- kind: owner\n  value: h.example\n", "line 1: not an owner"),
        ("r.yaml", "- kind: origin\n  valeu: x\n", "line 1: unknown key 'valeu'"),
        ("r.yaml", "- kind: origin\n", "line 1: value must be"),
        ("r.yaml", "kind: origin\n", "expected a list"),
        ("r.yaml", "- a\n-b: [\n", "not YAML"),
        ("r.yaml", "- {kind: owner, value: h.example/a, date: 2026-13-40}\n", "r.yaml"),
        ("r.jsonl", '{"kind": "origin", "value": "h.example/a"}\n{"kind"\n', "line 2: not JSON"),
        ("r.jsonl", "[1]\n", "line 1: expected a mapping"),
    ],
)
def test_malformed_entries_are_named_by_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(RegistryError, match=message):
        Registry.load(tmp_path / name)


def test_messages_show_no_other_entry(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("- {kind: owner, value: h.example/secret-person}\n- {kind: owner}\n")
    with pytest.raises(RegistryError) as error:
        Registry.load(path)
    assert "secret-person" not in str(error.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(RegistryError, match="cannot be read"):
        Registry.load(tmp_path / "no.yaml")
