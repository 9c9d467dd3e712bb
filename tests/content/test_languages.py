"""Languages: the tables are complete and consistent, the rules decide what they should."""

from __future__ import annotations

import pyarrow as pa
import pytest
from ambiguous_texts import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from manifests.names import config_name
from pipeline.content.declared_language import mode_line_language, shebang_language
from pipeline.content.languages import (
    HEAD_BYTES,
    LANGUAGES_DIGEST,
    detect,
    language_of_tree,
    needs_content,
)
from pipeline.content.names import name_class
from pipeline.content.taxonomy import BY_EXTENSION, BY_FILENAME, BY_INTERPRETER, LANGUAGES


def language(path: bytes, head: bytes | None = None) -> str | None:
    classes = name_class(pa.array([path], pa.binary()))
    heads = None if head is None else pa.array([head], pa.large_binary())
    return detect(classes, heads)[0].as_py()


# --------------------------------------------------------------------------------------------------------
# Tables


def test_how_many_languages_can_be_reached():
    """For each language that counts there is a (name, head) that gives it."""
    tried = [(b"a" + key, b"") for key in BY_EXTENSION] + [(key, b"") for key in BY_FILENAME]
    tried += [(name.encode(), text) for name, texts in EXAMPLES.items() for text in texts.values()]
    tried += [(b"x", b"#!/usr/bin/env " + key + b"\n") for key in BY_INTERPRETER]
    classes = name_class(pa.array([name for name, _ in tried], pa.binary()))
    by_name = set(detect(classes).to_pylist())
    reached = set(detect(classes, pa.array([head for _, head in tried], pa.large_binary())).to_pylist())
    assert len(LANGUAGES) == 833
    assert len(by_name & set(LANGUAGES)) == 745  # from the name alone
    assert set(LANGUAGES) - reached == {  # the taxonomy gives these no name, extension or interpreter at all
        "Elvish Transcript",
        "Julia REPL",
        "OpenAPI Specification v2",
        "OpenAPI Specification v3",
        "Python console",
    }


def test_every_unambiguous_name_gives_its_language():
    for table, path in ((BY_EXTENSION, b"dir/some%s"), (BY_FILENAME, b"dir/%s")):
        keys = [key for key, found in table.items() if len(found) == 1]
        found = detect(name_class(pa.array([path % key for key in keys], pa.binary()))).to_pylist()
        wrong = {key: got for key, got in zip(keys, found, strict=True) if got != table[key][0]}
        assert not wrong


def test_configuration_names_are_unique_directory_names():
    names = [config_name(one) for one in LANGUAGES]
    assert len({name.casefold() for name in names}) == len(LANGUAGES)
    for name in names:
        assert name not in (".", "..") and "/" not in name and "\0" not in name and name == name.strip()
        assert "*" not in name and "?" not in name and "[" not in name  # no globs
        assert len(name.encode()) < 200
    assert config_name("F*") == "F-star" and config_name("C#") == "C#" and config_name("C++") == "C++"
    with pytest.raises(ValueError, match="reserved"):
        config_name("default")


def test_digest_is_a_sha256():
    assert len(bytes.fromhex(LANGUAGES_DIGEST)) == 32


# --------------------------------------------------------------------------------------------------------
# Examples


