"""How each language writes comments and strings: facts about languages, as data for the kernel in comments.py.

A language is a list of `Opener`s, tried in order at every byte that may start one. What is no comment must be known as
well as what is: a string that holds `//` is no comment, and a comment that holds a quote opens no string. Left out, because
they need a parser: heredocs, quoting operators with delimiters of the author's choice (`q{}`, `%w[]`), code in templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

LINE, BLOCK, STRING, CHARACTER, REGEX, LONG_BRACKET, RAW_CPP, RAW_HASHED, OUTSIDE, BRACKET = range(10)
"""What opens: a comment to the end of the line; a comment up to `close`; a string; a character in quotes, if one stands
there; a regular expression, if a value can stand there; Lua's long bracket (a comment behind `--`); C++'s and Rust's raw
strings; text around the code, up to `close`; a bracket, which only says that a statement goes on."""

ANYWHERE, INDENTED, FIRST, APART = range(4)
"""Where an opener counts: anywhere, behind nothing but blanks, in the first column, or behind a blank or one of `;&|()`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opener:
    """Something that starts with `open`. `close` empty: it ends with the line."""

    kind: int
    open: bytes
    close: bytes = b""
    where: int = ANYWHERE
    nested: bool = False
    escape: bytes = b"\\"
    """Takes the next byte with it inside a string; empty: none."""
    lines: bool = False
    """A string that may go on behind the end of its line."""
    word: bool = False
    """In any case, and not before a letter or digit."""
    but: bytes = b""
    """Not before one of these bytes."""


def _line(*marks: bytes, where: int = ANYWHERE, word: bool = False, but: bytes = b"") -> tuple[Opener, ...]:
    return tuple(Opener(kind=LINE, open=one, where=where, word=word, but=but) for one in marks)


def _block(start: bytes, end: bytes, *, nested: bool = False, where: int = ANYWHERE) -> tuple[Opener, ...]:
    return (Opener(kind=BLOCK, open=start, close=end, nested=nested, where=where),)


def _string(*marks: bytes, escape: bytes = b"\\", lines: bool = False) -> tuple[Opener, ...]:
    return tuple(Opener(kind=STRING, open=one, close=one, escape=escape, lines=lines) for one in marks)


_C_BLOCK = _block(b"/*", b"*/")
_C_NESTED = _block(b"/*", b"*/", nested=True)
_SLASHES = _line(b"//")
_CHARACTER = (Opener(kind=CHARACTER, open=b"'"),)
_REGEX = (Opener(kind=REGEX, open=b"/"),)
_TRIPLE = _string(b'"""', lines=True)
_TRIPLE_APOSTROPHES = _string(b"'''", lines=True)
_QUOTES = _string(b'"')
_QUOTES_LINES = _string(b'"', lines=True)
_APOSTROPHES = _string(b"'")
_BACKTICKS = _string(b"`", lines=True)
_RAW_BACKTICKS = _string(b"`", escape=b"", lines=True)
# Doubled quotes inside need no rule of their own: the string ends and begins again.
_PLAIN_QUOTES = _string(b'"', escape=b"")
_PLAIN_APOSTROPHES = _string(b"'", escape=b"")
_BRACKETS = tuple(Opener(kind=BRACKET, open=one) for one in (b"(", b"[", b"{", b")", b"]", b"}"))
_HASH = _line(b"#")
_HASH_APART = _line(b"#", where=APART)
_SEMICOLON = _line(b";")
_ML_BLOCK = _block(b"(*", b"*)", nested=True)
_MARKUP = _block(b"<!--", b"-->")

