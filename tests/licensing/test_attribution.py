import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.attribution import ATTRIBUTIONS, DIRECTORIES, EVIDENCE_FILES, attribute_directories
from licensing.expressions import ids
from licensing.policy import Policy, pinned_list

POLICY = Policy.load()


def evidence(*files, root="r"):
    rows = []
    for path, expression in files:
        path = path if isinstance(path, bytes) else path.encode()
        detection = {
            "expression": expression,
            "detector": "d 1",
            "rule": "r",
            "score": 100.0,
            "start": 0,
            "end": 1,
        }
        rows.append(
            {
                "root": root,
                "dir": path.rpartition(b"/")[0],
                "path": path,
                "sha1_git": "0" * 40,
                "expression": expression,
                "detections": [detection] if expression else [],
            }
        )
    return pa.Table.from_pylist(rows, schema=EVIDENCE_FILES)


def directories(*dirs, root="r"):
    return pa.table({"root": [root] * len(dirs), "dir": list(dirs)}, schema=DIRECTORIES)


def attribute(directory, *files, policy=POLICY):
    return attribute_directories(directories(directory), evidence(*files), policy).to_pylist()[0]


def test_nearest_decides_and_the_union_is_kept():
    files = [("LICENSE", "GPL-3.0-only"), ("third_party/x/LICENSE", "MIT")]
    inner = attribute(b"third_party/x/src", *files)
    assert (inner["license_expression"], inner["permitted"]) == ("MIT", True)
    assert inner["detected_licenses"] == ["GPL-3.0-only", "MIT"]
    assert [e["path"] for e in inner["license_evidence"]] == ["third_party/x/LICENSE"]
    outer = attribute(b"src", *files)
    assert (outer["license_expression"], outer["license_type"]) == ("GPL-3.0-only", "non_permissive")


@pytest.mark.parametrize("name", ["vendor", "third_party", "node_modules", "Third-Party", "_vendor"])
def test_vendored_code_does_not_take_the_license_of_the_project(name):
    """Breach: code that others wrote is released under the license of the project that carries it."""
    files = [("LICENSE", "MIT"), (f"{name}/x/LICENSE", "ISC"), (f"{name}/y/README", "Zlib")]
    place = f"lib/{name}/z/src".encode()
    row = attribute(place, *files)
    assert (row["permitted"], row["sub_reason"], row["license_type"]) == (False, "vendored", "non_permissive")
    assert (row["license_expression"], row["license_evidence"]) == (None, [])
    assert row["detected_licenses"] == ["MIT"], "the union over all directories above, as The Stack v2 has it"
    assert attribute(f"{name}/x/src".encode(), *files)["license_expression"] == "ISC"
    assert attribute(f"{name}/y".encode(), *files)["license_expression"] == "Zlib", "it speaks alone"
    assert attribute(f"{name}x/y".encode(), *files)["license_expression"] == "MIT"
    inner = attribute(f"{name}/x/{name}/other".encode(), *files)
    assert inner["sub_reason"] == "vendored", "what lies in what is vendored is not covered either"
    whole = attribute(place, ("LICENSE", "MIT"), (f"lib/{name}/LICENSE", "BSD-3-Clause"))
    assert whole["license_expression"] == "BSD-3-Clause"
    assert attribute(place)["sub_reason"] == "none_found"


def test_a_policy_can_let_vendored_code_inherit():
    policy = Policy.of(pinned_list(), {"vendored": "inherit"})
    assert policy.digest != POLICY.digest
    row = attribute(b"vendor/x", ("LICENSE", "MIT"), policy=policy)
    assert (row["license_expression"], row["permitted"]) == ("MIT", True)


def test_patents_stand_beside_a_license_and_are_no_choice():
    """Breach: LICENSE and PATENTS read as if one could choose, or PATENTS passed over."""
    for name in ("PATENTS", "PATENTS.txt", "ADDITIONAL-TERMS.md", "EULA.txt"):
        found = attribute(
            b"a", ("LICENSE", "BSD-3-Clause"), (name, "LicenseRef-scancode-facebook-patent-rights-2")
        )
        assert found["license_expression"] == "BSD-3-Clause AND LicenseRef-scancode-facebook-patent-rights-2"
        assert not found["permitted"]
        row = attribute(b"a", ("LICENSE", "BSD-3-Clause"), (name, None))
        assert (row["permitted"], row["sub_reason"]) == (False, "unrecognised")