@pytest.mark.parametrize(
    ("path", "head", "expected"),
    [
        (b"a.py", None, "Python"),
        (b"Makefile", None, "Makefile"),
        (b"x/CMakeLists.txt", None, "CMake"),
        (b"go.sum", None, "Go Checksums"),
        (b"api_pb2.py", None, "Python"),
        (b"a.min.js", None, "JavaScript"),
        (b"package-lock.json", None, "JSON"),
        (b"readme", b"", "Text"),
        (b"AUTHORS", None, "Text"),
        (b"requirements-dev.txt", None, "Pip Requirements"),
        (b"unknown.qqq", b"hello", None),
        (b"no_extension", b"", None),
        (b"run", b"#!/usr/bin/env python3.11\n", "Python"),
        (b"run.qqq", b"#!/bin/bash -e\n", "Shell"),
        (b"feed", b'<?xml version="1.0"?>\n<rss/>', "XML"),
        (b"a.h", None, "C"),
        (b"a.h", b"#ifndef A_H\nint f(void);\n", "C"),
        (b"a.h", b"#include <vector>\n", "C++"),
        (b"a.h", b"/* a virtual device, operator * class of\n * virtual memory */\nint f(void);\n", "C"),
        (b"a.h", b"struct A {\n  virtual ~A();\n};\n", "C++"),
        (b"a.h", b"namespace a {\nclass B;\n}\n", "C++"),
        (b"a.h", b"#import <Foundation/Foundation.h>\n", "Objective-C"),
        (b"a.m", b"% mean\nfunction y = f(x)\n", "MATLAB"),
        (b"a.m", b'#import "a.h"\n@implementation A\n@end\n', "Objective-C"),
        (b"a.m", b"(* ::Package:: *)\nf[x_] := x\n", "Wolfram Language"),
        (b"a.pl", b"use strict;\nmy $x = 1;\n", "Perl"),
        (b"a.pl", b"parent(a, b).\nanc(X, Y) :- parent(X, Y).\n", "Prolog"),
        (b"a.pl", b"use v6;\nsay 'x';\n", "Raku"),
        (b"a.t", b"use Test::More;\nok(1);\n", "Perl"),
        (b"a.ts", b"export const a: number = 1;\n", "TypeScript"),
        (b"a.ts", b'<?xml version="1.0"?>\n<!DOCTYPE TS>\n', "XML"),
        (b"a.v", b"module m(input a);\nendmodule\n", "Verilog"),
        (b"a.v", b"Require Import List.\nLemma a : True.\nProof. auto. Qed.\n", "Rocq Prover"),
        (b"a.v", b"module main\n\nfn main() {\n}\n", "V"),
        (b"a.sql", b"SELECT 1;\n", "SQL"),
        (b"a.sql", b"SET NOCOUNT ON\nGO\n", "TSQL"),
        (b"a.sql", b"CREATE FUNCTION f() RETURNS trigger AS $$ $$ LANGUAGE plpgsql;\n", "PLpgSQL"),
        (b"a.inc", b"<?php\necho 1;\n", "PHP"),
        (b"a.inc", b"#define X 1\n", "C++"),
        (b"a.inc", b"#ifdef X\nY(1)\n#endif\n", "C++"),
        (b"a.inc", b"what is this", None),
        (b"a.cls", b"\\ProvidesClass{a}\n", "TeX"),
        (b"a.cls", b"public class A {}\n", "Apex"),
        (b"a.r", b"x <- 1\n", "R"),
        (b"a.d", b"module a;\nimport std.stdio;\n", "D"),
        (b"a.d", b"a.o: a.c a.h\n", "Makefile"),
        (b"a.fs", b"module A\nlet x = 1\n", "F#"),
        (b"a.fs", b"#version 330\nvoid main() {}\n", "GLSL"),
        (b"a.rs", b"fn main() {}\n", "Rust"),
        (b"a.md", b"# Title\n", "Markdown"),
        (b"a.md", b'(define_insn "x"\n', "GCC Machine Description"),
        (b"a.json", b'{\n  "openapi": "3.0.1"\n}', "OASv3-json"),
        (b"a.json", b'{"a": 1}', "JSON"),
        (b"a.yml", b"a: 1\n", "YAML"),
        (b"a.1", b".TH A 1\n", "Roff Manpage"),
        (b"lib.so.1", b"not a manual", None),
        (b"a.php", b"<?hh // strict\n", "Hack"),
        (b"a.lean", b"import Mathlib.Data\n", "Lean 4"),
        (b"a.fcgi", b"#!/usr/bin/env ruby\n", "Ruby"),
        (b"a.cgi", b"#!/bin/sh\n", "Shell"),
        (b".eslintrc", b"extends: x\n", "YAML"),
        (b".eslintrc", b'{"extends": "x"}\n', "JSON with Comments"),
        (b"hosts", b"127.0.0.1 localhost\n", "Hosts File"),
    ],
)
def test_examples(path, head, expected):
    assert language(path, head) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"#!/usr/bin/python", "Python"),
        (b"#! /usr/bin/env -S python3 -u\n", "Python"),
        (b"#!/usr/bin/env LANG=C perl -w\n", "Perl"),
        (b"#!/usr/bin/env node\r\n", "JavaScript"),
        (b"#!/usr/bin/ruby2.7\n", "Ruby"),
        (b'#!/bin/sh\n# the next line restarts using wish\nexec wish "$0" "$@"\n', "Tcl"),
        (b"#!/bin/sh\nexec unknownprogram x\n", "Shell"),
        (b"#!/usr/bin/env\n", None),
        (b"#!\n", None),
        (b"#!/opt/unheard-of\n", None),
        (b" #!/bin/sh\n", None),
        (b"", None),
    ],
)
def test_shebang(head, expected):
    assert shebang_language(head) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"// -*- C++ -*-\n", "C++"),
        (b"\n\n# -*- coding: utf-8; mode: python; -*-\n", "Python"),
        (b"# -*- coding: utf-8 -*-\n", None),
        (b"# vim: set ts=4 ft=perl :\n", "Perl"),
        (b"/* vi:syntax=objc */\n", "Objective-C"),
        (b"\n\n\n\n\n# -*- perl -*-\n", None),  # line 6
        (b"-*- -*-\n-*-", None),
        (b"", None),
    ],
)
def test_mode_line(head, expected):
    assert mode_line_language(head) == expected


