import pytest

from licensing.tree import scan_tree

TAG = "SPDX-License-" + "Identifier:"


def scan(files, policy, scancode=None, **options):
    paths = [path.encode() if isinstance(path, str) else path for path in files]
    bodies = [body.encode() if isinstance(body, str) else body for body in files.values()]
    return {row["path"]: row for row in scan_tree(paths, bodies.__getitem__, policy, scancode, **options)}


def test_a_tree(policy, scancode, license_text):
    rows = scan(
        {
            "LICENSE": license_text("mit"),
            "src/a.py": "x = 1\n",
            "src/b.c": f"/* {TAG} GPL-2.0-only */\n",
            "src/c.c": f"/* {TAG} ISC */\n",
            "vendor/z/COPYING": license_text("gpl-3.0"),
            "vendor/z/z.c": "int z;\n",
            b"\xff.py": b"\x00",
        },
        policy,
        scancode,
    )
    assert [(path, row["permitted"]) for path, row in rows.items()] == [
        ("LICENSE", True),
        ("src/a.py", True),
        ("src/b.c", False),
        ("src/c.c", True),
        ("vendor/z/COPYING", False),
        ("vendor/z/z.c", False),
        ("\\xff.py", True),
    ]
    assert rows["src/a.py"]["licenses"] == ["MIT"] and rows["src/a.py"]["expression"] == "MIT"
    assert rows["src/b.c"]["licenses"] == ["GPL-2.0-only", "MIT"]
    assert rows["src/c.c"]["expression"] == "ISC"
    assert rows["vendor/z/z.c"]["licenses"] == ["GPL-3.0-only", "MIT"]
    assert rows["vendor/z/z.c"]["evidence"][0]["path"] == "vendor/z/COPYING"


@pytest.mark.parametrize("grants", [False, True])
def test_a_header_grants_only_if_told_to(policy, grants):
    rows = scan({"a.py": f"# {TAG} MIT\n", "b.py": ""}, policy, header_grants=grants)
    assert rows["a.py"]["permitted"] == grants
    assert rows["a.py"]["expression"] == "MIT"
    assert (rows["b.py"]["permitted"], rows["b.py"]["sub_reason"]) == (False, "none_found")


def test_headers_are_read_as_in_a_release(policy, scancode, license_text):
    gpl = [
        "This program is free software; you can redistribute it and/or modify",
        "it under the terms of the GNU General Public License as published by",
        "the Free Software Foundation; either version 2 of the License, or",
        "(at your option) any later version.",
    ]
    rows = scan(
        {
            "LICENSE": license_text("mit"),
            "a.c": "/*\n" + "".join(f" * {line}\n" for line in gpl) + " */\nint a;\n",
            "b.py": 'x = """\n' + "\n".join(gpl) + '\n"""\n',
            "c.js": "// Licensed under the Apache License, Version 2.0, as we like it\nf();\n",
            "d.py": "# See LICENSE for details.\n",
        },
        policy,
        scancode,
    )
    assert [path for path, row in rows.items() if not row["permitted"]] == ["a.c"]
    assert rows["a.c"]["expression"] == "GPL-2.0-or-later"
    assert rows["a.c"]["evidence"][0]["rule"].startswith("gpl-2.0-plus")
    assert rows["c.js"]["expression"] == "Apache-2.0"
    assert (rows["d.py"]["expression"], rows["d.py"]["licenses"]) == ("MIT", ["MIT"])


def test_an_empty_tree(policy):
    assert scan({}, policy) == {}
