"""Files with known languages that no rule, table or model of ours was made from: what `languages.py` measures on.

Three sets, each from a package of a registry, none in this repository:

- Pygments' example files (source archive of the Python package `pygments`, `tests/examplefiles/<lexer>/<file>`):
  real names, labelled with the lexer that they are an example of;
- Rouge's demos (Debian package `ruby-rouge`, `demos/<lexer>`): short, without names;
- Chroma's lexer tests (Debian package `golang-github-alecthomas-chroma-v2-dev`, `lexers/testdata/**.actual`): short,
  without names.

A lexer is a language of the taxonomy if its name or alias is one there, or if `SAME` says so; other lexers, and those that
are no language of files (sessions, logs, templates inside others), are left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.content.taxonomy import LANGUAGES

SAME = {
    "antlr-csharp": "ANTLR", "arduino": "C++", "aspx-cs": "ASP.NET", "aspx-vb": "ASP.NET", "asn1": "ASN.1",
    "basemake": "Makefile", "bat": "Batchfile", "bib": "BibTeX", "biml": "XML", "bsl": "1C Enterprise", "ca65": "Assembly",
    "cfc": "ColdFusion CFC", "cfm": "ColdFusion", "cfs": "ColdFusion", "control": "Debian Package Control File",
    "coq": "Rocq Prover", "csharp": "C#", "cu": "Cuda", "delphi": "Pascal", "dg": "", "docker": "Dockerfile", "dpatch": "Diff",
    "emacs-lisp": "Emacs Lisp", "fortranfixed": "Fortran", "fortran": "Fortran Free Form", "fsharp": "F#", "go-html-template": "Go Template",
    "go-text-template": "Go Template", "golo": "Golo", "groff": "Roff", "gas": "Unix Assembly", "hlsl": "HLSL", "html+php": "PHP",
    "iex": "", "igor": "IGOR Pro", "jsonld": "JSONLD", "js": "JavaScript", "lagda": "Literate Agda", "lcry": "Literate CoffeeScript",
    "llvm": "LLVM", "lhaskell": "Literate Haskell", "lidr": "Idris", "make": "Makefile", "mathematica": "Wolfram Language",
    "moocode": "Moocode", "nasm": "Assembly", "tasm": "Assembly", "objc": "Objective-C", "openedgeabl": "OpenEdge ABL",
    "octave": "MATLAB", "onesenterprise": "1C Enterprise", "php": "PHP", "phtml": "PHP", "postgresql": "SQL", "mysql": "SQL",
    "sqlite3": "", "powershell": "PowerShell", "properties": "Java Properties", "plpgsql": "PLpgSQL", "protobuf": "Protocol Buffer",
    "pypylog": "", "python2": "Python", "qbasic": "QuickBASIC", "rb": "Ruby", "rbcon": "", "reasonml": "Reason", "rnc": "RELAX NG",
    "rst": "reStructuredText", "s": "R", "splus": "R", "sml": "Standard ML", "spec": "RPM Spec", "systemd": "INI", "systemverilog": "SystemVerilog",
    "tads3": "TADS", "terraform": "HCL", "text": "Text", "trac-wiki": "", "treetop": "", "ts": "TypeScript", "tsql": "TSQL",
    "vb.net": "Visual Basic .NET", "vbnet": "Visual Basic .NET", "vbscript": "VBScript", "velocity": "Velocity Template Language",
    "vim": "Vim script", "viml": "Vim script", "vue": "Vue", "wdiff": "Diff", "x10": "X10", "xquery": "XQuery", "xul+mozpreproc": "XML",
    "css+mozpreproc": "", "javascript+mozpreproc": "", "console": "", "doscon": "", "psysh": "", "pycon": "", "py2tb": "", "pytb": "",
    "cplint": "Prolog", "cpp": "C++", "restructuredtext": "reStructuredText", "tex": "TeX", "plaintext": "Text", "shell": "Shell",
    "jsp": "Java Server Pages", "digdag": "YAML", "praat": "Praat", "prometheus": "", "irb": "", "irb_output": "", "escape": "",
    "console_output": "", "batchfile": "Batchfile", "objective_c": "Objective-C", "objective_cpp": "Objective-C++", "bsd": "",
    "conf": "", "diff": "Diff", "jsonnet": "Jsonnet", "nginx": "Nginx", "apache": "ApacheConf", "vb": "Visual Basic .NET",
    "common_lisp": "Common Lisp", "emacs_lisp": "Emacs Lisp", "literate_coffeescript": "Literate CoffeeScript",
    "literate_haskell": "Literate Haskell", "m68k": "Motorola 68K Assembly", "armasm": "Assembly", "ruby": "Ruby", "rescript": "ReScript",
    "varnish": "VCL", "xojo": "Xojo", "bash": "Shell", "bashsession": "ShellSession", "csharp_aspnet": "", "json-doc": "", "json_doc": "",
    "datastudio": "", "hylang": "Hy", "lasso": "Lasso", "mxml": "XML", "magik": "Magik", "minizinc": "MiniZinc", "ocl": "OCL",
    "powerquery": "Power Query", "puppet": "Puppet", "robot_framework": "RobotFramework", "sas": "SAS", "svelte": "Svelte",
    "tsx": "TSX", "turtle": "Turtle", "yang": "YANG", "hcl": "HCL", "hack": "Hack", "handlebars": "Handlebars", "html": "HTML",
    "liquid": "Liquid", "isbl": "", "mosel": "", "http": "HTTP", "wat": "WebAssembly", "graphviz": "Graphviz (DOT)", "pov": "POV-Ray SDL",
    "modula2": "Modula-2", "clojurescript": "Clojure", "wowtoc": "World of Warcraft Addon Data", "zone": "DNS Zone", "pkgconfig": "pkg-config",
    "gcode": "G-code", "pig": "PigLatin", "ragel-cpp": "Ragel", "jsx": "JavaScript", "dns": "DNS Zone", "monkeyc": "Monkey C", "cfscript": "ColdFusion CFC", "jsl": "", "plist": "XML Property List",
}  # fmt: skip
"""Lexer -> language, where names differ; "" is no language of files."""

MIN_BYTES = 64
"""Shorter files are left out: most are one-line tests of a lexer that nobody could tell apart."""

_NAMES = {alias.lower(): one.name for one in reversed(LANGUAGES.values()) for alias in one.aliases} | {
    name.lower(): name for name in LANGUAGES
}


@dataclass(frozen=True)
class Labelled:
    """One file: `name` is empty where only its text is known."""

    path: str
    name: bytes
    text: bytes
    language: str


def language_of(lexer: str) -> str | None:
    """The language of a lexer's name or alias, or None."""
    lexer = lexer.lower()
    if lexer in SAME:
        return SAME[lexer] if SAME[lexer] in LANGUAGES else None
    for spelling in (lexer, lexer.replace("_", " "), lexer.replace("-", " "), lexer.replace("_", "-")):
        if spelling in _NAMES:
            return _NAMES[spelling]
    return None