def test_weak_copyleft_and_unlicensed_code_by_policy():
    """Breach: code is released under a type that says more than is known of it."""
    weak = Policy.of(pinned_list(), {"allow": ["weak_copyleft"]})
    row = attribute(b"a", ("LICENSE", "LGPL-2.1-only"), policy=weak)
    assert (row["permitted"], row["license_type"], row["sub_reason"]) == (
        True,
        "weak_copyleft",
        "weak_copyleft",
    )
    assert attribute(b"a", ("LICENSE", "MIT"), policy=weak)["license_type"] == "permissive"
    free = Policy.of(pinned_list(), {"allow": ["unlicensed"]})
    for files, place in (((), b"a"), ((("x/LICENSE", "MIT"),), b"a"), ((("LICENSE", "MIT"),), b"vendor/x")):
        row = attribute(place, *files, policy=free)
        assert (row["permitted"], row["license_type"], row["license_expression"]) == (
            True,
            "no_license",
            "NONE",
        )
        assert row["license_evidence"] == []
        assert free.decide(row["license_expression"]).permitted and not POLICY.decide("NONE").permitted
    row = attribute(b"vendor/x", ("LICENSE", "GPL-3.0-only"), policy=free)
    assert (row["permitted"], row["sub_reason"]) == (False, "vendored")
    # What is there and not understood is not unlicensed.
    assert not attribute(b"a", ("LICENSE", None), policy=free)["permitted"]
    reference = "LicenseRef-scancode-unknown-license-reference"
    assert attribute(b"a", ("README", reference), policy=free)["license_type"] == "no_license"
    assert not attribute(b"a", ("LICENSE", reference), policy=free)["permitted"]


def test_nothing_found():
    row = attribute(b"src", ("docs/LICENSE", "MIT"))
    assert (row["license_expression"], row["sub_reason"], row["license_type"]) == (
        None,
        "none_found",
        "no_license",
    )


def test_a_name_is_not_a_prefix():
    assert attribute(b"vendored", ("vendor/LICENSE", "MIT"))["license_expression"] is None
    assert (
        attribute(b"vendor-x/a", ("vendor/LICENSE", "MIT"), ("LICENSE", "ISC"))["license_expression"] == "ISC"
    )


def test_several_files_apply_together():
    row = attribute(
        b"", ("LICENSE", "BSD-3-Clause"), ("PATENTS-LICENSE", "LicenseRef-scancode-facebook-patent-rights-2")
    )
    assert not row["permitted"]


def test_variants_are_a_choice():
    row = attribute(
        b"", ("LICENSE-MIT", "MIT"), ("LICENSE-APACHE", "Apache-2.0"), ("Cargo.toml", "Apache-2.0 OR MIT")
    )
    assert (row["license_expression"], row["permitted"]) == ("Apache-2.0 OR MIT", True)


def test_a_choice_with_copyleft_must_be_stated():
    files = [("LICENSE.GPL", "GPL-2.0-only"), ("LICENSE.MIT", "MIT")]
    assert not attribute(b"", *files)["permitted"]
    stated = attribute(b"", *files, ("package.json", "GPL-2.0-or-later OR MIT"))
    assert stated["permitted"]


def test_a_readme_adds_and_never_frees():
    assert not attribute(b"lib", ("COPYING", "GPL-3.0-only"), ("lib/README", "MIT"))["permitted"]
    assert not attribute(b"lib", ("LICENSE", "MIT"), ("lib/NOTICE", "GPL-3.0-only"))["permitted"]
    assert attribute(b"lib", ("README.md", "MIT"))["permitted"]


def test_a_license_file_that_nobody_understands_is_not_inherited_over():
    for name in ("LICENSE", "COPYING.txt"):
        row = attribute(b"lib/a", ("LICENSE", "MIT"), (f"lib/{name}", None))
        assert (row["permitted"], row["sub_reason"]) == (False, "unrecognised")
    reference = "LicenseRef-scancode-unknown-license-reference"
    assert not attribute(b"lib", ("LICENSE", "MIT"), ("lib/LICENSE", reference))["permitted"]
    assert attribute(b"lib", ("LICENSE", "MIT"), ("lib/README", None), ("lib/README.md", reference))[
        "permitted"
    ]
    # A document below does not make it understood.
    assert not attribute(b"lib/a", ("lib/LICENSE", None), ("lib/a/README", "MIT"))["permitted"]
    # What is known and refused is said as such.
    assert attribute(b"", ("LICENSE", None), ("PKG-INFO", "GPL-3.0-only"))["sub_reason"] == "not_permissive"


