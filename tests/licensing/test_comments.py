"""Which part of a source file is its header: comments before the code, in any language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.comments import header_text

NOTE = "Licensed under the GPL."

HEADERS = {
    "python": f"#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n# {NOTE}\nimport os\n",
    "python-doc": f'"""Work.\n\n{NOTE}\n"""\nimport os\n',
    "python-raw-doc": f"r'''{NOTE}'''\nx = 1\n",
    "python-after-imports": f'from __future__ import annotations\n\n__all__ = [\n    "a",\n]\n# {NOTE}\nx = 1\n',
    "javascript": f'"use strict";\n/**\n * {NOTE}\n */\nfunction f() {{}}\n',
    "typescript": f"// {NOTE}\nexport const x = 1;\n",
    "java": f"package a.b;\n\n/*\n * {NOTE}\n */\nclass A {{}}\n",
    "c": f"#ifndef A_H\n#define A_H\n/* {NOTE} */\nint f(void);\n",
    "c-after-include": f"#include <stdio.h>\n\n// {NOTE}\nint main(void) {{ return 0; }}\n",
    "csharp": f"#region License\n// {NOTE}\n#endregion\nnamespace A {{}}\n",
    "go": f"//go:build linux\n\n// {NOTE}\n\npackage main\n",
    "rust": f"#![no_std]\n//! {NOTE}\nfn main() {{}}\n",
    "php": f"<?php\n/* {NOTE} */\necho 1;\n",
    "php-one-line": f"<?php // {NOTE}\necho 1;\n",
    "ruby": f"# frozen_string_literal: true\n\n# {NOTE}\nclass A\nend\n",
    "ruby-block": f"=begin\n{NOTE}\n=end\nclass A\nend\n",
    "perl": f"#!/usr/bin/perl\nuse strict;\n\n=head1 LICENSE\n\n{NOTE}\n\n=cut\nprint 1;\n",
    "shell": f"#!/bin/sh\n#\n# {NOTE}\n#\nset -e\nls\n",
    "powershell": f"<#\n{NOTE}\n#>\nGet-Item\n",
    "batch": f"@echo off\nrem {NOTE}\ndir\n",
    "sql": f"-- {NOTE}\nselect 1;\n",
    "lua": f"--[[\n{NOTE}\n]]\nlocal x = 1\n",
    "haskell": f"{{-# LANGUAGE GADTs #-}}\n{{-\n{NOTE}\n-}}\nmodule A where\n",
    "ocaml": f"(* {NOTE} *)\nlet x = 1\n",
    "lisp": f";;; {NOTE}\n(defun f ())\n",
    "racket": f"#|\n{NOTE}\n|#\n(define x 1)\n",
    "julia": f"#=\n{NOTE}\n=#\nx = 1\n",
    "matlab": f"%{{\n{NOTE}\n%}}\nx = 1;\n",
    "erlang": f"%% {NOTE}\n-module(a).\nf() -> 1.\n",
    "fortran": f"! {NOTE}\nprogram a\nend\n",
    "fortran-77": f"C {NOTE}\n      PROGRAM A\n      END\n",
    "cobol": f"      * Work.\n      * {NOTE}\n       IDENTIFICATION DIVISION.\n",
    "pascal": f"{{\n  {NOTE}\n}}\nunit a;\n",
    "visual-basic": f"' {NOTE}\nSub A()\nEnd Sub\n",
    "vim": f'" {NOTE}\nlet x = 1\n',
    "html": f"<!DOCTYPE html>\n<html>\n<!-- {NOTE} -->\n<body></body>\n</html>\n",
    "xml": f'<?xml version="1.0" encoding="UTF-8"?>\n<!--\n{NOTE}\n-->\n<a/>\n',
    "xml-one-line": f'<?xml version="1.0"?><!-- {NOTE} --><a/>\n',
    "css": f'@charset "utf-8";\n/* {NOTE} */\na {{ color: red }}\n',
    "jinja": f"{{# {NOTE} #}}\n<p>x</p>\n",
    "jsp": f"<%-- {NOTE} --%>\n<p>x</p>\n",
    "handlebars": f"{{{{!-- {NOTE} --}}}}\n<p>x</p>\n",
    "rst": f"..\n   {NOTE}\n\nTitle\n=====\n",
    "m4": f"dnl {NOTE}\nAC_INIT\n",
    "manual": f'.\\" {NOTE}\n.TH A 1\n',
    "tex": f"\\documentclass{{article}}\n% {NOTE}\n\\begin{{document}}\n",
    "assembler": f"; {NOTE}\nmov eax, 1\n",
    "module-license": f'"""Work."""\n__license__ = "{NOTE}"\nx = 1\n',
    "shell-and-python": f'#!/bin/sh\n""":"\n# {NOTE}\nexec python3 "$0" "$@"\n":"""\nimport os\n',
    "c-and-python": f'#if 0\n"""\n#endif\n{NOTE}\n"""\nint x;\n',
    "batch-and-perl": f"@rem = '--*-Perl-*--\n@echo off\n@rem {NOTE}\ngoto end\n",
    "byte-order-mark": f"\ufeff// {NOTE}\nint x;\n",
    "windows": f"/*\r\n * {NOTE}\r\n */\r\nint x;\r\n",
}