def _labelled(files: list[tuple[str, Path]], *, named: bool) -> tuple[list[Labelled], list[str]]:
    kept, left_out = [], []
    for lexer, path in files:
        language = language_of(lexer)
        text = path.read_bytes()
        if language is None or len(text) < MIN_BYTES or b"\0" in text:
            left_out.append(f"{lexer}/{path.name}")
        else:
            name = path.name.encode() if named else b""
            kept.append(Labelled(f"{lexer}/{path.name}", name, text, language))
    return kept, left_out


def pygments_examples(folder: Path) -> tuple[list[Labelled], list[str]]:
    """The example files of an unpacked source archive of Pygments, and those left out."""
    root = folder / "tests" / "examplefiles"
    files = [(path.parent.name, path) for path in sorted(root.glob("*/*")) if path.suffix != ".output"]
    return _labelled([one for one in files if one[1].is_file()], named=True)


def rouge_demos(folder: Path) -> tuple[list[Labelled], list[str]]:
    """The demos of an unpacked Debian package of Rouge, and those left out."""
    files = [(path.name, path) for path in sorted(folder.glob("**/demos/*"))]
    return _labelled(files, named=False)


def chroma_tests(folder: Path) -> tuple[list[Labelled], list[str]]:
    """The inputs of the lexer tests of an unpacked Debian package of Chroma, and those left out."""
    files = []
    for root in sorted(folder.rglob("testdata")):
        for path in sorted(root.rglob("*.actual")):
            inner = path.relative_to(root).parts
            lexer = inner[0] if len(inner) > 1 else path.name.removesuffix(".actual")
            files.append((lexer, path))
    return _labelled(files, named=False)
