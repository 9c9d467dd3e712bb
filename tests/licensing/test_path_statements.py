"""Statements about paths: DEP-5, REUSE.toml and X.license, from their bytes to the license of a file."""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing import declared, dep5, reuse
from licensing.attribution import DIRECTORIES, EVIDENCE_FILES, attribute_directories
from licensing.evidence import detect_batch
from licensing.expressions import REMARK, UNPARSABLE
from licensing.path_statements import (
    MAX_PATTERNS,
    TAG,
    is_sidecar,
    literal,
    patterns_of,
    place_files,
    rule_of,
)
from licensing.policy import Policy

FORMAT = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
DEP5 = (
    FORMAT
    + """Upstream-Name: x

Files: *
Copyright: 2020 Somebody
License: Expat

Files: src/copied.c
 src/old?.c
Copyright: 2001 Somebody Else
License: GPL-2+

Files: debian/*
Copyright: 2021 A Packager
License: GPL-3+ or Artistic-2, and BSD-3-clause

License: GPL-2+
 This program is free software.
 .
 Really.
"""
)
MIT = "SPDX-License-Identifier: MIT\n"


def judged(*tree, policy=None):
    """Path -> row of ATTRIBUTIONS, of a tree of (path, bytes or text)."""
    bodies = {path.encode(): body.encode() if isinstance(body, str) else body for path, body in tree}
    names = pa.array([path.rpartition(b"/")[2] for path in bodies], pa.binary())
    found = detect_batch(names, pa.array(list(bodies.values()), pa.large_binary()), scancode=None).to_pylist()
    rows = [
        {
            "root": "r",
            "dir": path.rpartition(b"/")[0],
            "path": path,
            "sha1_git": hashlib.sha1(body).hexdigest(),
            **one,
        }
        for (path, body), one in zip(bodies.items(), found, strict=True)
    ]
    evidence = pa.Table.from_pylist(rows, schema=EVIDENCE_FILES)
    files = pa.table(
        {
            "root": ["r"] * len(bodies),
            "directory": pa.array([path.rpartition(b"/")[0] for path in bodies], pa.binary()),
            "path": pa.array(list(bodies), pa.binary()),
        }
    )
    places, evidence = place_files(files, evidence)
    dirs = pa.table([files["root"], places], schema=DIRECTORIES)
    attributed = attribute_directories(dirs, evidence, policy or Policy.load()).to_pylist()
    return {path.decode(): row for path, row in zip(bodies, attributed, strict=True)}


def expressions(*tree):
    return {path: row["license_expression"] for path, row in judged(*tree).items()}


def test_each_path_has_the_license_of_the_last_stanza_that_names_it():
    """Breach: a file that debian/copyright puts under the GPL takes the license of the rest."""
    found = expressions(
        ("debian/copyright", DEP5), ("debian/rules.py", ""), ("src/a.c", ""), ("src/copied.c", ""), ("src/old1.c", ""),
        ("src/sub/copied.c", ""),
    )  # fmt: skip
    assert found["src/a.c"] == found["src/sub/copied.c"] == "MIT"
    assert found["src/copied.c"] == found["src/old1.c"] == "GPL-2.0-or-later"
    assert found["debian/rules.py"] == "(Artistic-2.0 OR GPL-3.0-or-later) AND BSD-3-Clause"


def test_a_later_stanza_on_everything_takes_all():
    body = (
        FORMAT
        + "\nFiles: src/*\nLicense: GPL-2\n\nFiles: src/a.c\nLicense: GPL-3\n\nFiles: *\nLicense: ISC\n"
    )
    assert set(expressions(("debian/copyright", body), ("src/a.c", ""), ("b.c", "")).values()) == {"ISC"}


def test_what_is_stated_afar_adds_to_a_nearer_license_and_does_not_replace_it():
    """Breach: a packager's list frees a file from the license that lies beside it."""
    body = FORMAT + "\nFiles: lib/a.c\nLicense: Expat\n"
    found = judged(
        ("debian/copyright", body), ("lib/LICENSE", "SPDX-License-Identifier: GPL-3.0-only"), ("lib/a.c", "")
    )
    assert (found["lib/a.c"]["license_expression"], found["lib/a.c"]["permitted"]) == (
        "GPL-3.0-only AND MIT",
        False,
    )