def test_mode_line_counts_among_the_candidates_only():
    assert language(b"a.h", b"/* -*- C++ -*- */\n") == "C++"
    assert language(b"a.h", b"/* -*- python -*- */\n") == "C"
    assert language(b"limits", b"// <limits> -*- C++ -*-\n") == "C++"


@pytest.mark.parametrize(
    "piece", [b"-*-", b"-*- mode:", b"-*- mode:a;", b"mode:", b"vim:", b"vi: ft", b"a;", b"-"]
)
def test_hostile_mode_lines(piece):
    for head in (piece * 2000, b"-*-" + piece * 2000, b"vim:" + piece * 2000):
        mode_line_language(head)  # bounded: some milliseconds at most


# --------------------------------------------------------------------------------------------------------
# Invariants

PATHS = st.sampled_from(
    [b"a.h", b"a.m", b"a.py", b"x", b"a.inc", b"a.t", b"Makefile", b"a.1", b"a.json", b"hosts", b"a.qqq"]
)
HEADS = st.one_of(
    st.none(),
    st.binary(max_size=80),
    st.sampled_from([b"#!/bin/sh\n", b"#!/usr/bin/env python\n", b"namespace a {", b"<?php", b"\xff\n@end"]),
)
FILES = st.lists(st.tuples(PATHS, HEADS), max_size=8)


@given(FILES, st.integers(0, 8))
def test_does_not_depend_on_the_batch(files, cut):
    def found(some):
        classes = name_class(pa.array([path for path, _ in some], pa.binary()))
        return detect(classes, pa.array([head for _, head in some], pa.large_binary())).to_pylist()

    whole = found(files)
    assert found(files[:cut]) + found(files[cut:]) == whole
    assert all(one is None or one in LANGUAGES for one in whole)
    assert [language(path, head) for path, head in files] == whole


@given(FILES)
def test_content_matters_only_where_it_is_said_to(files):
    for path, head in files:
        needed = needs_content(name_class(pa.array([path], pa.binary())))[0].as_py()
        if not needed and head is not None:
            assert language(path, head) == language(path)


def test_only_the_head_is_looked_at():
    far = b" " * HEAD_BYTES + b"\n#include <vector>\n"
    assert language(b"a.h", far) == "C"
    assert language(b"a.h", far[8:][: HEAD_BYTES + 12]) == language(b"a.h", far[8:][:HEAD_BYTES])


def test_hostile_heads():
    for head in (
        b"(" * 100_000,
        b"#!" + b"a" * 100_000,
        b"#!" + b" " * 100_000,
        b"\n" * 100_000,
        b"<" * 50_000,
    ):
        for path in (b"a.h", b"a.m", b"a.inc", b"x", b"a.sql", b"a.pl"):
            language(path, head)


def test_tree():
    files = {
        b"b.h": b"#include <vector>\n",
        b"image.bin": b"\x89PNG\0",
        b"wide.ts": b"\xff\xfe" + "export {};\n".encode("utf-16-le"),
        b"bare.rs": "fn main() { println!(1); }\n".encode("utf-16-be"),
        b"run": b"\xef\xbb\xbf#!/bin/sh\n",
        b"archive.1": b"a\0b",
        b"\xff/x.py": b"",
    }
    found = list(language_of_tree(files, files.__getitem__))
    assert found == [
        {"path": b"b.h", "language": "C++", "by": "rule"},
        {"path": b"image.bin", "language": None, "by": "nothing"},
        {"path": b"wide.ts", "language": "TypeScript", "by": "usual"},
        {"path": b"bare.rs", "language": "Rust", "by": "usual"},
        {"path": b"run", "language": "Shell", "by": "shebang"},
        {"path": b"archive.1", "language": None, "by": "nothing"},
        {"path": b"\xff/x.py", "language": "Python", "by": "name"},
    ]
    many = [b"%d.py" % number for number in range(3000)]
    assert [one["path"] for one in language_of_tree(many, lambda path: b"")] == many
    assert list(language_of_tree([], files.__getitem__)) == []
