"""Repository context: which repositories, in what order, under which names; nothing lost and nothing twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.corpus import imports
from training.corpus.repository import (
    MAX_NAME,
    File,
    arrange,
    name_of,
    needed_first,
    readable,
    shown_whole,
    with_metadata,
)

PARTS = st.sampled_from(["a", "b", "src", "lib", "..", ".", "x.py", "é"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
ORDERS = ("path", "dependency", "random")


def file(path, text="", language="Python", content_id=None):
    return File(content_id or f"id of {path}", path, imports.packed(imports.scan(text, path, language)))


def arranged(files, order="dependency", seed=0, epoch=0):
    return [files[i].path for i in arrange(files, order, seed=seed, epoch=epoch)]


@settings(deadline=None)
@given(st.lists(PATHS, max_size=12), st.sampled_from(ORDERS), st.integers(0, 3), st.randoms())
def test_an_order_holds_each_file_once_whatever_the_order_given(paths, order, epoch, chance):
    files = [
        File(f"id {n}", path, imports.packed([("/a/x.py", "b.py"), ("src/",), (path,)]))
        for n, path in enumerate(paths)
    ]
    found = arrange(files, order, seed=1, epoch=epoch)
    assert sorted(found) == list(range(len(files)))
    shuffled = chance.sample(files, len(files))
    again = arrange(shuffled, order, seed=1, epoch=epoch)
    assert [files[i].content_id for i in found] == [shuffled[i].content_id for i in again]


def test_orders():
    files = [file("b.py", "import a"), file("a.py", "import c"), file("c.py"), file("b/z.py"), file("ä.py")]
    assert arranged(files, "path") == ["a.py", "b.py", "b/z.py", "c.py", "ä.py"]
    assert arranged(files, "dependency") == ["c.py", "a.py", "b.py", "b/z.py", "ä.py"]
    many = [file(f"{n}.py") for n in range(30)]
    orders = {tuple(arranged(many, "random", seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert arranged(many, "random", 1, 1) == arranged(many, "random", 1, 1)


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, n - 1), max_size=4), min_size=n, max_size=n)
    )
)
def test_what_is_needed_comes_first_but_in_circles(needs):
    order = needed_first(needs)
    place = {node: index for index, node in enumerate(order)}
    assert sorted(order) == list(range(len(needs)))
    reach = {node: {node} for node in place}
    for _ in needs:
        for node, found in reach.items():
            reach[node] = found.union(*(reach[other] for other in needs[node]))
    for node, others in enumerate(needs):
        for other in others:
            assert place[other] < place[node] or node in reach[other]


def test_a_long_chain_of_imports():
    count = 20_000
    assert needed_first([[n + 1] if n + 1 < count else [] for n in range(count)]) == list(range(count))[::-1]


EXAMPLES = {
    "Python": (
        {
            "pkg/__init__.py": "from .core import run\n",
            "pkg/core.py": "import os\nfrom pkg.util import (\n    load,  # comment\n    save,\n)\nfrom . import names\n",
            "pkg/util.py": "from typing import Any\nimport pkg.deep.base as base\n",
            "pkg/names.py": "",
            "pkg/deep/base.py": "from ..names import *\n",
            "os.txt": "",
        },
        [
            ("pkg/core.py", "pkg/__init__.py"),
            ("pkg/util.py", "pkg/core.py"),
            ("pkg/names.py", "pkg/core.py"),
            ("pkg/deep/base.py", "pkg/util.py"),
            ("pkg/names.py", "pkg/deep/base.py"),
        ],
    ),
    "TypeScript": (
        {
            "app/a.ts": "import { b } from './b'\nexport * from \"../lib\"\nconst c = require('./c.js')",
            "app/b.ts": "import 'react'\nconst lazy = import('./d')",
            "app/c.ts": "",
            "app/d.tsx": "",
            "lib/index.ts": "",
        },
        [
            ("app/b.ts", "app/a.ts"),
            ("lib/index.ts", "app/a.ts"),
            ("app/c.ts", "app/a.ts"),
            ("app/d.tsx", "app/b.ts"),
        ],
    ),
    "Java": (
        {
            "src/main/java/org/x/A.java": "package org.x;\nimport java.util.List;\nimport org.x.z.B;\nimport org.x.w.*;",
            "src/main/java/org/x/z/B.java": "import static org.x.w.D.call;",
            "src/main/java/org/x/w/C.java": "",
            "src/main/java/org/x/w/D.java": "",
        },
        [
            ("src/main/java/org/x/z/B.java", "src/main/java/org/x/A.java"),
            ("src/main/java/org/x/w/C.java", "src/main/java/org/x/A.java"),
            ("src/main/java/org/x/w/D.java", "src/main/java/org/x/A.java"),
            ("src/main/java/org/x/w/D.java", "src/main/java/org/x/z/B.java"),
        ],
    ),
    "Go": (
        {
            "a/main.go": 'package main\nimport (\n\t"fmt"\n\tu "example.org/owner/repo/util" // why\n)\n',
            "util/one.go": 'package util\n\nimport "example.org/owner/repo/util/zed"\n',
            "util/two.go": "package util",
            "util/zed/z.go": "package zed",
            "util/one_test.go": "package util",
        },
        [("util/one.go", "a/main.go"), ("util/two.go", "a/main.go"), ("util/zed/z.go", "util/one.go")],
    ),
    "C++": (
        {
            "a.cc": '#include "inc/z.h"\n#  include <vector>\n#include <proj/q.hpp>\n',
            "inc/z.h": '#include "zz.h"',
            "inc/zz.h": "",
            "third/proj/q.hpp": "",
        },
        [("inc/z.h", "a.cc"), ("inc/zz.h", "inc/z.h"), ("third/proj/q.hpp", "a.cc")],
    ),
    "Rust": (
        {
            "src/lib.rs": "pub mod zebra;\nmod apple;",
            "src/apple.rs": "use crate::zebra::stripes::Stripe;\nuse std::fmt;",
            "src/zebra/mod.rs": "pub(crate) mod stripes;",
            "src/zebra/stripes.rs": "use super::tail::Tail;",
            "src/zebra/tail.rs": "",
        },
        [
            ("src/zebra/mod.rs", "src/lib.rs"),
            ("src/apple.rs", "src/lib.rs"),
            ("src/zebra/stripes.rs", "src/apple.rs"),
            ("src/zebra/stripes.rs", "src/zebra/mod.rs"),
            ("src/zebra/tail.rs", "src/zebra/stripes.rs"),
        ],
    ),
}


@pytest.mark.parametrize("language", EXAMPLES)
def test_imports_are_found(language):
    contents, wanted = EXAMPLES[language]
    files = [file(path, text, language) for path, text in contents.items()]
    needs = imports.resolve([f.path for f in files], [imports.unpacked(f.imports) for f in files])
    found = {(files[other].path, files[n].path) for n, others in enumerate(needs) for other in others}
    assert found == set(wanted)
    order = arranged(files)
    for first, then in wanted:
        assert order.index(first) < order.index(then)


def test_of_files_that_end_alike_the_near_one_is_meant():
    paths = ["x/b/util/io.py", "a/util/io.py", "a/main.py"]
    needs = imports.resolve(paths, [(), (), imports.scan("import util.io", "a/main.py", "Python")])
    assert needs[2] == [1]
    assert imports.resolve(["a.py"], [imports.scan("import a", "a.py", "Python")]) == [[]]
    # the standard library's names find nothing elsewhere in the repository
    assert imports.resolve(["z/os.py", "b.py"], [(), imports.scan("import os", "b.py", "Python")]) == [[], []]


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=300), PATHS, st.sampled_from([*EXAMPLES, "Cobol", ""]))
def test_no_text_breaks_the_scan(text, path, language):
    found = imports.scan("import " + text, path, language)
    assert len(found) <= imports.IMPORTS
    assert all(places and all(isinstance(place, str) for place in places) for places in found)
    imports.resolve([path], [found])
    assert tuple(imports.unpacked(imports.packed(found))) == found


@pytest.mark.parametrize("language", EXAMPLES)
def test_the_scan_is_bounded(language):
    many = "".join(
        f"import m{n}.x\nimport 'm{n}'\nrequire('./m{n}')\n#include \"m{n}.h\"\nuse crate::m{n};\nimport a.m{n};\n"
        f'import "a/m{n}"\n'
        for n in range(3000)
    )
    assert len(imports.scan(many, "a/b", language)) == imports.IMPORTS
    late = "\n" * imports.CHARACTERS + many
    assert imports.scan(late, "a/b", language) == ()


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ("https://github.com/pytorch/pytorch", "pytorch/pytorch"),
        ("https://gitlab.com/group/sub/repo.git", "group/sub/repo"),
        ("https://example.org", "https://example.org"),
        ("https://example.org/a/?x=1#y", "a"),
        ("pkg:pypi/numba@0.68.1", "numba"),
        ("pkg:npm/%40scope/name@1.0?arch=x", "%40scope/name"),
        ("pkg:", ""),
        ("anything", "anything"),
        ("https://host/<fim_prefix>\n\x00<|endoftext|>", "<fim_prefix>\\x0a\\x00<|endoftext|>"),
    ],
)
def test_names(origin, name):
    assert name_of(origin) == name


@given(st.text(alphabet=st.characters(), max_size=3 * MAX_NAME))
def test_shown_names_are_one_bounded_line(name):
    shown = readable(name)
    assert len(shown) <= MAX_NAME
    assert len((shown + "x").splitlines()) == 1
    shown.encode()  # no lone surrogate
    if name.isascii() and name.isprintable() and len(name) <= MAX_NAME:
        assert shown == name


def test_hostile_names():
    assert readable("a\u202eb\u2028c\ud800") == "a\\u202eb\\u2028c\\ud800"
    assert readable("x" * 300) == "…" + "x" * 255
    assert readable("\n" * 200).endswith("\\x0a")
    assert readable("y" + "x" * MAX_NAME).startswith("…")


def test_rates_and_draws():
    names = [f"https://host/owner/{n}" for n in range(4000)]
    for draw in (shown_whole, with_metadata):
        for rate in (0.0, 0.3, 1.0):
            share = sum(draw(name, seed=5, epoch=2, rate=rate) for name in names) / len(names)
            assert abs(share - rate) < 0.03
        picks = {
            tuple(draw(name, seed=seed, epoch=epoch, rate=0.5) for name in names[:50])
            for seed in range(2)
            for epoch in range(2)
        }
        assert len(picks) == 4
    both = [
        shown_whole(name, seed=0, epoch=0, rate=0.5) == with_metadata(name, seed=0, epoch=0, rate=0.5)
        for name in names
    ]
    assert abs(sum(both) / len(both) - 0.5) < 0.03  # the two draws are not the same one
    assert not shown_whole("", seed=0, epoch=0, rate=1.0)


def test_known_draws_never_change():
    """The token streams named in older checkpoints must be made again exactly."""
    files = [File(f"id {n}", f"{n}.py") for n in range(6)]
    assert arrange(files, "random", seed=0, epoch=0) == KNOWN_ORDER
    names = [f"https://host/owner/{n}" for n in range(8)]
    assert [shown_whole(name, seed=0, epoch=0, rate=0.5) for name in names] == KNOWN_SHOWN


KNOWN_ORDER = [4, 5, 3, 1, 0, 2]
KNOWN_SHOWN = [True, True, True, True, False, True, True, True]