def test_a_license_that_no_name_tells_is_told_by_its_text_or_not_at_all():
    body = FORMAT + "\nFiles: *\nLicense: odd-one\n\nLicense: odd-one\n Do as you like.\n"
    assert [d.expression for d in dep5.find(body)] == [UNPARSABLE]
    text = dep5.Detection("ISC", "d 1", "r", 100.0, body.index("Do as"), len(body))
    assert [d.expression for d in dep5.find(body, [text])] == ["ISC"]
    assert not judged(("debian/copyright", body), ("a.c", ""))["a.c"]["permitted"]


def test_a_rider_in_the_file_holds_for_all_that_it_states():
    body = DEP5.replace("Really.", "You may not train machine learning models on it.")
    row = judged(("debian/copyright", body), ("src/a.c", ""))["src/a.c"]
    assert (row["permitted"], row["sub_reason"]) == (False, "rider")


def test_other_copyright_files_are_read_as_before():
    assert not dep5.is_dep5("This package was debianized by hand.\n\nFiles: *\n")
    assert expressions(("debian/copyright", MIT), ("debian/a.c", ""), ("a.c", "")) == {
        "debian/copyright": "MIT", "debian/a.c": "MIT", "a.c": None,
    }  # fmt: skip


def test_reuse_toml():
    toml = """version = 1
[[annotations]]
path = "**"
SPDX-License-Identifier = "Apache-2.0"
[[annotations]]
path = ["art/*.svg", "what\\\\?.c"]
SPDX-License-Identifier = ["CC-BY-SA-4.0", "MIT"]
[[annotations]]
path = "gen/**"
precedence = "override"
SPDX-License-Identifier = "ISC"
[[annotations]]
path = "notes.md"
SPDX-FileCopyrightText = "somebody"
"""
    tree = [
        ("REUSE.toml", toml),
        *((p, "") for p in ("a.c", "art/a.svg", "art/x/b.svg", "gen/x/y.c", "what?.c", "whats.c")),
    ]
    found = expressions(*tree)
    assert found["a.c"] == found["art/x/b.svg"] == found["whats.c"] == "Apache-2.0"
    assert found["art/a.svg"] == found["what?.c"] == "CC-BY-SA-4.0 AND MIT"
    assert found["gen/x/y.c"] == "ISC"
    below = expressions(*[("lib/" + path, body) for path, body in tree], ("other.c", ""))
    assert below["lib/art/a.svg"] == "CC-BY-SA-4.0 AND MIT" and below["other.c"] is None


@pytest.mark.parametrize(
    "text", ["annotations = 1", "[[annotations]]\npath = 1\nSPDX-License-Identifier = 'MIT'", "[["]
)
def test_a_broken_reuse_toml_permits_nothing(text):
    row = judged(("LICENSE", MIT), ("REUSE.toml", text), ("a.c", ""))["a.c"]
    assert (row["permitted"], row["sub_reason"]) == (False, "unparsable")


def test_dep5_of_reuse_and_its_texts():
    body = FORMAT + "\nFiles: img/*\nLicense: CC-BY-SA-4.0\n"
    found = expressions((".reuse/dep5", body), ("LICENSES/MIT.txt", MIT), ("img/a.c", ""), ("b.c", ""))
    assert found["img/a.c"] == "CC-BY-SA-4.0"
    assert found["b.c"] is None, "the texts of LICENSES say nothing of the files beside the folder"


def test_a_sheet_of_one_file_says_nothing_of_its_directory():
    """Breach: the license of a picture is held against the sources beside it, or the other way round."""
    sheet = "SPDX-FileCopyrightText: x\nSPDX-License-Identifier: CC-BY-NC-4.0\n"
    found = expressions(("LICENSE", MIT), ("logo.png.license", sheet), ("logo.png", ""), ("a.c", ""))
    assert (found["logo.png"], found["a.c"]) == ("CC-BY-NC-4.0", "MIT")
    assert expressions(("LICENSE", MIT), ("gone.png.license", sheet), ("a.c", ""))["a.c"] == "MIT"
    assert expressions(("apache.license", MIT), ("a.c", ""))["a.c"] == "MIT", "a license file by another name"


