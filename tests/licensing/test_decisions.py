"""A decisions file is read strictly, its digest is that of what it says, and a decision takes the place of detections."""

from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from licensing.attribution import attribute_directories
from licensing.decisions import Decisions, DecisionsError
from licensing.detection import DETECTIONS
from licensing.policy import NOT_PERMISSIVE, UNRECOGNISED, Policy

A, B = "a" * 64, "0" * 64
GOOD = {"sha256": A, "expression": "MIT", "reason": "read whole", "date": "2026-03-31"}


def load(tmp_path, content):
    path = tmp_path / "decisions.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return Decisions.load(path)


def detections(*expressions):
    rows = [
        []
        if one is None
        else [{"expression": one, "detector": "x 1", "rule": "r", "score": 90.0, "start": 1, "end": 9}]
        for one in expressions
    ]
    return pa.table({"expression": expressions, "detections": rows}, schema=DETECTIONS)


def strings(*values):
    return pa.chunked_array([pa.array(values, pa.string())])


def test_a_file_is_read(tmp_path):
    both = [
        GOOD | {"expression": "mit  OR apache-2.0", "reviewer": "legal"},
        GOOD | {"sha256": B, "expression": "Refused"},
    ]
    read = load(tmp_path, both)
    assert read.by_sha256[A].expression == "Apache-2.0 OR MIT"
    assert read.by_sha256[A].rule == "2026-03-31 legal: read whole"
    assert read.by_sha256[B].expression == "refused", "a digest of digits is a text"


@pytest.mark.parametrize("content", ["", "[]", "# nothing\n"])
def test_a_file_without_decisions_is_as_no_file(tmp_path, content):
    assert load(tmp_path, content).digest is None is Decisions.load(None).digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expresion": "MIT"}, r"line 2: unknown key 'expresion'; did you mean 'expression'\?"),
        ({"zzz": "MIT"}, "unknown key 'zzz'; known keys: sha256"),
        ({"sha256": "xyz"}, "line 4: sha256 must be 64 hex digits"),
        ({"sha256": 12}, "sha256 must be 64 hex digits"),
        ({"expression": "MIT OR"}, "expression must be an SPDX expression"),
        ({"expression": "Foo-9.9"}, "known ids"),
        ({"expression": ["MIT"]}, "expression must be a text"),
        ({"expression": None}, "expression must be a text"),
        ({"date": "2026-02-30"}, "date must be a day"),
        ({"date": "31.3.2026"}, "date must be a day"),
        ({"reason": ""}, "reason must be a text"),
        ({"reason": "x" * 501}, "longer than 500"),
        ({"reason": "a\u202eb"}, "visible characters"),
    ],
    ids=range(13),
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, change, said):
    with pytest.raises(DecisionsError, match=said) as error:
        load(tmp_path, [dict(sorted((GOOD | change).items()))])
    assert "line " in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: b", "expected a list"),
        ("- x", "line 1: expected a decision"),
        (f"- sha256: {A}\n  date: 2026-01-01\n", "line 1: expression, reason missing"),
        (f"- sha256: {A}\n  sha256: {A}\n", "line 2: sha256 is given twice"),
        ("- {a: [", "cannot be read as YAML"),
        ("\x00", "cannot be read as YAML"),
        ("- " + "[" * 1_500, "cannot be read as YAML"),
    ],
    ids=range(7),
)
def test_a_broken_file_is_an_error_and_no_crash(tmp_path, content, said):
    with pytest.raises(DecisionsError, match=said):
        load(tmp_path, content)


def test_a_second_decision_on_the_same_bytes_is_an_error(tmp_path):
    with pytest.raises(DecisionsError, match=r"line 5: a second decision on a+; the first is on line 1"):
        load(tmp_path, [GOOD, GOOD | {"sha256": A.upper()}])


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DecisionsError, match="cannot be read: No such file"):
        Decisions.load(tmp_path / "none.yaml")


@given(st.permutations([GOOD | {"sha256": c * 64} for c in "abc"]))
def test_the_digest_is_of_what_is_said_not_of_how(tmp_path_factory, order):
    folder = tmp_path_factory.getbasetemp()
    digest = load(folder, order).digest
    assert digest == load(folder, [GOOD | {"sha256": c * 64} for c in "cab"]).digest
    assert digest != load(folder, [*order[:2], order[2] | {"expression": "ISC"}]).digest


@given(
    st.lists(st.tuples(st.sampled_from([A, B, "c" * 64, None]), st.sampled_from(["ISC", None])), max_size=6)
)
def test_only_decided_contents_change(tmp_path_factory, rows):
    read = load(tmp_path_factory.getbasetemp(), [GOOD, GOOD | {"sha256": B, "expression": "none"}])
    ids, said = strings(*(one for one, _ in rows)), [expression for _, expression in rows]
    found = read.apply(ids, detections(*said))
    wanted = [{A: "MIT", B: None}.get(digest, old) for digest, old in rows]
    assert found["expression"].to_pylist() == wanted
    headers = read.headers(pa.table({"sha256": ids, "header": strings(*said)}))
    assert headers["header"].to_pylist() == wanted
    detectors = [[d["detector"] for d in each] for each in found["detections"].to_pylist()]
    assert detectors == [
        ["decision 1"] if digest in (A, B) else ["x 1"] if old else [] for digest, old in rows
    ]
    assert read.used(ids) == sorted({digest for digest, _ in rows} & {A, B})


def attributed(tmp_path, decision):
    read = load(tmp_path, [GOOD | {"expression": decision}] if decision else [])
    said = read.apply(strings(A, B), detections(None, "MIT"))
    evidence = pa.table(
        {
            "root": ["r", "r"], "dir": pa.array([b"lib", b""], pa.binary()),
            "path": pa.array([b"lib/LICENSE", b"LICENSE"], pa.binary()), "sha1_git": ["1" * 40, "2" * 40],
            "expression": said["expression"], "detections": said["detections"],
        }
    )  # fmt: skip
    dirs = pa.table({"root": ["r"], "dir": pa.array([b"lib"], pa.binary())})
    (row,) = attribute_directories(dirs, evidence, Policy.load()).to_pylist()
    return row


def test_a_license_file_that_was_decided_to_say_nothing_lets_its_directory_inherit(tmp_path):
    """Without a decision a license file that nobody understands says: use nothing of this directory."""
    assert attributed(tmp_path, None)["sub_reason"] == UNRECOGNISED
    assert attributed(tmp_path, "none")["license_expression"] == "MIT"
    assert attributed(tmp_path, "ISC")["license_expression"] == "ISC"
    refused = attributed(tmp_path, "refused")
    assert (refused["permitted"], refused["sub_reason"]) == (False, NOT_PERMISSIVE)
    (entry,) = refused["license_evidence"]
    assert entry["rule"] == "2026-03-31: read whole"


def test_no_policy_file_permits_what_was_refused(tmp_path):
    change = tmp_path / "policy.yaml"
    change.write_text("add: [LicenseRef-stackmill-refused]\n")
    assert not Policy.load(change).decide("LicenseRef-stackmill-refused").permitted


def test_the_example_is_a_decisions_file():
    example = Path(__file__).parents[2] / "examples/license-decisions.yaml"
    assert {one.expression for one in Decisions.load(example).by_sha256.values()} == {"MIT", "refused"}
