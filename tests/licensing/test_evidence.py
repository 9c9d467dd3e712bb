import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from licensing.detection import DETECTIONS
from licensing.evidence import detect_batch, versions
from licensing.expressions import ids
from licensing.text import MAX_BYTES, read_text


def detect(scancode, *files):
    names, bodies = zip(*files, strict=True)
    table = detect_batch(pa.array(names), pa.array(bodies, pa.large_binary()), scancode=scancode)
    assert table.schema.equals(DETECTIONS) and table.num_rows == len(files)
    return table.to_pylist()


def one(scancode, body, name="LICENSE"):
    return detect(scancode, (name, body if isinstance(body, bytes) else body.encode()))[0]


def test_known_texts(scancode, license_text, policy):
    for key, expression, permitted in [
        ("mit", "MIT", True),
        ("apache-2.0", "Apache-2.0", True),
        ("bsd-new", "BSD-3-Clause", True),
        ("gpl-3.0", "GPL-3.0-only", False),
        ("agpl-3.0", "AGPL-3.0-only", False),
        ("mpl-2.0", "MPL-2.0", False),
    ]:
        found = one(scancode, license_text(key))
        assert found["expression"] == expression
        assert policy.decide(found["expression"]).permitted == permitted
        assert found["detections"][0]["detector"] == "known 1"


def test_a_text_that_is_mostly_unknown_is_not_the_license_it_names(scancode, policy):
    """Breach: a license in another language is taken for the one whose name its words look like."""
    words = " ".join(f"wort{number}" for number in range(200))
    found = one(scancode, f"Licensed under the MIT license.\n\n{words}.\n")
    assert not policy.decide(found["expression"]).permitted
    assert "MIT" in ids(found["expression"])


RIDERS = [
    "This software may not be used for training machine learning models.",
    "Use in commercial products requires a separate license.",
    "The Software shall not be used by military organisations.",
    "You are not permitted to redistribute modified versions.",
    "For non-commercial use only.",
    "The Software is provided to you under the Commons Clause.",
]


@pytest.mark.parametrize("rider", RIDERS)
def test_a_rider_is_found_and_quoted(scancode, license_text, policy, rider):
    body = f"{license_text('mit')}\n\n{rider}\n".encode()
    found = one(scancode, body)
    assert not policy.decide(found["expression"]).permitted
    assert "MIT" in ids(found["expression"])
    others = [d for d in found["detections"] if d["expression"] != "MIT"]
    assert any(rider.encode() in body[d["start"] : d["end"]] for d in others)


def test_two_texts_in_one_file(scancode, license_text, policy):
    found = one(scancode, license_text("mit") + "\n\n" + license_text("gpl-2.0"))
    assert {"MIT"} < set(ids(found["expression"]))
    assert policy.decide(found["expression"]).sub_reason == "not_permissive"


def test_invisible_characters_hide_nothing(scancode, license_text):
    text = license_text("gpl-2.0").replace("o", "o\u200b")
    found = one(scancode, text)
    assert found["expression"] == one(scancode, license_text("gpl-2.0"))["expression"]
    assert text.encode()[found["detections"][0]["end"] :].strip(b".\n") == b""


def test_letters_that_look_alike_hide_nothing(scancode, license_text):
    text = license_text("gpl-2.0")
    expected = one(scancode, text)["expression"]
    for look_alike in (
        str.maketrans("oac", "\u043e\u0430\u0441"),
        {ord("e"): "\uff45"},
        {ord("p"): "\u03c1"},
    ):
        assert one(scancode, text.translate(look_alike))["expression"] == expected
    cyrillic = read_text("Лицензия сору".encode()).text
    assert cyrillic == "Лицензия сору"
    assert (
        read_text("You may \u0441\u043e\u0440\u0443 this ﬁle as you like".encode()).text
        == "You may copy this file as you like"
    )


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_text_maps_back_to_its_bytes(text):
    body = text.encode("utf-8", "surrogatepass")
    read = read_text(body)
    if read is not None:
        offsets = [read.byte(i) for i in range(len(read.text) + 1)]
        assert offsets == sorted(offsets) and offsets[-1] <= len(body)


