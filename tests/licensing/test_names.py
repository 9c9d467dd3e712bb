import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing import names

LICENSE_LIKE = [
    "LICENSE",
    "LICENCE.md",
    "license-mit.txt",
    "COPYING",
    "COPYING.LIB",
    "COPYING3",
    "copyright",
    "UNLICENSE",
    "gpl-3.0.txt",
    "GPL",
    "LGPLv2.1",
    "README.rst",
    "NOTICE",
    "about.html",
    "LICENSES_bundled.txt",
    "BSD-3-Clause.txt",
    "al",
    "LICENSE.TCL",
    "Legal.txt",
    "third_party-licenses.json",
]
NOT_LICENSE_LIKE = [
    "relicense",
    "license.py",
    "copying.c",
    "mit.js",
    "about.tsx",
    "notice.png",
    "readmefile",
    "licensed.txt",
    "main.c",
    "LICENSE.so",
    "license_list.go",
    "mitx2.txt",
]


def test_license_like():
    for kind in (pa.binary(), pa.large_binary()):
        found = names.license_like(pa.array([*LICENSE_LIKE, *NOT_LICENSE_LIKE]).cast(kind)).to_pylist()
        assert found == [True] * len(LICENSE_LIKE) + [False] * len(NOT_LICENSE_LIKE)


def test_hostile_names():
    hostile = [
        b"\xff\xfe LICENSE",
        b"LICENSE\n",
        b"\x00",
        b"",
        None,
        b"a" * 4000 + b".license",
        b"LICENSE/../x",
    ]
    assert names.license_like(pa.array(hostile, pa.binary())).to_pylist() == [
        True,
        False,
        False,
        False,
        False,
        True,
        False,
    ]


WORDS = (
    r"(li[cs]en[cs]e(s?)|legal|copy(left|right|ing)|unlicense|[al]?gpl([-_ v]?)(\d\.?\d?)?|bsd(l?)|mit(x?)|apache"
    r"|artistic|copying(v?)(\d?)|disclaimer|eupl|gfdl|[cm]pl|cc0|al([-_ v]?)(\d\.?\d)?|about|notice|readme|guidelines)"
)
PUBLISHED = re.compile(rf"^(|.*[-_. ]){WORDS}(|[-_. ].*)$", re.IGNORECASE | re.ASCII)


@given(
    st.lists(
        st.sampled_from(
            [
                "LICENSE",
                "license",
                "copying",
                "mit",
                "GPL",
                "2.0",
                "v3",
                "al",
                "readme",
                "x",
                "1",
                "-",
                "_",
                ".",
                "v",
                "foo",
                ".txt",
                ".py",
                ".md",
                " ",
            ]
        ),
        max_size=5,
    ).map("".join)
)
def test_the_words_are_the_published_ones(name):
    """The expression of The Stack v2, but for the extensions of programs."""
    expected = bool(PUBLISHED.match(name)) and not name.endswith((".py", ".al", ".v"))
    assert names.license_like(pa.array([name.encode()])).to_pylist() == [expected]


def test_manifests():
    yes = [
        "PKG-INFO",
        "METADATA",
        "package.json",
        "Cargo.toml",
        "pyproject.toml",
        "setup.cfg",
        "pom.xml",
        "a.gemspec",
    ]
    no = ["pkg-info", "package.json.bak", "mypackage.json", "Cargo.lock", "gemspec", "package.json\n"]
    assert names.manifest_like(pa.array([*yes, *no])).to_pylist() == [True] * len(yes) + [False] * len(no)


@given(st.lists(st.binary(max_size=20) | st.sampled_from([n.encode() for n in LICENSE_LIKE])))
def test_a_class_is_its_own_class(candidates):
    classes = names.detection_class(pa.array(candidates, pa.binary()))
    assert names.detection_class(classes).equals(classes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("README.md", b"README"),
        ("COPYING", b"LICENSE"),
        ("a.gemspec", b".gemspec"),
        ("setup.py", b""),
        ("package.json", b"package.json"),
    ],
)
def test_detection_class(name, kind):
    assert names.detection_class(pa.array([name])).to_pylist() == [kind]


def test_what_stands_beside_a_license_is_license_like():
    for name in ("PATENTS", "patents.txt", "ADDITIONAL-TERMS.md", "EULA"):
        assert names.license_like(pa.array([name])).to_pylist() == [True]
        assert names.license_text(pa.array([name])).to_pylist() == [True]
    for name in ("patents.py", "us-patents.csv", "eula.png"):
        assert names.license_like(pa.array([name])).to_pylist() == [False]