CODE = {
    "string": f'TEXT = """\n{NOTE}\n"""\n',
    "call": "gpl()\n",
    "comment-after-code": f"x = 1\n# {NOTE}\n",
    "constant": f'#define LICENSE "{NOTE}"\nint x;\n',
    "json": f'{{\n  "license": "{NOTE}"\n}}\n',
    "javascript-object": f'{{ license: "{NOTE}" }}\n',
    "csv": f'"id","license"\n"1","{NOTE}"\n',
    "css-selector": "#gpl-license, #copying {\n  color: red\n}\n",
    "prose": f"The program\n\n{NOTE}\n",
    "markup": f"<p>{NOTE}</p>\n",
    "front-matter": f"title: a\nlicense: {NOTE}\n",
    "single-quoted": f"'{NOTE}'\nx = 1\n",
    "test": f"import pytest\n\nGIVEN = '''\n# {NOTE}\n'''\n# {NOTE}\n",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_is_found_in_any_language(name):
    head = HEADERS[name]
    found = header_text(head)
    assert NOTE in found
    assert found.index(NOTE) == head.index(NOTE)
    assert all(mine in (theirs, " ") for mine, theirs in zip(found, head[: len(found)], strict=True))


@pytest.mark.parametrize("name", CODE)
def test_what_is_no_comment_before_code_is_no_header(name):
    found = header_text(CODE[name])
    assert "GPL" not in found
    assert "gpl" not in found


marks = st.sampled_from(
    ["# ", "// ", "/*", "*/", '"""', "'''", "<!--", "-->", "{", "}", "#|", "|#", "=begin", "=end", "..", "\n", "\n\n", " ",
     "x = 1", NOTE, "      * ", "* ", "c ", "import a", "__all__ = [", "]", "C ", "{#", "--[[", "é", "\r\n", "<?php", "<", '"',
     "'", "\ufeff", "\x00", "###", "%{"]
)  # fmt: skip


@given(st.lists(marks, max_size=40).map("".join))
def test_positions_stay(head):
    """The result is as long as the part of the file that it covers, and agrees with it wherever it is not blank."""
    found = header_text(head)
    assert len(found) <= len(head)
    assert all(mine == theirs or mine == " " for mine, theirs in zip(found, head, strict=False))
    assert [n for n, c in enumerate(found) if c == "\n"] == [
        n for n, c in enumerate(head[: len(found)]) if c == "\n"
    ]


@given(st.lists(marks, max_size=30).map("".join), st.text(max_size=20))
def test_what_follows_the_first_code_changes_nothing(head, more):
    end = "\ncode(1, 2)\n"
    one = header_text(head + end)
    if len(one) <= len(head):  # no block is left open
        assert header_text(head + end + more).rstrip() == one.rstrip()
