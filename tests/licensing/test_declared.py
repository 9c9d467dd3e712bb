import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing import declared
from licensing.expressions import UNPARSABLE, UNREAD
from licensing.license_names import from_classifiers, from_text


@pytest.mark.parametrize(
    ("name", "body", "expression"),
    [
        (
            "PKG-INFO",
            "Name: x\nLicense-Expression: MIT OR GPL-2.0\nLicense: BSD\n\nLicense: no",
            "GPL-2.0-only OR MIT",
        ),
        (
            "METADATA",
            "Name: x\nLicense: Apache License, Version 2.0\nClassifier: License :: OSI Approved :: MIT License",
            "Apache-2.0",
        ),
        (
            "METADATA",
            "License: Copyright (c) me\n        \n        all\nClassifier: License :: OSI Approved :: MIT License",
            "MIT",
        ),
        ("METADATA", "Name: x\n\nLicense: MIT\n", None),
        ("package.json", '{"license": "ISC"}', "ISC"),
        ("package.json", '{"license": {"type": "MIT", "url": "x"}}', "MIT"),
        ("package.json", '{"licenses": [{"type": "MIT"}, {"type": "GPL-3.0-only"}]}', "GPL-3.0-only OR MIT"),
        ("package.json", '{"license": "UNLICENSED"}', "LicenseRef-stackmill-proprietary"),
        ("package.json", '{"license": "SEE LICENSE IN x.txt"}', UNREAD),
        ("package.json", '{"license": "SEE LICENSE IN legal/LICENSE"}', UNREAD),
        ("package.json", '{"license": "SEE LICENSE IN LICENSE.md"}', None),
        ("package.json", '{"license": "SEE LICENSE IN ../../LICENSE"}', None),
        ("package.json", '{"license": "see LICENSE file"}', None),
        ("package.json", '{"license": "MIT*"}', "MIT"),
        ("package.json", '{"licenses": [{"name": "MIT"}, "Apache 2"]}', "Apache-2.0 OR MIT"),
        ("Cargo.toml", '[workspace.package]\nlicense = "MIT OR Apache-2.0"\n', "Apache-2.0 OR MIT"),
        ("Cargo.toml", '[package]\nlicense-file = "LICENSE"\n', None),
        ("Cargo.toml", '[package]\nlicense-file = "terms.txt"\n', UNREAD),
        ("pyproject.toml", '[project]\nlicense = {file = "terms.txt"}\n', UNREAD),
        ("pyproject.toml", '[tool.flit.metadata]\nlicense = "BSD"\n', "BSD-3-Clause"),
        (
            "pyproject.toml",
            '[tool.poetry]\nclassifiers = ["License :: OSI Approved :: MIT License"]\n',
            "MIT",
        ),
        (
            "pom.xml",
            "<licenses><license><url>https://www.apache.org/licenses/LICENSE-2.0.txt</url></license></licenses>",
            "Apache-2.0",
        ),
        (
            "pom.xml",
            "<!-- <licenses><license><name>GPL</name></license></licenses> --><licenses><license><name>CDDL + GPLv2 with"
            " classpath exception</name></license></licenses>",
            UNPARSABLE,
        ),
        ("x.nuspec", "<licenseUrl>https://licenses.nuget.org/MIT</licenseUrl>", "MIT"),
        ("x.nuspec", '<license type="file">legal\\EULA.rtf</license>', UNREAD),
        ("package.json", '{"name": "x"}', None),
        ("package.json", "[1, 2", None),
        (
            "composer.json",
            '{"license": ["LGPL-2.1-only", "GPL-3.0-or-later"]}',
            "GPL-3.0-or-later OR LGPL-2.1-only",
        ),
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"\n', "Apache-2.0 OR MIT"),
        ("Cargo.toml", "[package]\nlicense.workspace = true\n", None),
        ("pyproject.toml", '[project]\nlicense = "BSD-3-Clause"\n', "BSD-3-Clause"),
        ("pyproject.toml", '[project]\nlicense = {text = "MIT License"}\n', "MIT"),
        ("pyproject.toml", '[project]\nlicense = {file = "LICENSE"}\n', None),
        ("pyproject.toml", '[tool.poetry]\nlicense = "GPL-3.0+"\n', "GPL-3.0-or-later"),
        ("setup.cfg", "[metadata]\nlicense = MIT\n", "MIT"),
        (
            "setup.cfg",
            "[metadata]\nclassifiers =\n  License :: OSI Approved :: GNU General Public License v3 (GPLv3)\n",
            "GPL-3.0-only",
        ),
        (
            "pom.xml",
            "<project><licenses><license><name>Apache License, Version 2.0</name></license></licenses>",
            "Apache-2.0",
        ),
        ("x.gemspec", "s.licenses = ['MIT', 'Ruby']", "MIT AND Ruby"),
        ("x.gemspec", "s.license = 'MIT'", "MIT"),
        ("x.nuspec", '<license type="expression">MIT OR Apache-2.0</license>', "Apache-2.0 OR MIT"),
        ("setup.py", "license='MIT'", None),
    ],
)
def test_manifests(name, body, expression):
    found = declared.find(name.encode(), body.encode())
    assert [d.expression for d in found] == ([expression] if expression else [])
    for detection in found:
        assert 0 <= detection.start < detection.end <= len(body.encode())


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("MIT License", "MIT"),
        ("the Apache Software License 2.0", "Apache-2.0"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("GPLv3+", "GPL-3.0-or-later"),
        ("GNU Lesser General Public License v2.1 or later", "LGPL-2.1-or-later"),
        ("Apache License 2.0 or MIT", "Apache-2.0 OR MIT"),
        ("Apache 2.0 and MIT", "Apache-2.0 AND MIT"),
        ("LGPL", "LGPL-2.0-or-later"),
        ("MIT/Apache-2.0", "Apache-2.0 OR MIT"),
        ("MIT or Apache", "Apache-2.0 OR MIT"),
        ("GPLv2+", "GPL-2.0-or-later"),
        ("BSD*", "BSD-3-Clause"),
        ("MIT (see LICENSE)", "MIT"),
        ("MIT, see the LICENSE file", "MIT"),
        ("EPL v2", "EPL-2.0"),
        ("GPL-3+ with Bison exception", "GPL-3.0-or-later WITH Bison-exception-2.2"),
        ("GPLv2 with the Classpath exception", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("MIT with advertising exception", None),
        ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
        ("Custom EULA", None),
        ("MIT or whatever", None),
        ("", None),
        ("M" * 5000, None),
    ],
)
def test_names(text, expression):
    assert from_text(text) == expression


