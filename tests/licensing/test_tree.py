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


def test_an_empty_tree(policy):
    assert scan({}, policy) == {}
