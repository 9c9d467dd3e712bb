"""The manifest: canonical bytes there and back, figures that add up, and errors that name the JSON path."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import fields, replace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import canonical
from manifests.errors import ManifestError
from manifests.facts import Contents, Digests, FileFacts, LanguageFacts, Origins, Parent, ShardFacts, Totals
from manifests.manifest import Manifest, json_schema
from manifests.names import config_name, shard_path

D = "ab" * 32


def shard(language: str = "Python", prefix: str = "all", **changes) -> ShardFacts:
    given_facts = {
        "path": shard_path(language, prefix),
        "language": language,
        "sha256": D,
        "bytes": 100,
        "rows": 7,
        "row_groups": 1,
        "text_bytes": 50,
        "memory_bytes": 90,
        "merkle_root": D,
    }
    return ShardFacts(**{**given_facts, **changes})


def build(**changes) -> Manifest:
    values = {
        "name": "test",
        "version": "2.1",
        "shards": [shard("Python", "1"), shard("Python", "0"), shard("C++"), shard("F*")],
        "files": [
            FileFacts(path="ids.parquet", sha256=D, bytes=5),
            FileFacts(path="README.md", sha256=D, bytes=0),
        ],
        "merkle_root": D,
        "totals": Totals(found=40, kept=28, dropped={"license": 10, "quality.lines": 2}),
        "origins": Origins(found=3, resolved=2, unresolved={"no_branch": 1}),
        "contents": Contents(licenses={"MIT": 20, "Apache-2.0 OR MIT": 8}, redactions={"email": 3}),
        "inputs": {"archive": {"export": "2025-03-01", "tables": [1, 2]}},
        "digests": Digests(
            configuration=D,
            code=D,
            policies={"license": D},
            detectors={"tag": "1"},
            libraries={"pyarrow": "26"},
        ),
        "opt_out_head": D,
        "parent": Parent(version="2.0", digest=D),
    }
    return Manifest.build(**{**values, **changes})


def test_build_parse_and_bytes_agree():
    manifest = build()
    data = manifest.to_bytes()
    assert Manifest.parse(data) == manifest
    assert data == canonical.dumps(json.loads(data))
    assert manifest.digest == hashlib.sha256(data).hexdigest()
    assert [facts.path for facts in manifest.shards] == sorted(facts.path for facts in manifest.shards)
    assert manifest.languages["Python"] == LanguageFacts(
        config_name="Python", rows=14, text_bytes=100, memory_bytes=180, bytes=200, shards=2
    )


@given(st.permutations(list(range(4))), st.permutations(list(range(2))))
def test_bytes_do_not_depend_on_the_order_given(shards, files):
    manifest = build()
    again = build(
        shards=[manifest.shards[number] for number in shards],
        files=[manifest.files[number] for number in files],
        totals=Totals(found=40, kept=28, dropped={"quality.lines": 2, "license": 10}),
    )
    assert again.to_bytes() == manifest.to_bytes()


REFUSED = [
    ("$.shards", {"shards": [], "totals": Totals(found=0, kept=0, dropped={})}),
    ("$.totals.found", {"totals": Totals(found=41, kept=28, dropped={"license": 12})}),
    ("$.totals.kept", {"totals": Totals(found=40, kept=27, dropped={"license": 13})}),
    ("$.origins.found", {"origins": Origins(found=4, resolved=2, unresolved={"no_branch": 1})}),
    ("$.totals.dropped.license", {"totals": Totals(found=27, kept=28, dropped={"license": -1})}),
    ("$.totals.dropped, key", {"totals": Totals(found=29, kept=28, dropped={"No Licence": 1})}),
    ("$.name", {"name": "a/b"}),
    ("$.version", {"version": "../2"}),
    ("$.parent.digest", {"parent": Parent(version="2.0", digest="x")}),
    ("$.merkle_root", {"merkle_root": D.upper()}),
    ("$.policies.'license'", {"digests": Digests(configuration=D, code=D, policies={"license": "1"})}),
    ("$", {"inputs": {"a": float("nan")}}),
    ("$", {"inputs": {"a": 2**60}}),
    ("$.files", {"files": [FileFacts(path="README.md", sha256=D, bytes=1)]}),
    ("$.files", {"files": [FileFacts(path="ids.parquet", sha256=D, bytes=1)] * 2}),
    ("$.files[0].path", {"files": [FileFacts(path="../ids.parquet", sha256=D, bytes=1)]}),
    (
        "$.files[1].path",
        {"files": [FileFacts(path=path, sha256=D, bytes=1) for path in ("ids.parquet", "manifest.json")]},
    ),
    (
        "$.files[1].path",
        {"files": [FileFacts(path=path, sha256=D, bytes=1) for path in ("ids.parquet", "IDS.parquet")]},
    ),
    ("$.shards[0].rows", {"shards": [shard(rows=0)]}),
    ("$.shards[0].path", {"shards": [shard(path="data/C/train-all.parquet")]}),
    ("$.shards[0].path", {"shards": [shard(path="data/Python/../C/x.parquet")]}),
    ("$.shards[0].path", {"shards": [shard(path="data/Python/sub/x.parquet")]}),
    ("$.shards[0].language", {"shards": [replace(shard(), language="default")]}),
    ("$.languages", {"shards": [shard("a/b", rows=14), shard("a-b", "0", rows=14)]}),
    ("$.languages", {"shards": [shard("Ab", rows=14), shard("aB", "0", rows=14)]}),
]


@pytest.mark.parametrize(("where", "changes"), REFUSED)
def test_what_cannot_be_true_is_refused_with_its_place(where, changes):
    with pytest.raises(ManifestError) as caught:
        build(**changes)
    assert caught.value.where == where
    assert where in str(caught.value)


def edits() -> list[tuple[str, object]]:
    """JSON pointers (as tuples joined by '/') and values that make a valid manifest invalid."""
    wrong: list[tuple[str, object]] = []
    for key in build().to_json():
        wrong.append((key, ...))  # missing
    wrong += [
        ("extra", 1),
        ("schema_version", 1),
        ("schema_version", 3),
        ("schema_version", "1"),
        ("schema_version", True),
        ("shards", {}),
        ("shards/0/rows", "7"),
        ("shards/0/rows", True),
        ("shards/0/rows", 7.5),
        ("shards/0/rows", -7),
        ("shards/0/sha256", "zz"),
        ("shards/0/extra", 1),
        ("shards/0/path", "/abs"),
        ("shards/0/path", "data/C++/../../x.parquet"),
        ("shards/0/language", ""),
        ("files/0/bytes", None),
        ("files/0/path", "a\\b"),
        ("files/0/path", "a\nb"),
        ("files/0/path", "a/./b"),
        ("files", []),
        ("languages", {}),
        ("languages/Python/rows", 0),
        ("totals/kept", 0),
        ("totals/dropped", []),
        ("totals/dropped/license", 1.5),
        ("totals/dropped/UPPER", 0),
        ("origins/found", "3"),
        ("inputs", []),
        ("policies/license", "short"),
        ("detectors/tag", 1),
        ("libraries/pyarrow", ""),
        ("parent", "2.0"),
        ("parent/version", "2"),
        ("parent/extra", 1),
        ("version", "2..1"),
        ("name", ""),
    ]
    return wrong


def edited(pointer: str, value: object) -> dict:
    document = copy.deepcopy(build().to_json())
    *way, last = pointer.split("/")
    target = document
    for step in way:
        target = target[int(step)] if isinstance(target, list) else target[step]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return document


@pytest.mark.parametrize(("pointer", "value"), edits())
def test_schema_and_parser_refuse_the_same(pointer, value):
    document = edited(pointer, value)
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(document)
    with pytest.raises(ManifestError):
        Manifest.parse(canonical.dumps(document))


def test_schema_accepts_what_we_write_and_names_the_same_keys():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for manifest in (build(), build(parent=None)):
        validator.validate(json.loads(manifest.to_bytes()))
    assert set(schema["properties"]) == set(schema["required"]) == set(build().to_json())
    for name, kind in (("shard", ShardFacts), ("file", FileFacts), ("language", LanguageFacts)):
        assert set(schema["$defs"][name]["properties"]) == {field.name for field in fields(kind)}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"schema_version":2}',
        b"\xff",
        b'{"a":1,"a":2}',
        build().to_bytes() + b"\n",
    ],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(ManifestError):
        Manifest.parse(data)


def test_valid_json_that_is_not_canonical_is_refused():
    pretty = json.dumps(json.loads(build().to_bytes()), indent=1).encode()
    with pytest.raises(ManifestError, match="canonical"):
        Manifest.parse(pretty)


def test_unknown_version_says_what_to_do():
    with pytest.raises(ManifestError, match=r"\$\.schema_version.*version of the software") as caught:
        Manifest.parse(canonical.dumps({**build().to_json(), "schema_version": 99}))
    assert "99" in str(caught.value)


def test_languages_must_be_the_sums():
    document = build().to_json()
    document["languages"]["Python"]["rows"] += 1
    with pytest.raises(ManifestError, match="sums over the shards"):
        Manifest.parse(canonical.dumps(document))


def test_unsorted_shards_are_refused():
    document = build().to_json()
    document["shards"].reverse()
    with pytest.raises(ManifestError, match="not sorted"):
        Manifest.parse(canonical.dumps(document))


@given(st.data())
def test_flipping_any_byte_is_refused_or_changes_the_digest(data):
    original = build().to_bytes()
    position = data.draw(st.integers(0, len(original) - 1))
    flipped = bytearray(original)
    flipped[position] ^= data.draw(st.integers(1, 255))
    try:
        manifest = Manifest.parse(bytes(flipped))
    except ManifestError:
        return
    assert manifest.digest != build().digest


def test_config_names_are_derived_not_claimed():
    facts = build().languages["F*"]
    assert facts.config_name == config_name("F*") == "F-star"
    manifest = build()
    forged = replace(manifest, languages={**manifest.languages, "F*": replace(facts, config_name="other")})
    with pytest.raises(ManifestError, match="sums"):
        Manifest.parse(forged.to_bytes())