def test_evidence_is_shown_escaped_with_its_identity():
    row = attribute(b"\xff", (b"\xff/LICENSE", "MIT"))
    assert row["license_evidence"] == [
        {"path": "\\xff/LICENSE", "swhid": f"swh:1:cnt:{'0' * 40}", "expression": "MIT", "detector": "d 1", "rule": "r",
         "score": 100.0}
    ]  # fmt: skip


def test_roots_do_not_mix():
    dirs = pa.concat_tables([directories(b"a", b""), directories(b"a", root="s")])
    files = pa.concat_tables([evidence(("LICENSE", "MIT")), evidence(("a/LICENSE", "ISC"), root="s")])
    found = attribute_directories(dirs, files, POLICY)
    assert found.schema.equals(ATTRIBUTIONS)
    assert found.column("license_expression").to_pylist() == ["MIT", "MIT", "ISC"]
    assert found.column("root").to_pylist() == ["r", "r", "s"]


def test_empty_tables():
    assert attribute_directories(directories(), evidence(), POLICY).num_rows == 0
    assert attribute_directories(directories(b""), evidence(), POLICY).column("permitted").to_pylist() == [
        False
    ]


def test_deep_trees_are_linear_work():
    deep = b"/".join([b"d"] * 2000)
    dirs = [deep[: 2 * i] for i in range(1, 2000, 7)] + [deep + b"/%d" % i for i in range(2000)]
    files = [((deep[: 2 * i - 1] + b"/LICENSE"), "MIT" if i % 2 else "ISC") for i in range(1, 2000, 3)]
    found = attribute_directories(directories(*dirs), evidence(*files), POLICY)
    assert found.num_rows == len(dirs)
    assert found.column("detected_licenses")[-1].as_py() == ["ISC", "MIT"]


PATHS = st.lists(st.sampled_from([b"a", b"b", b"a.b", b"a\x00", b"\xff"]), max_size=4).map(b"/".join)
NAMES = st.sampled_from(
    ["LICENSE", "LICENSE-MIT", "LICENSE-APACHE", "README.md", "package.json", "NOTICE", "mit.txt"]
)
EXPRESSIONS = st.sampled_from([None, "MIT", "Apache-2.0", "GPL-3.0-only", "GPL-3.0-only OR MIT", "Foo"])
FILES = st.lists(st.tuples(PATHS, NAMES, EXPRESSIONS), max_size=8, unique_by=lambda f: f[:2]).map(
    lambda files: [((d + b"/" if d else b"") + n.encode(), e) for d, n, e in files]
)


@given(FILES, st.lists(PATHS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_order_does_not_matter(files, dirs, random):
    first = attribute_directories(directories(*dirs), evidence(*files), POLICY)
    rows = list(range(len(dirs)))
    random.shuffle(rows)
    random.shuffle(files)
    second = attribute_directories(directories(*[dirs[row] for row in rows]), evidence(*files), POLICY)
    assert second.equals(first.take(rows))


@given(FILES, PATHS, st.sampled_from([b"a", b"b", b"x"]))
def test_below_a_directory(files, directory, name):
    below = directory + b"/" + name if directory else name
    table = attribute_directories(directories(directory, below), evidence(*files), POLICY)
    upper, lower = table.to_pylist()
    assert set(upper["detected_licenses"]) <= set(lower["detected_licenses"])
    if not any(path.rpartition(b"/")[0] == below for path, _ in files):
        assert {k: v for k, v in upper.items() if k != "dir"} == {
            k: v for k, v in lower.items() if k != "dir"
        }


@given(FILES, PATHS)
def test_evidence_lies_above_and_explains_the_expression(files, directory):
    row = attribute_directories(directories(directory), evidence(*files), POLICY).to_pylist()[0]
    above = {directory[:i] for i in range(len(directory)) if directory[i : i + 1] == b"/"} | {directory, b""}
    shown = (directory and {d.decode("utf-8", "backslashreplace") for d in above}) or {""}
    assert {e["path"].rpartition("/")[0] for e in row["license_evidence"]} <= shown
    if row["license_expression"]:
        stated = {i for e in row["license_evidence"] for i in ids(e["expression"])}
        assert set(ids(row["license_expression"])) <= stated
        assert set(ids(row["license_expression"])) <= set(row["detected_licenses"])
    assert row["permitted"] <= POLICY.decide(row["license_expression"]).permitted
