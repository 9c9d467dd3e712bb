"""The comments at the start of a source file: where a file says under which license it stands.

A header is what comes before the code. Read are the leading lines of a file, as long as they are comments in any of
the usual languages, blank, or lines that may stand above or between them: a shebang, an XML declaration, `<?php`,
includes and imports, `package x;`, include guards, "use strict", markup. The first other line ends the header, so what
code, its strings and its calls say of licenses is not heard: a text of the GPL in a test, or a call `gpl()`. Python's
`__license__ = "..."` among these lines is a statement like a comment.

The language need not be known: which mark opens a comment is told by the line itself. Everything else, and the marks
themselves, become spaces, so a position in the result is the position in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BLOCKS = (
    (r"/\*", r"\*/"),  # C, Java, JavaScript, Go, Rust, CSS, PHP, Swift, Kotlin, Scala, SQL
    (r"<!--", r"-->"),  # HTML, XML, Markdown
    (r'(?:__(?:license|copyright)__\s*=\s*)?[rRuUbB]{0,2}"""', r'"""'),  # doc strings: Python, Julia, Elixir
    (r"(?:__(?:license|copyright)__\s*=\s*)?[rRuUbB]{0,2}'''", r"'''"),
    (r"\(\*", r"\*\)"),  # OCaml, F#, Pascal, Mathematica
    (r"\{-", r"-\}"),  # Haskell, Elm
    (r"--\[=*\[", r"\]=*\]"),  # Lua
    (r"=(?:begin|pod|head[1-6]|encoding)\b", r"^=(?:end|cut)\b"),  # Ruby, Perl
    (r"\{\{!--", r"--\}\}"),  # Handlebars
    (r"\{\{-?[ ]?/\*", r"\*/[ ]?-?\}\}"),  # Go templates
    (r"\{%-?[ ]*comment\b[^%\n]*%\}", r"\{%-?[ ]*endcomment[ ]*-?%\}"),  # Django, Liquid
    (r"\{#", r"#\}"),  # Jinja, Twig
    (r"<%(?:--|#)", r"%>"),  # JSP, ASP, ERB
    (r"/\+(?=[+\s])", r"\+/"),  # D
    (r"@\*", r"\*@"),  # Razor
)
"""What opens a comment, and what closes it; one that is not closed reaches to the end of what is read."""

_CLOSED_BLOCKS = (
    (r"###(?=[ \t]*$)", r"^[ \t]*###(?!#)"),  # CoffeeScript
    (r"#\|", r"\|#"),  # Lisp, Racket
    (r"#=(?!=)", r"=#"),  # Julia
    (r"%\{(?=[ \t]*$)", r"^[ \t]*%\}"),  # MATLAB
    (r"<#(?=\s)", r"#>"),  # PowerShell
    (r"\{\*", r"\*\}"),  # Smarty
    (
        r"\{(?![{%$#@\\*\-])(?!\s*[\"'\]}])(?!\s*[\w$]+\s*[:(=,;.])",
        r"\}",
    ),  # Pascal, but no object and no code
)
"""The same where the mark may mean something else: a comment only if it is closed within what is read."""

_LINE = (
    r"//",
    r"#(?!(?:include|define|undef|if|ifdef|ifndef|elif|else|endif|error|warning|pragma|region|endregion|import|using)\b)"
    r"(?!!?\[)(?![\w-]+[^\n]*[{,][ \t]*(?:\n|\Z))",  # no directive of C or C#, no attribute of Rust, no selector of CSS
    r"--", r";", r"%", r"!", r"\.\.(?=\s)", r"\.?\\\"", r"'\\\"",
    r"'(?!.*(?:'\W|'$|\W'))", r'"(?!.*")',  # Visual Basic, Vim; no string
    r"(?i:@?rem|dnl|@c|@comment)(?=\s)", r"::(?=\s)", r"NB\.", r"(?:(?<=\n)|\A)(?:[\d ]{6})?\*(?=[\s*])", r"\\(?=\s)",
)  # fmt: skip
"""What opens a comment that ends with its line."""

_FORTRAN = re.compile(r"[cC*!](?=[\s*=-])")
_FORTRAN_LINE = re.compile(r"(?<=\n)[cC](?=[\s*=-])")
"""A `C` in the first column, if the file begins with such a line."""

_PASSED = re.compile(
    r"(?:\ufeff|<\?(?:php|hh)?(?=\s)|<\?xml[^>\n]*>)"  # a comment may follow in the same line
    r"|(?:"
    r"</?[!?a-zA-Z][^\n]*"  # markup
    r"|#[^\n]*"  # directives; what is a comment was taken before
    r"|(?:package|import|from|use|using|namespace|module|library|extern|export|require|include|open|declare|@charset|@import"
    r"|@use|@file|@echo|set|syntax|option|pragma|cmake_minimum_required|project|source|load|library|mod)\b[^\n]*"
    r"|(?:const|let|var|local|my)\s[^\n]*\b(?:require|import)\b[^\n]*"
    r"|\\(?:documentclass|usepackage|input|ProvidesPackage|NeedsTeXFormat|ProvidesFile)\b[^\n]*"
    r"|-(?:module|export|include|behaviou?r|compile)\([^\n]*"
    r"|[\"']use [a-z]+[\"'];?"
    r"|__\w+__\s*=[^\n]*"
    r"|[(\[{;!)\]}]*(?:function|define)?\s*\([^\n]{0,60}\{"  # the wrapper around a script
    r")[ \t\r]*(?:\n|$)"
)
"""What may stand above and between the comments of a header."""

_LICENSE_OF_MODULE = re.compile(r"__(?:license|licence|copyright)__\s*=\s*([\"'])(.*?)\1")
_SPACE = re.compile(r"\s+")
_OPEN_LIST = re.compile(r"[(\[]\s*\Z")
_LIST_END = re.compile(r"^[)\]][^\n]*", re.MULTILINE)


def _numbered(blocks: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str], tuple[re.Pattern[str], ...]]:
    opened = "|".join(f"({opening})" for opening, _ in blocks)
    return re.compile(opened, re.MULTILINE), tuple(re.compile(c, re.MULTILINE) for _, c in blocks)


_OPEN, _CLOSE = _numbered(_BLOCKS)
_MAYBE_OPEN, _MAYBE_CLOSE = _numbered(_CLOSED_BLOCKS)
_LINE_MARK = re.compile("|".join(_LINE))


def header_text(head: str) -> str:
    """The comments at the start of `head`, in a text of their extent where all else is spaces; "" without any.

    Line ends stay where they are. Work is linear in the length of `head`, which the caller bounds.
    """
    parts: list[str] = []
    at = 0
    for start, end in _comments(head):
        parts.append(_blank(head[at:start]))
        parts.append(head[start:end])
        at = end
    return "".join(parts)


def _blank(text: str) -> str:
    return "\n".join(" " * len(line) for line in text.split("\n"))


def _comments(head: str) -> Iterator[tuple[int, int]]:
    """The inner parts of the comments, by position."""
    at = 0
    fortran = _FORTRAN.match(head, len(head) - len(head.lstrip())) is not None
    while at < len(head):
        if at == 0 and head.startswith("#!"):
            at = _line_end(head, at)
        elif space := _SPACE.match(head, at):
            at = space.end()
        elif (mark := _OPEN.match(head, at)) is not None and mark.lastindex:
            closing = _CLOSE[mark.lastindex - 1].search(head, mark.end())
            end = closing.start() if closing else len(head)
            yield mark.end(), end
            at = closing.end() if closing else end
            if closing and head.startswith("=", closing.start()):
                at = _line_end(head, at)
        elif (
            (mark := _MAYBE_OPEN.match(head, at)) is not None
            and mark.lastindex
            and (closing := _MAYBE_CLOSE[mark.lastindex - 1].search(head, mark.end()))
        ):
            yield mark.end(), closing.start()
            at = closing.end()
        elif mark := (_LINE_MARK.match(head, at) or (_FORTRAN_LINE.match(head, at) if fortran else None)):
            end = _line_end(head, at)
            if mark.group() == "..":
                end = _indented_end(head, at, end)
            yield mark.end(), end
            at = end
        elif passed := _PASSED.match(head, at):
            if statement := _LICENSE_OF_MODULE.match(head, at):
                yield at, statement.end()
            at = _bracketed_end(head, passed.end()) if _OPEN_LIST.search(passed.group()) else passed.end()
        elif fortran and _FORTRAN.match(head, at):
            end = _line_end(head, at)
            yield at + 1, end
            at = end
        else:
            return


def _line_end(head: str, at: int) -> int:
    end = head.find("\n", at)
    return len(head) if end < 0 else end


def _bracketed_end(head: str, at: int) -> int:
    """Behind a list of several lines, such as that of names to import; where none ends, nowhere else."""
    closing = _LIST_END.search(head, at)
    return closing.end() if closing else at


def _indented_end(head: str, at: int, end: int) -> int:
    """Where the block of a reStructuredText comment ends: with the first line that is not indented more than it."""
    indent = at - (head.rfind("\n", 0, at) + 1)
    while end < len(head):
        following = _line_end(head, end + 1)
        line = head[end + 1 : following]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        end = following
    return end
