"""The language of a file: what its name says, decided by its content where the name leaves several.

Steps, the first that decides wins:

1. the name class as a file name (`Makefile`), then as an extension, longest first (`.html.erb`, `.erb`);
2. where that leaves several languages: an editor's mode line (`-*- C++ -*-`, `vim: ft=perl`) or the `#!` line
   if it names one of them, then the rules of data/ambiguous.toml on the head of the file, then the choice
   made there;
3. where it leaves none: the mode line, the `#!` line, an XML declaration.

The answer is a name of Linguist's taxonomy (taxonomy.py), or null: unknown. It depends on the name class
and the first `HEAD_BYTES` bytes only.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.buffers import heads_of
from pipeline.content.names import TEXT_CLASSES, TEXT_NAMES, name_class
from pipeline.content.taxonomy import (
    BY_EXTENSION,
    BY_FILENAME,
    BY_INTERPRETER,
    LANGUAGES,
    TAXONOMY_DIGEST,
    named,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

HEAD_BYTES = 16_384
"""How much of a file the rules see. Linguist looks at 51,200; what tells languages apart comes early."""

_RULES_FILE = Path(__file__).parent / "data" / "ambiguous.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """How a name class is decided. `primary` is the answer without content; None is unknown."""

    primary: str | None
    candidates: tuple[str, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()
    """(language, RE2 pattern), in order."""
    otherwise: str | None = None
    """The answer if there is content and no rule fits."""


_UNKNOWN = Choice(primary=None)


def _load() -> tuple[Mapping[bytes, Choice], Mapping[bytes, str], str]:
    data = _RULES_FILE.read_bytes()
    tables = tomllib.loads(data.decode())
    shared = tables["patterns"]
    choices: dict[bytes, Choice] = {}
    for entry in tables["name"]:
        rules = []
        for language, *patterns in entry.get("rules", ()):
            full = (shared[pattern[1:]] if pattern.startswith("@") else pattern for pattern in patterns)
            rules.append((language, "(?m)" + "|".join(f"(?:{pattern})" for pattern in full)))
        otherwise = entry.get("otherwise", entry["primary"]) or None
        for name in entry["names"]:
            key = name.encode()
            choices[key] = Choice(
                primary=entry["primary"],
                candidates=BY_FILENAME.get(key) or BY_EXTENSION[key],
                rules=tuple(rules),
                otherwise=otherwise,
            )
    interpreters = {name.encode(): language for name, language in tables["interpreters"].items()}
    return choices, interpreters, hashlib.sha256(data).hexdigest()


AMBIGUOUS, _INTERPRETERS, _RULES_DIGEST = _load()
"""Ambiguous extension or file name -> how it is decided (data/ambiguous.toml)."""

LANGUAGES_DIGEST = hashlib.sha256(f"{TAXONOMY_DIGEST} {_RULES_DIGEST} {HEAD_BYTES}".encode()).hexdigest()
"""Changes when the tables change; the code's own digest is the engine's business."""


@lru_cache(maxsize=1 << 16)
def choice(class_: bytes) -> Choice:
    """What a name class alone says."""
    key, languages = named(class_)
    if len(languages) == 1:
        return Choice(primary=languages[0], otherwise=languages[0])
    if languages:
        return AMBIGUOUS[key]
    if class_ in TEXT_NAMES or class_ in TEXT_CLASSES:
        return Choice(primary="Text", otherwise="Text")
    return _UNKNOWN


def needs_content(name_classes: pa.BinaryArray) -> pa.BooleanArray:
    """Whether the answer may depend on the head of the file."""
    encoded = name_classes.cast(pa.binary()).dictionary_encode()
    wanted = [_open(choice(one)) for one in encoded.dictionary.to_pylist()]
    return pa.array(wanted, pa.bool_()).take(encoded.indices)


def _open(one: Choice) -> bool:
    return one.primary is None or bool(one.rules) or one.otherwise != one.primary


def detect(name_classes: pa.BinaryArray, heads: pa.LargeBinaryArray | None = None) -> pa.StringArray:
    """The language of every file; null where it is unknown.

    `name_classes` as names.name_class makes them; `heads` are the files' texts (UTF-8) or their first
    bytes, of which `HEAD_BYTES` are looked at. Where `heads` or a row of it is null, the name alone
    decides.
    """
    encoded = name_classes.cast(pa.binary()).dictionary_encode()
    choices = [choice(one) for one in encoded.dictionary.to_pylist()]
    classes = encoded.indices.fill_null(len(choices)).to_numpy(zero_copy_only=False)
    answers = np.array([*(one.primary for one in choices), None], object)[classes]
    if heads is not None:
        heads = heads.cast(pa.large_binary())
        seen = heads.is_valid().to_numpy(zero_copy_only=False)
        order = np.argsort(classes, kind="stable")
        starts = np.searchsorted(classes[order], np.arange(len(choices) + 1))
        for at, one in enumerate(choices):
            rows = order[starts[at] : starts[at + 1]]
            rows = rows[seen[rows]]
            if _open(one) and rows.size:
                answers[rows] = _by_content(one, heads_of(heads, rows, HEAD_BYTES))
    return pa.array(answers, pa.string())


def _by_content(one: Choice, heads: pa.LargeBinaryArray) -> np.ndarray:
    """The languages of files of one name class, from their heads."""
    answers = np.full(len(heads), one.otherwise, object)
    undecided = np.ones(len(heads), bool)
    says_so = pc.match_substring_regex(heads, pattern=_SAYS_SO).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(says_so).tolist():
        head = heads[row].as_py()
        language = mode_line_language(head, one.candidates) or shebang_language(head, one.candidates)
        if language is not None:
            answers[row], undecided[row] = language, False
    rules = one.rules if one.primary is not None else _WITHOUT_NAME
    for language, pattern in rules:
        if not undecided.any():
            break
        rows = np.flatnonzero(undecided)
        some = heads if rows.size == len(heads) else heads.take(pa.array(rows))
        fits = rows[pc.match_substring_regex(some, pattern=pattern).to_numpy(zero_copy_only=False)]
        answers[fits], undecided[fits] = language, False
    return answers


_WITHOUT_NAME = (("XML", r"\A(\xEF\xBB\xBF)?<\?xml version="),)

# A mode line in the first five lines, or a `#!` line.
_SAYS_SO = r"\A(#!|([^\n]*\n){0,4}[^\n]*(-\*-|\b(vim?|ex):))"
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
            first = _INTERPRETERS.get(name)
            rest = (one for one in BY_INTERPRETER[name] if one != first)
            return (first, *rest) if first else tuple(rest)
    return ()


# --------------------------------------------------------------------------------------------------------


_TREE_BATCH = 1024  # files; bounds memory to 16 MB of heads


def language_of_tree(
    paths: Iterable[bytes], read_head: Callable[[bytes], bytes]
) -> Iterator[dict[str, bytes | str | None]]:
    """`{"path": bytes, "language": str or None}` for every path, in order.

    `read_head(path)` returns at least the first `HEAD_BYTES` bytes of the file (or all of it) and is
    called once per path. Files with a NUL byte in their head (no byte order mark of a wider encoding
    before it) have no language, as in a release.
    """
    batch: list[bytes] = []
    for path in paths:
        batch.append(path)
        if len(batch) == _TREE_BATCH:
            yield from _languages_of(batch, read_head)
            batch = []
    yield from _languages_of(batch, read_head)


def _languages_of(
    paths: list[bytes], read_head: Callable[[bytes], bytes]
) -> Iterator[dict[str, bytes | str | None]]:
    heads = [_head_text(read_head(path)[:HEAD_BYTES]) for path in paths]
    classes = name_class(pa.array(paths, pa.large_binary()))
    known = detect(classes, pa.array([head or b"" for head in heads], pa.large_binary())).to_pylist()
    for path, head, language in zip(paths, heads, known, strict=True):
        yield {"path": path, "language": None if head is None else language}


_WIDE = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


def _head_text(head: bytes) -> bytes | None:
    """The head as the rules want it (ASCII as ASCII, no mark), or None for binary."""
    for mark, encoding in _WIDE:
        if head.startswith(mark):
            head = head[len(mark) :].decode(encoding, "ignore").encode()
            break
    return None if b"\0" in head else head.removeprefix(b"\xef\xbb\xbf")