def test_too_many_patterns_are_not_understood():
    many = FORMAT + "\nFiles: " + " ".join(f"f{n}.c" for n in range(MAX_PATTERNS + 1)) + "\nLicense: Expat\n"
    assert [d.expression for d in dep5.find(many)] == [UNPARSABLE]
    assert not judged(("debian/copyright", many), ("a.c", ""))["a.c"]["permitted"]


def test_patterns_go_through_a_rule():
    assert patterns_of(rule_of(["a b", "**", "\u00e9"])) == ["a b", "**", "\u00e9"]
    assert patterns_of("License-Expression") is None and patterns_of("files {") is None


PIECES = st.lists(
    st.sampled_from(["a", "b", "/", ".", "*", "?", "\\", "[", "\u00e9", "\n", "x" * 50]), max_size=8
)


@given(PIECES.map("".join).filter(bool))
def test_a_literal_pattern_names_its_path_and_no_other(name):
    path = name.encode()
    rule = rule_of([literal(name)])
    row = {"root": "r", "dir": b"", "path": b"REUSE.toml", "sha1_git": "0" * 40, "expression": "MIT",
           "detections": [{"expression": "MIT", "detector": "d", "rule": rule, "score": 1.0, "start": 0, "end": 1}]}  # fmt: skip
    paths = [path, path + b"x", b"x" + path]
    files = pa.table({"root": ["r"] * 3, "directory": pa.array([b""] * 3), "path": pa.array(paths)})
    places, _ = place_files(files, pa.Table.from_pylist([row], schema=EVIDENCE_FILES))
    assert places.to_pylist() == [b"/" + path, b"", b""]


@given(st.text(max_size=300) | st.text("Files: *\nLicense: MIT, or and\t\\", max_size=300))
def test_any_text_is_read(text):
    for body in (FORMAT + text, text):
        dep5.find(body)
        reuse.find(body)
        for name in (b"dep5", b"REUSE.toml"):
            declared.find(name, body.encode("utf-8", "surrogatepass"))


def test_hostile_sizes():
    for body in (
        b"Files:" * 20_000,
        FORMAT.encode() + b"\n\nFiles: *" * 20_000,
        b"\n" * 200_000,
        b"[[annotations]]\n" * 4_000,
    ):
        declared.find(b"dep5", body)
        declared.find(b"REUSE.toml", body)


def test_a_remark_in_a_sheet_states_nothing():
    """Breach: the line of copyright in a sheet makes it a license file of its directory."""

    def detection(expression, detector):
        return {
            "expression": expression,
            "detector": detector,
            "rule": "r",
            "score": 100.0,
            "start": 0,
            "end": 1,
        }

    tag, remark = detection("CC-BY-4.0", TAG), detection(REMARK, "residue 1")
    assert is_sidecar(b"a/logo.png.license", [tag, remark])
    assert not is_sidecar(b"a/logo.png.license", [tag, detection("MIT", "d 1")])
    assert not is_sidecar(b"a/logo.png.license", [remark]) and not is_sidecar(b"LICENSE", [tag])
    row = {"root": "r", "dir": b"a", "path": b"a/logo.png.license", "sha1_git": "0" * 40, "expression": "CC-BY-4.0",
           "detections": [tag, remark]}  # fmt: skip
    files = pa.table({"root": ["r"], "directory": pa.array([b"a"]), "path": pa.array([b"a/logo.png"])})
    places, evidence = place_files(files, pa.Table.from_pylist([row], schema=EVIDENCE_FILES))
    assert places.to_pylist() == [b"/a/logo.png"]
    assert evidence["expression"].to_pylist() == ["CC-BY-4.0", "CC-BY-4.0"]