_C = _C_BLOCK + _SLASHES + _QUOTES + _CHARACTER
_CPP = (Opener(kind=RAW_CPP, open=b'R"'), *_C)
_JAVA = _C_BLOCK + _SLASHES + _TRIPLE + _QUOTES + _CHARACTER
_NESTING = _C_NESTED + _SLASHES + _TRIPLE + _QUOTES + _CHARACTER
_SCRIPT = _C_BLOCK + _SLASHES + _BACKTICKS + _QUOTES + _APOSTROPHES + _REGEX
_CSHARP = (
    _C_BLOCK + _SLASHES + _string(b'"""', escape=b"", lines=True)
    + tuple(Opener(kind=STRING, open=one, close=b'"', escape=b"", lines=True) for one in (b'@"', b'@$"', b'$@"'))
    + _QUOTES + _CHARACTER
)  # fmt: skip
_STYLES = _C_BLOCK + _SLASHES + _QUOTES + _APOSTROPHES
_PYTHON = _HASH + _TRIPLE + _TRIPLE_APOSTROPHES + _QUOTES + _APOSTROPHES + _BRACKETS
_SHELL = _HASH_APART + _QUOTES_LINES + _string(b"'", escape=b"", lines=True)
_HASHED = _HASH + _QUOTES + _APOSTROPHES
_LISP = _block(b"#|", b"|#", nested=True) + _SEMICOLON + _QUOTES_LINES
_HASKELL = (
    _block(b"{-", b"-}", nested=True) + _line(b"--", but=b"!#$%&*+./<=>?@\\^|~:") + _QUOTES + _CHARACTER
)
_SQL = _C_BLOCK + _line(b"--") + _PLAIN_APOSTROPHES + _PLAIN_QUOTES
_OCAML = _ML_BLOCK + _QUOTES_LINES + _CHARACTER
_PASCAL = _block(b"{", b"}") + _block(b"(*", b"*)") + _SLASHES + _PLAIN_APOSTROPHES
_ADA = _line(b"--") + _PLAIN_QUOTES + _CHARACTER
_BASIC = _line(b"'") + _line(b"REM", where=INDENTED, word=True) + _PLAIN_QUOTES
_FORTRAN = _line(b"!") + _PLAIN_QUOTES + _PLAIN_APOSTROPHES
_FORTRAN_FIXED = _line(b"C", b"c", b"*", where=FIRST) + _FORTRAN
_ASSEMBLY = _C_BLOCK + _line(b";", b"//") + _line(b"#", b"@", where=INDENTED) + _QUOTES + _CHARACTER
_PERCENT = _line(b"%") + _QUOTES
_TEX = _line(b"%")
_PERL = (
    _block(b"=pod", b"\n=cut", where=FIRST) + _block(b"=head", b"\n=cut", where=FIRST)
    + _block(b"=over", b"\n=cut", where=FIRST) + _block(b"=item", b"\n=cut", where=FIRST)
    + _block(b"=begin", b"\n=cut", where=FIRST) + _block(b"=encod", b"\n=cut", where=FIRST)
    + _HASH_APART + _QUOTES + _APOSTROPHES
)  # fmt: skip
_RUBY = (
    _block(b"=begin", b"\n=end", where=FIRST) + _HASH_APART + _QUOTES_LINES + _string(b"'", lines=True) + _REGEX
)  # fmt: skip
_PHP = (
    Opener(kind=OUTSIDE, open=b"?>", close=b"<?"), *_C_BLOCK, *_SLASHES, *_line(b"#", but=b"["),
    *_QUOTES_LINES, *_string(b"'", lines=True),
)  # fmt: skip
_RUST = (
    _C_NESTED + _SLASHES + (Opener(kind=RAW_HASHED, open=b"r#"), Opener(kind=RAW_HASHED, open=b'r"'))
    + _QUOTES_LINES + _CHARACTER
)  # fmt: skip
_LUA = (
    Opener(kind=LONG_BRACKET, open=b"--["), *_line(b"--"), Opener(kind=LONG_BRACKET, open=b"["),
    *_QUOTES, *_APOSTROPHES,
)  # fmt: skip
_MATLAB = _block(b"%{", b"%}", nested=True, where=INDENTED) + _line(b"%") + _PLAIN_QUOTES
_POWERSHELL = (
    _block(b"<#", b"#>")
    + _HASH_APART
    + _string(b'"', escape=b"`", lines=True)
    + _string(b"'", escape=b"", lines=True)
)
_D = _C_BLOCK + _block(b"/+", b"+/", nested=True) + _SLASHES + _RAW_BACKTICKS + _QUOTES_LINES + _CHARACTER
_COFFEE = (
    _block(b"###", b"###") + _HASH + _TRIPLE + _TRIPLE_APOSTROPHES + _QUOTES_LINES + _string(b"'", lines=True)
)
_HCL = _C_BLOCK + _line(b"//", b"#") + _QUOTES
_NIM = _block(b"#[", b"]#", nested=True) + _HASH + _TRIPLE + _QUOTES + _CHARACTER
_JULIA = _block(b"#=", b"=#", nested=True) + _HASH + _TRIPLE + _QUOTES_LINES + _CHARACTER + _BRACKETS
_COBOL = _line(b"*>") + _line(b"*", where=INDENTED) + _PLAIN_QUOTES + _PLAIN_APOSTROPHES
_PROLOG = _C_BLOCK + _line(b"%") + _QUOTES + _string(b"'")
_SMALLTALK = _block(b'"', b'"') + _PLAIN_APOSTROPHES
_FORTH = _line(b"\\ ", where=APART) + _block(b"( ", b")", where=APART)
_LEAN = _block(b"/-", b"-/", nested=True) + _line(b"--") + _QUOTES_LINES + _CHARACTER
_CMAKE = (Opener(kind=BLOCK, open=b"#[[", close=b"]]"), *_HASH, *_QUOTES_LINES)
_BATCH = _line(b"::", where=INDENTED) + _line(b"@REM", b"REM", where=INDENTED, word=True)
_INI = _line(b";", b"#", where=INDENTED)
_NIX = _C_BLOCK + _HASH + _QUOTES_LINES + _string(b"''", escape=b"", lines=True)

