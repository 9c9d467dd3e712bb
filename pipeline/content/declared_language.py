"""The language that a file itself names: an editor's mode line, or the interpreter of its `#!` line."""

from __future__ import annotations

import re

from pipeline.content.ambiguous import INTERPRETERS
from pipeline.content.taxonomy import BY_INTERPRETER, LANGUAGES

SAYS_SO = r"\A(#!|([^\n]*\n){0,4}[^\n]*(-\*-|\b(vim?|ex):))"
"""RE2: whether there may be a mode line in the first five lines, or a `#!` line."""

_EMACS = re.compile(rb"-\*-[ \t]*(?:[^\n]*?\bmode:[ \t]*)?([\w+#-]+)[ \t]*(?:;[^\n]*?)?-\*-", re.IGNORECASE)
_VIM = re.compile(rb"\b(?:vim?|ex):[^\n]*?\b(?:ft|filetype|syntax)=([\w+#-]+)", re.IGNORECASE)

_BY_ALIAS = {
    alias.lower().encode(): name
    for name, language in reversed(LANGUAGES.items())
    for alias in (name.replace(" ", "-"), *language.aliases)
} | {name.lower().encode(): name for name in LANGUAGES}


def mode_line_language(head: bytes, candidates: tuple[str, ...] = ()) -> str | None:
    """The language that an editor's mode line in the first five lines names, as `shebang_language`."""
    first = b"\n".join(head[:1024].split(b"\n", 5)[:5])
    for pattern in (_EMACS, _VIM):
        found = pattern.search(first)
        language = _BY_ALIAS.get(found.group(1).lower()) if found else None
        if language is not None and (not candidates or language in candidates):
            return language
    return None


_SHEBANG = re.compile(rb"#![ \t]*([^\s]+)([^\r\n]*)")
_ENV_OPTION = re.compile(rb"-[^\s]*|[A-Za-z_]\w*=[^\s]*")
_VERSION = re.compile(rb"-?[0-9][0-9.]*\Z")
_EXEC = re.compile(rb"(?m)^[ \t]*exec[ \t]+([\w./+-]+)[^\n]*\$0")


def shebang_language(head: bytes, candidates: tuple[str, ...] = ()) -> str | None:
    """The language that the `#!` line names: one of the candidates, or any if there are none; else None.

    `env` and its options are looked through, versions are cut off (`python3.11`), and a shell script that
    at once replaces itself (`exec wish "$0"`) is what it becomes.
    """
    found = _SHEBANG.match(head[:512])
    if found is None:
        return None
    words = [found.group(1), *found.group(2).split()]
    program = _base(words[0])
    if program == b"env":
        words = [word for word in words[1:] if not _ENV_OPTION.fullmatch(word)]
        program = _base(words[0]) if words else b""
    if program in (b"sh", b"bash", b"ksh", b"dash"):
        becomes = _EXEC.search(b"\n".join(head[:2048].split(b"\n")[1:5]))
        languages = _interpreted(_base(becomes.group(1))) if becomes else ()
        if not languages:
            languages = _interpreted(program)
    else:
        languages = _interpreted(program)
    fitting = [language for language in languages if not candidates or language in candidates]
    return fitting[0] if fitting else None


def _base(word: bytes) -> bytes:
    return word.rpartition(b"/")[2]


def _interpreted(program: bytes) -> tuple[str, ...]:
    """Languages of an interpreter, our choice first."""
    for name in (program, _VERSION.sub(b"", program)):
        if name in BY_INTERPRETER:
            first = INTERPRETERS.get(name)
            rest = (one for one in BY_INTERPRETER[name] if one != first)
            return (first, *rest) if first else tuple(rest)
    return ()
