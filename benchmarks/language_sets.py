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
    "antlr-csharp": "ANTLR", "apache": "ApacheConf", "arduino": "C++", "armasm": "Assembly", "asn1": "ASN.1",
    "aspx-cs": "ASP.NET", "aspx-vb": "ASP.NET", "basemake": "Makefile", "bash": "Shell", "bashsession": "ShellSession",
    "bat": "Batchfile", "batchfile": "Batchfile", "bib": "BibTeX", "biml": "XML", "bsd": "", "bsl": "1C Enterprise",
    "ca65": "Assembly", "cfc": "ColdFusion CFC", "cfm": "ColdFusion", "cfs": "ColdFusion", "cfscript": "ColdFusion CFC",
    "clojurescript": "Clojure", "common_lisp": "Common Lisp", "conf": "", "console": "", "console_output": "",
    "control": "Debian Package Control File", "coq": "Rocq Prover", "cplint": "Prolog", "cpp": "C++", "csharp": "C#",
    "csharp_aspnet": "", "css+mozpreproc": "", "cu": "Cuda", "datastudio": "", "delphi": "Pascal", "dg": "", "diff": "Diff",
    "digdag": "YAML", "dns": "DNS Zone", "docker": "Dockerfile", "doscon": "", "dpatch": "Diff", "emacs-lisp": "Emacs Lisp",
    "emacs_lisp": "Emacs Lisp", "escape": "", "fortran": "Fortran Free Form", "fortranfixed": "Fortran", "fsharp": "F#",
    "gas": "Unix Assembly", "gcode": "G-code", "go-html-template": "Go Template", "go-text-template": "Go Template",
    "golo": "Golo", "graphviz": "Graphviz (DOT)", "groff": "Roff", "hack": "Hack", "handlebars": "Handlebars", "hcl": "HCL",
    "hlsl": "HLSL", "html": "HTML", "html+php": "PHP", "http": "HTTP", "hylang": "Hy", "iex": "", "igor": "IGOR Pro",
    "irb": "", "irb_output": "", "isbl": "", "javascript+mozpreproc": "", "js": "JavaScript", "jsl": "", "json-doc": "",
    "json_doc": "", "jsonld": "JSONLD", "jsonnet": "Jsonnet", "jsp": "Java Server Pages", "jsx": "JavaScript",
    "lagda": "Literate Agda", "lasso": "Lasso", "lcry": "Literate CoffeeScript", "lhaskell": "Literate Haskell",
    "lidr": "Idris", "liquid": "Liquid", "literate_coffeescript": "Literate CoffeeScript",
    "literate_haskell": "Literate Haskell", "llvm": "LLVM", "m68k": "Motorola 68K Assembly", "magik": "Magik",
    "make": "Makefile", "mathematica": "Wolfram Language", "minizinc": "MiniZinc", "modula2": "Modula-2",
    "monkeyc": "Monkey C", "moocode": "Moocode", "mosel": "", "mxml": "XML", "mysql": "SQL", "nasm": "Assembly",
    "nginx": "Nginx", "objc": "Objective-C", "objective_c": "Objective-C", "objective_cpp": "Objective-C++", "ocl": "OCL",
    "octave": "MATLAB", "odin": "Object Data Instance Notation", "onesenterprise": "1C Enterprise",
    "openedgeabl": "OpenEdge ABL", "php": "PHP", "phtml": "PHP", "pig": "PigLatin", "pkgconfig": "pkg-config",
    "plaintext": "Text", "plist": "XML Property List", "plpgsql": "PLpgSQL", "postgresql": "SQL", "pov": "POV-Ray SDL",
    "powerquery": "Power Query", "powershell": "PowerShell", "praat": "Praat", "prometheus": "",
    "properties": "Java Properties", "protobuf": "Protocol Buffer", "psysh": "", "puppet": "Puppet", "py2tb": "",
    "pycon": "", "pypylog": "", "pytb": "", "python2": "Python", "qbasic": "QuickBASIC", "ragel-cpp": "Ragel", "rb": "Ruby",
    "rbcon": "", "reasonml": "Reason", "rescript": "ReScript", "restructuredtext": "reStructuredText", "rnc": "RELAX NG",
    "robot_framework": "RobotFramework", "rst": "reStructuredText", "ruby": "Ruby", "s": "R", "sas": "SAS", "shell": "Shell",
    "sml": "Standard ML", "spec": "RPM Spec", "splus": "R", "sqlite3": "", "svelte": "Svelte", "systemd": "INI",
    "systemverilog": "SystemVerilog", "tads3": "TADS", "tasm": "Assembly", "terraform": "HCL", "tex": "TeX", "text": "Text",
    "trac-wiki": "", "treetop": "", "ts": "TypeScript", "tsql": "TSQL", "tsx": "TSX", "turtle": "Turtle", "varnish": "VCL",
    "vb": "Visual Basic .NET", "vb.net": "Visual Basic .NET", "vbnet": "Visual Basic .NET", "vbscript": "VBScript",
    "velocity": "Velocity Template Language", "vim": "Vim script", "viml": "Vim script", "vue": "Vue", "wat": "WebAssembly",
    "wdiff": "Diff", "wowtoc": "World of Warcraft Addon Data", "x10": "X10", "xojo": "Xojo", "xquery": "XQuery",
    "xul+mozpreproc": "XML", "yang": "YANG", "zone": "DNS Zone",
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
