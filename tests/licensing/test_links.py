"""License files that are links: what they lead to, by their hash alone."""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.attribution import DIRECTORIES, EVIDENCE_FILES, attribute_directories
from licensing.links import followed, resolve
from licensing.policy import Policy

UNREAD = pa.schema(
    [("root", pa.string()), ("path", pa.binary()), ("directory", pa.binary()), ("sha1_git", pa.string())]
)


def blob(target: bytes) -> str:
    return hashlib.sha1(b"blob %d\x00" % len(target) + target).hexdigest()


def judged(place, files, unread):
    detection = {"detector": "d 1", "rule": "r", "score": 100.0, "start": 0, "end": 1}
    evidence = [
        {"root": "r", "dir": p.rpartition(b"/")[0], "path": p, "sha1_git": blob(p), "expression": e,
         "detections": [{**detection, "expression": e}] if e else []}
        for p, e in files
    ]  # fmt: skip
    links = [{"root": "r", "path": p, "directory": p.rpartition(b"/")[0], "sha1_git": s} for p, s in unread]
    table = followed(
        pa.Table.from_pylist(evidence, schema=EVIDENCE_FILES), pa.Table.from_pylist(links, schema=UNREAD)
    )
    dirs = pa.table({"root": ["r"], "dir": [place]}, schema=DIRECTORIES)
    return attribute_directories(dirs, table, Policy.load()).to_pylist()[0]


FILES = [(b"LICENSE", "MIT"), (b"legal/LICENSE-GPL", "GPL-3.0-only"), (b"legal/COPYING", "ISC")]


@pytest.mark.parametrize(
    ("target", "expression"),
    [
        (b"../../LICENSE", "MIT"),
        (b"./../../LICENSE", "MIT"),
        (b"../../legal/LICENSE-GPL", "GPL-3.0-only"),
        (b"../../legal/COPYING", "ISC"),
    ],
)
def test_a_link_says_what_its_target_says(target, expression):
    """Breach: a directory whose LICENSE is a link to the GPL takes the MIT license of the directory above it."""
    row = judged(b"pkg/a/src", FILES, [(b"pkg/a/LICENSE", blob(target))])
    assert row["license_expression"] == expression
    assert [(e["path"], e["expression"]) for e in row["license_evidence"]] == [("pkg/a/LICENSE", expression)]
    assert row["license_evidence"][0]["swhid"] != f"swh:1:cnt:{blob(target)}", "the bytes that were read"


@pytest.mark.parametrize(
    "target", [b"/usr/share/licenses/MIT", b"../LICENSE", b"LICENSE", b"../../src/LICENSE.py"]
)
def test_a_link_that_leads_nowhere_is_a_license_that_nobody_read(target):
    row = judged(b"pkg/a", FILES, [(b"pkg/a/LICENSE", blob(target))])
    assert (row["permitted"], row["sub_reason"]) == (False, "unrecognised")
    assert row["license_evidence"][0]["expression"] == "LicenseRef-stackmill-unrecognised"


def test_what_is_too_large_to_be_read_is_not_passed_over():
    assert judged(b"a", [(b"LICENSE", "MIT")], [(b"a/COPYING", "0" * 40)])["sub_reason"] == "unrecognised"
    assert judged(b"a", [(b"LICENSE", "MIT")], [(b"a/README", "0" * 40)])["permitted"], (
        "no license by its name"
    )


def test_links_to_links():
    links = {b"a/LICENSE": blob(b"../b/LICENSE"), b"b/LICENSE": blob(b"../LICENSE")}
    assert resolve(links, [b"LICENSE"]) == {b"a/LICENSE": b"LICENSE", b"b/LICENSE": b"LICENSE"}
    loop = {b"a/LICENSE": blob(b"../b/LICENSE"), b"b/LICENSE": blob(b"../a/LICENSE")}
    assert resolve(loop, [b"LICENSE"]) == {}
    assert resolve({b"LICENSE": blob(b"LICENSE")}, [b"a/LICENSE"]) == {}


NAMES = st.sampled_from([b"LICENSE", b"COPYING", b"\xff", b"a b"])
PATHS = st.tuples(st.lists(st.sampled_from([b"a", b"b", b"\xfe"]), max_size=3), NAMES).map(
    lambda p: b"/".join([*p[0], p[1]])
)


@given(PATHS, PATHS)
def test_a_link_upwards_is_always_found(link, target):
    """For every target beside the link or above it."""
    link_dir, target_dir = link.rpartition(b"/")[0], target.rpartition(b"/")[0]
    if link == target or not (not target_dir or (link_dir + b"/").startswith(target_dir + b"/")):
        return
    ups = len(link_dir.split(b"/")) * bool(link_dir) - len(target_dir.split(b"/")) * bool(target_dir)
    text = b"../" * ups + target.rpartition(b"/")[2]
    assert resolve({link: blob(text)}, [target]) == {link: target}