def test_classifiers():
    assert from_classifiers(["License :: OSI Approved"]) is None
    both = [
        "License :: OSI Approved :: MIT License",
        "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)",
    ]
    assert from_classifiers(both) == "MIT AND MPL-2.0"


READERS = st.sampled_from(
    [
        b"METADATA",
        b"package.json",
        b"Cargo.toml",
        b"pyproject.toml",
        b"setup.cfg",
        b"pom.xml",
        b"x.gemspec",
        b"x.nuspec",
        b"composer.json",
    ]
)


@given(READERS, st.binary(max_size=300))
def test_any_bytes_are_read(name, body):
    declared.find(name, body)


@given(
    READERS,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("MIT"),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["license", "licenses", "type", "x"]), inner, max_size=3)
        ),
        max_leaves=8,
    ),
)
def test_any_json_is_read(name, content):
    declared.find(name, json.dumps(content).encode())


@pytest.mark.parametrize(
    "name", [b"package.json", b"Cargo.toml", b"pyproject.toml", b"pom.xml", b"x.nuspec", b"METADATA"]
)
def test_hostile_sizes(name):
    for body in (
        b"[" * 100_000,
        b'{"license":' * 20_000,
        b"a=[" * 30_000,
        b" " * 200_000,
        b"<licenses>" * 20_000,
        b'<license type="expression">' + b" " * 200_000,
        b"x" * 10_000_000,
    ):
        assert declared.find(name, body) == []