def test_a_sentence_that_nobody_knows_is_kept(scancode, license_text, policy):
    mit = license_text("mit")
    plain = one(scancode, mit)
    remark = one(scancode, mit + "\n\nWhatever the weather, zebras are striped.\n")
    assert remark["expression"] == "MIT" and remark["detections"] != plain["detections"]
    assert {d["expression"] for d in remark["detections"]} == {"MIT", "LicenseRef-stackmill-remark"}
    rider = one(scancode, mit + "\n\nIt must not be shown to zebras.\n")
    assert policy.decide(rider["expression"]).sub_reason == "unrecognised"
    inside = one(scancode, mit.replace("is hereby granted", "is never granted"))
    assert not policy.decide(inside["expression"]).permitted


def test_whole_licenses_are_known_and_the_rest_is_asked(scancode, license_text, policy):
    text = (
        license_text("apache-2.0")
        + "\n\nParts are under the terms of the GNU GPL version 2:\n\n"
        + license_text("mit")
    )
    found = one(scancode, text)
    assert {"Apache-2.0", "MIT"} < set(ids(found["expression"]))
    assert not policy.decide(found["expression"]).permitted


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings(scancode, license_text, encoding):
    body = ("Copyright José\n" + license_text("mit")).encode(encoding)
    found = one(scancode, body)
    assert found["expression"] == "MIT"
    assert body[found["detections"][0]["end"] :].strip(b"\x00\n.") == b""


def test_what_lies_beyond_the_bound_is_not_assumed(scancode, license_text, policy):
    hidden = one(scancode, license_text("mit") + " " * MAX_BYTES + license_text("gpl-2.0"))
    assert policy.decide(hidden["expression"]).sub_reason == "unrecognised"
    assert one(scancode, license_text("mit") + " " * MAX_BYTES)["expression"] == "MIT"


def test_nothing_is_detected_in(scancode):
    for body in (b"", b"   ", b"\x00" * 10_000_000, b"\x7fELF\x00\x01", b"\xff" * 1000, b"hello world"):
        assert one(scancode, body) == {"expression": None, "detections": []}


def test_names_choose_what_is_read(scancode, license_text):
    mit = license_text("mit").encode()
    found = detect(
        scancode,
        ("LICENSE", mit),
        ("main.py", mit),
        ("package.json", b'{"license": "ISC"}'),
        ("COPYING", None),
    )
    assert [f["expression"] for f in found] == ["MIT", None, "ISC", None]


def test_a_readme_may_speak_of_machine_learning(scancode, policy):
    found = one(
        scancode, "# x\nNot only machine learning.\n\nLicensed under the MIT License.\n", name="README.md"
    )
    assert policy.decide(found["expression"]).permitted


def test_without_scancode(license_text):
    tag = "SPDX-License-" + "Identifier: MIT\n"
    assert one(None, tag + license_text("mit"))["expression"] == "MIT"
    assert one(None, license_text("mit"))["expression"] is None
    assert versions(None) == ["spdx-tag 1", "declared 2", "dep5 1", "reuse 1", "rider 1", "residue 2"]


def test_slow_texts_are_bounded_by_counting(scancode, policy, monkeypatch):
    monkeypatch.setattr("licensing.scancode.MAX_COMPARED", 50_000)
    body = "license granted copyright software permission notice gpl permission license copyright " * 200
    first, second = one(scancode, body), one(scancode, body)
    assert first == second
    assert policy.decide(first["expression"]).sub_reason == "unrecognised"


@given(st.binary(max_size=400))
def test_text_of_any_bytes_maps_back(body):
    read = read_text(body)
    if read is not None:
        offsets = [read.byte(i) for i in range(len(read.text) + 1)]
        assert offsets == sorted(offsets)
        assert offsets[-1] <= len(body)


@settings(max_examples=25)
@given(st.sampled_from(["LICENSE", "README", "package.json"]), st.binary(max_size=200))
def test_any_bytes_are_read(scancode, name, body):
    found = one(scancode, body, name)
    assert (found["expression"] is None) == (not found["detections"])
    assert all(0 <= d["start"] <= d["end"] <= len(body) for d in found["detections"])