_FAMILIES: tuple[tuple[tuple[Opener, ...], str], ...] = (
    (
        _C,
        "AGS Script, AIDL, AngelScript, Bison, Bluespec, Boogie, C, Cap'n Proto, Circom, Dafny, GDShader, GLSL, "
        "HLSL, HolyC, ISPC, JFlex, Jison, Lex, Linker Script, LSL, Modelica, Monkey C, Motoko, nesC, Noir, "
        "NWScript, Objective-C, OpenCL, OpenSCAD, Pawn, Pro*C, Promela, QuakeC, Ragel, RenderScript, Rhai, "
        "ShaderLab, Slang, Slice, SourcePawn, SQF, Squirrel, Stan, SWIG, SystemVerilog, Tact, Verilog, XC, Yacc, "
        "YARA, Yul, ZenScript",
    ),
    (
        _CPP,
        "C++, Cuda, HIP, Metal, MQL4, MQL5, Objective-C++, Unified Parallel C, X10",
    ),
    (
        _JAVA,
        "Apex, AspectJ, Ballerina, Gradle, Groovy, Jasmin, Java, Java Server Pages, Nextflow, P4, Processing, "
        "Vala, Xtend",
    ),
    (
        _NESTING,
        "C3, Cadence, Cairo, Ceylon, Chapel, Dart, Fantom, Jai, Koka, Kotlin, Move, Odin, Pony, Reason, ReScript, "
        "Scala, SuperCollider, Sway, Swift, Wren",
    ),
    (
        _SCRIPT,
        "ActionScript, ANTLR, Cycript, Hack, Haxe, JavaScript, JSON with Comments, JSON5, PEG.js, QML, Qt Script, "
        "TSX, TypeScript, TypeSpec, UnrealScript",
    ),
    (
        _CSHARP,
        "C#",
    ),
    (
        _C_BLOCK + _SLASHES + _RAW_BACKTICKS + _QUOTES + _CHARACTER,
        "Gno, Go, Hare",
    ),
    (
        _C_BLOCK + _SLASHES + _QUOTES + _APOSTROPHES,
        "Bicep, Gosu, Kusto, Pike, Protocol Buffer, Sass, Solidity, V, WGSL",
    ),
    (
        _C_BLOCK + _line(b"//", b"#") + _QUOTES + _APOSTROPHES,
        "Jsonnet, Puppet, Thrift",
    ),
    (
        _STYLES,
        "Less, SCSS, Stylus",
    ),
    (
        _C_BLOCK + _QUOTES + _APOSTROPHES,
        "CSS, PostCSS",
    ),
    (
        _RUST,
        "Rust",
    ),
    (
        _SLASHES + _QUOTES + _CHARACTER,
        "CUE, Cypher, Gleam, MLIR, Pkl, Scilab, Smithy, Zig",
    ),
    (
        _PHP,
        "PHP",
    ),
    (
        _PYTHON,
        "Boo, Cython, GDScript, Mojo, NumPy, Python, Sage, Snakemake, Starlark, Vyper, Xonsh",
    ),
    (
        _SHELL,
        "Alpine Abuild, BitBake, Elvish, fish, Gentoo Ebuild, Gentoo Eclass, OpenRC runscript, Shell, Tcsh",
    ),
    (
        _HASHED,
        "Awk, Crystal, Earthly, Elixir, GAP, GDB, Gherkin, Gnuplot, GraphQL, jq, Just, Liquidsoap, Meson, "
        "Nginx, Nickel, NPM Config, Nushell, Open Policy Agent, Option List, QMake, R, Ren'Py, Ring, "
        "Salt, sed, Tcl, TOML, WDL, YAML, Zeek",
    ),
    (
        _line(b"#", where=INDENTED) + _QUOTES,
        "Dockerfile, EditorConfig, Git Attributes, Git Config, Ignore List, Java Properties",
    ),
    (
        _HASH_APART,
        "ApacheConf, GN, Makefile, Ninja, Procfile",
    ),
    (
        _RUBY,
        "Ruby",
    ),
    (
        _PERL,
        "Perl",
    ),
    (
        _LUA,
        "Lua, Luau, MoonScript, Teal, Terra",
    ),
    (
        _SQL,
        "HiveQL, PLpgSQL, PLSQL, SQL, SQLPL, TSQL",
    ),
    (
        _HASKELL,
        "Agda, Curry, Dhall, Elm, Frege, Haskell, Idris, PureScript",
    ),
    (
        _OCAML,
        "Isabelle, OCaml, Rocq Prover, Standard ML, Wolfram Language",
    ),
    (
        _ML_BLOCK + _SLASHES + _TRIPLE + _QUOTES_LINES + _CHARACTER,
        "F#, F*",
    ),
    (
        _LISP,
        "Common Lisp, Janet, NewLisp, Racket, Scheme",
    ),
    (
        _SEMICOLON + _QUOTES_LINES,
        "AutoHotkey, AutoIt, CLIPS, Clojure, Dune, Emacs Lisp, Fennel, Hy, Inno Setup, LFE, LLVM, NCL, "
        "NSIS, Papyrus, PDDL, Rebol, Red, SMT, WebAssembly",
    ),
    (
        _PASCAL,
        "Component Pascal, Modula-2, Oberon, Pascal",
    ),
    (
        _ADA,
        "Ada, VHDL",
    ),
    (
        _BASIC,
        "B4X, BASIC, BlitzBasic, Brightscript, FreeBASIC, QuickBASIC, VBA, VBScript, Visual Basic .NET, Visual "
        "Basic 6.0, Xojo",
    ),
    (
        _FORTRAN,
        "Fortran, Fortran Free Form",
    ),
    (
        _ASSEMBLY,
        "Assembly, Motorola 68K Assembly, RPC, Unix Assembly",
    ),
    (
        _PERCENT,
        "Erlang, LilyPond, Mercury, MiniZinc, PostScript",
    ),
    (
        _TEX,
        "BibTeX, BibTeX Style, TeX",
    ),
    (
        _MATLAB,
        "MATLAB",
    ),
    (
        _POWERSHELL,
        "PowerShell",
    ),
    (
        _D,
        "D",
    ),
    (
        _COFFEE,
        "CoffeeScript, LiveScript",
    ),
    (
        _HCL,
        "HCL",
    ),
    (
        _NIM,
        "Nim",
    ),
    (
        _JULIA,
        "Julia",
    ),
    (
        _COBOL,
        "COBOL",
    ),
    (
        _PROLOG,
        "Logtalk, Prolog",
    ),
    (
        _SMALLTALK,
        "Smalltalk",
    ),
    (
        _FORTH,
        "Forth",
    ),
    (
        _LEAN,
        "Lean, Lean 4",
    ),
    (
        _CMAKE,
        "CMake",
    ),
    (
        _BATCH,
        "Batchfile",
    ),
    (
        _INI,
        "Gettext Catalog, INI",
    ),
    (
        _NIX,
        "Nix",
    ),
    (
        _line(b'"', where=INDENTED),
        "Vim script",
    ),
    (
        _C_BLOCK + _line(b"*", where=INDENTED) + _QUOTES + _PLAIN_APOSTROPHES,
        "SAS",
    ),
    (
        _C_BLOCK + _SLASHES + _line(b"*", where=INDENTED) + _PLAIN_QUOTES,
        "Stata",
    ),
    (
        _line(b"*", where=FIRST) + _line(b'"') + _PLAIN_APOSTROPHES,
        "ABAP",
    ),
    (
        _block(b"--[[", b"]]") + _line(b"--") + _QUOTES,
        "AppleScript",
    ),
    (
        _line(b"--") + _QUOTES,
        "Alloy, Eiffel, LiveCode Script",
    ),
    (
        _MARKUP,
        "Ant Build System, HTML, HTML+ERB, Markdown, Maven POM, Svelte, SVG, Vue, XML, XSLT",
    ),
    (
        _ML_BLOCK + _PLAIN_QUOTES,
        "Modula-3",
    ),
)


def _table() -> Mapping[str, tuple[Opener, ...]]:
    return MappingProxyType({name: openers for openers, names in _FAMILIES for name in names.split(", ")})


SYNTAX = _table()
"""Language of the taxonomy -> its openers, in the order in which they are tried."""

DOCUMENTED = frozenset(
    name for name, openers in SYNTAX.items() if any(one.kind == BRACKET for one in openers)
)
"""Languages in which a statement that is nothing but a string is documentation."""
