"""Does code that parsed still parse when its secrets are replaced?  Files before and after, by language.

    python benchmarks/redaction_syntax.py [FOLDER ...] [--files 300] [--found] [--seed 0]

Without FOLDER: the installed Python packages.  By default values of every kind are **planted** at real places of real files
(inside strings and comments, as numbers, as values of configuration, in text and attributes of markup, in shell commands; also
spans that begin or end inside an escape, as the keyword rules give them), the spans handed to `pii.redact`, and both replacements
tried.  `--found` redacts what `pii.scan` finds at `high` in the files as they are.  A file counts if it parses before; parsers:
tree-sitter's grammars (no error anywhere), and `ast`, `json`, PyYAML, `tomllib`, expat, `configparser`, `bash -n`.
Prints a table; exit status 1 if less than 99.9 % still parse.  No value is printed.
"""

from __future__ import annotations

import argparse
import ast
import base64
import configparser
import importlib
import json
import random
import re
import string
import subprocess
import sys
import sysconfig
import tomllib
import warnings
import xml.parsers.expat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from tree_sitter import Language, Parser

from pii import Settings, redact_one, scan_one
from pii.replacements import Replacement

LARGEST = 150_000  # bytes of a file

EXTENSIONS = {
    ".c": "C", ".h": "C", ".cpp": "C++", ".cc": "C++", ".hpp": "C++", ".cs": "C#", ".go": "Go", ".java": "Java",
    ".js": "JavaScript", ".jsx": "JavaScript", ".mjs": "JavaScript", ".php": "PHP", ".py": "Python", ".rb": "Ruby", ".rs": "Rust",
    ".ts": "TypeScript", ".tsx": "TSX", ".json": "JSON", ".yaml": "YAML", ".yml": "YAML", ".toml": "TOML", ".xml": "XML",
    ".svg": "XML", ".ini": "INI", ".cfg": "INI", ".sh": "Shell", ".env": "Shell",
}  # fmt: skip
_GRAMMARS = {
    "C": "c", "C++": "cpp", "C#": "c_sharp", "Go": "go", "Java": "java", "JavaScript": "javascript", "PHP": "php:language_php",
    "Python": "python", "Ruby": "ruby", "Rust": "rust", "TypeScript": "typescript:language_typescript",
    "TSX": "typescript:language_tsx",
}  # fmt: skip
CODE = tuple(_GRAMMARS)

Span = tuple[int, int, str, str]
_parsers: dict[str, Parser] = {}


def tree(language: str, text: bytes) -> Any:
    """The syntax tree of a text in one of `CODE`."""
    if language not in _parsers:
        module, _, function = _GRAMMARS[language].partition(":")
        grammar = importlib.import_module(f"tree_sitter_{module}")
        _parsers[language] = Parser(Language(getattr(grammar, function or "language")()))
    return _parsers[language].parse(text)


def _python(text: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ast.parse(text)


def _ini(text: bytes) -> None:
    configparser.RawConfigParser(strict=False).read_string(text.decode())


def _xml(text: bytes) -> None:
    xml.parsers.expat.ParserCreate().Parse(text, True)


def _yaml(text: bytes) -> None:
    for _ in yaml.compose_all(text.decode(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        pass


def _shell(text: bytes) -> None:
    subprocess.run(["bash", "-n"], input=text, check=True, capture_output=True)


_READERS: dict[str, Callable[[bytes], object]] = {
    "Python": _python, "JSON": json.loads, "YAML": _yaml, "TOML": lambda text: tomllib.loads(text.decode()), "XML": _xml,
    "INI": _ini, "Shell": _shell,
}  # fmt: skip
_ERRORS = (
    ValueError, SyntaxError, RecursionError, yaml.YAMLError, xml.parsers.expat.ExpatError, configparser.Error,
    subprocess.CalledProcessError,
)  # fmt: skip


def parses(language: str, text: bytes) -> bool:
    """Whether every parser that there is for the language takes the text without an error."""
    if language in CODE and tree(language, text).root_node.has_error:
        return False
    try:
        if language in _READERS:
            _READERS[language](text)
    except _ERRORS:
        return False
    return True


# --- values, assembled here: none is a credential ------------------------------------------------------------

_ALNUM = string.ascii_letters + string.digits


def _of(alphabet: str, length: int) -> Callable[[random.Random], str]:
    return lambda g: "".join(g.choices(alphabet, k=length))


def _pem(g: random.Random) -> str:
    rows = ["".join(g.choices(_ALNUM + "+/", k=64)) for _ in range(4)]
    name = "PRIVATE KEY"
    return "\\n".join([f"-----BEGIN {name}-----", *rows, f"-----END {name}-----"])


def _header(g: random.Random) -> str:
    return base64.urlsafe_b64encode(g.randbytes(60)).decode().rstrip("=")


VALUES: dict[str, tuple[Callable[[random.Random], str], ...]] = {
    "key": (_of(_ALNUM, 40), _of("0123456789abcdef", 32), _of(_ALNUM + "+/", 43), _header),
    "password": (_of(_ALNUM, 9), _of(_ALNUM + "!@#%^*()-_=+;:?,.~", 14)),
    "email": (lambda g: f"{_of(string.ascii_lowercase, 6)(g)}.x@{_of(string.ascii_lowercase, 8)(g)}.org",),
    "ip_address": (
        lambda g: ".".join(str(g.randint(11, 223)) for _ in range(4)),
        lambda g: f"2a0{g.randint(0, 9)}:4f8:c0c:{g.randint(1, 999)}::1",
    ),
    "phone": (lambda g: f"+49 30 {g.randint(100000, 999999)}", _of("23456789", 10)),
    "credit_card": (lambda g: " ".join(_of("23456789", 4)(g) for _ in range(4)), _of("3456789", 16)),
    "bank_account": (lambda g: "DE" + _of("23456789", 20)(g),),
    "national_id": (lambda g: f"{g.randint(100, 899)}-{g.randint(10, 99)}-{g.randint(1000, 9999)}",),
    "name": (lambda g: f"{_of(string.ascii_lowercase, 5)(g).title()} {_of(string.ascii_lowercase, 7)(g).title()}",),
    "private_key": (_pem,),
}  # fmt: skip


def _value(g: random.Random, kinds: tuple[str, ...] = tuple(VALUES)) -> tuple[str, str]:
    kind = g.choice(kinds)
    return kind, g.choice(VALUES[kind])(g)


# --- places ---------------------------------------------------------------------------------------------------

_CONTENT = re.compile(
    r"(?:string|interpreted_string_literal|raw_string_literal|raw_string|string_literal)_content|string_fragment|"
    r"multiline_string_fragment|heredoc_content|jsx_text"
)
_NUMBERS = frozenset(
    {"integer", "number", "number_literal", "integer_literal", "int_literal", "decimal_integer_literal"}
)

#: (start, end, new text, kind, span in the new text): what a place becomes.
Edit = tuple[int, int, str, str, tuple[int, int]]


def _leaves(text: bytes, language: str) -> list[tuple[str, int, int]]:
    """(what, start, end) of strings' contents, comments and decimal numbers."""
    out: list[tuple[str, int, int]] = []
    stack = [tree(language, text).root_node]
    while stack:
        node = stack.pop()
        if "comment" in node.type and "html" not in node.type:
            out.append(("comment", node.start_byte, node.end_byte))
        elif _CONTENT.fullmatch(node.type) and node.end_byte > node.start_byte:
            raw = text[node.start_byte - 1 : node.start_byte] != b'"' or "raw" in node.type
            out.append(("raw" if raw else "string", node.start_byte, node.end_byte))
        elif node.type in _NUMBERS and text[node.start_byte : node.end_byte].isdigit():
            out.append(("number", node.start_byte, node.end_byte))
        elif node.type not in ("system_lib_string", "preproc_arg"):
            stack.extend(node.children)
    return out


def _code(text: bytes, language: str, g: random.Random) -> Iterator[Edit]:
    for what, start, end in _leaves(text, language):
        kind, value = _value(g)
        if what == "number":
            kind, value = g.choice(("phone", "credit_card", "national_id")), _of("23456789", 16)(g)
            yield start, end, value, kind, (0, 16)
        elif what == "comment":
            gaps = [i for i in range(start + 3, end - 2) if text[i - 1 : i] == b" "]
            if gaps:
                at = g.choice(gaps)
                yield at, at, value + " ", kind, (0, len(value))
        elif what == "string" and g.random() < 0.3:
            shape = g.randrange(3)
            if shape == 0:  # the closing quote of JSON in a string: the span ends in its backslash
                new = f'{{\\"token\\": \\"{value}\\"}}'
                yield start, end, new, kind, (new.index(value), new.index(value) + len(value) + 1)
            elif shape == 1:  # the span begins behind the backslash of an escape
                yield start, end, f"\\n{value}", kind, (1, 2 + len(value))
            else:
                yield start, end, f"https://user:{value}@host.org/", kind, (13, 13 + len(value))
        else:
            at = g.choice((start, end))
            yield at, at, value, kind, (0, len(value))


def _by_expression(
    expression: bytes, kinds: tuple[str, ...] = tuple(VALUES)
) -> Callable[..., Iterator[Edit]]:
    """Places that group 1 of an expression matches; what stood there goes."""
    compiled = re.compile(expression, re.MULTILINE)

    def places(text: bytes, _language: str, g: random.Random) -> Iterator[Edit]:
        for found in compiled.finditer(text):
            kind, value = _value(g, kinds)
            yield *found.span(1), value, kind, (0, len(value))

    return places


def _numbers(expression: bytes) -> Callable[..., Iterator[Edit]]:
    compiled = re.compile(expression, re.MULTILINE)

    def places(text: bytes, _language: str, g: random.Random) -> Iterator[Edit]:
        for found in compiled.finditer(text):
            yield *found.span(1), _of("23456789", 10)(g), "phone", (0, 10)

    return places


_COMMANDS = (
    "export TOKEN=%s", "curl -u user:%s https://x.org/", "git config user.email %s", "mysql -p%s <dump.sql", "ping -c 1 %s; true",
    "A=%s B=2 run", "echo %s >file", "if [ x = %s ]; then true; fi", "login --token %s --quiet", 'echo "x: %s"', "T='%s'  # %s",
    "cmd %s && other | more", "# mail %s",
)  # fmt: skip
_PLAIN = ("key", "email", "ip_address", "bank_account", "national_id")  # what is one word of a shell


def _shell_lines(text: bytes, _language: str, g: random.Random) -> Iterator[Edit]:
    if text.endswith(b"\n"):
        for command in g.sample(_COMMANDS, 4):
            kind, value = _value(g, _PLAIN)
            yield len(text), len(text), command.replace("%s", value) + "\n", kind, _at(command)(value)


def _at(command: str) -> Callable[[str], tuple[int, int]]:
    start = command.index("%s")
    return lambda value: (start, start + len(value))


PLACES: dict[str, tuple[Callable[..., Iterator[Edit]], ...]] = {
    **dict.fromkeys(CODE, (_code,)),
    "JSON": (_by_expression(rb'[:\[,]\s*"([^"\\\n]+)"(?=\s*[,\]}])'), _numbers(rb"[:\[,]\s*([1-9][0-9]*)(?=\s*[,\]}])")),
    "YAML": (
        _by_expression(rb"^[ -]*[\w.]+: ([\w./-]+)$", (*_PLAIN, "phone", "name")),
        _by_expression(rb"^ *- ([\w./-]+)$", _PLAIN),
        _by_expression(rb"^[ -]*[\w.]+: [\"']([^\"'\n\\]+)[\"']$"),
    ),
    "TOML": (_by_expression(rb'^[\w.-]+ *= *"([^"\\\n]+)"$'), _numbers(rb"^[\w.-]+ *= *([1-9][0-9]*)$"),
             _numbers(rb"[\[,] *([1-9][0-9]*)(?= *[,\]])")),
    "XML": (_by_expression(rb">([^<>&]*\w[^<>&]*)</"), _by_expression(rb'<[\w:]+ [^<>]*?[\w:]+="([^"<&]+)"'),
            _by_expression(rb"<!-- ([^<>-]+) -->", _PLAIN)),
    "INI": (_by_expression(rb"^[\w.-]+ *= *([^\s%][^\n%]*)$", (*_PLAIN, "phone")),),
    "Shell": (_shell_lines,),
}  # fmt: skip


def plant(text: bytes, language: str, g: random.Random, most: int = 8) -> tuple[bytes, list[Span]]:
    """The text with up to `most` values planted, some of them twice, and their spans."""
    edits = [e for places in PLACES[language] for e in places(text, language, g)]
    g.shuffle(edits)
    chosen: list[Edit] = []
    for edit in edits:
        if len(chosen) < most and all(edit[1] <= c[0] or c[1] <= edit[0] for c in chosen):
            chosen.append(edit)
    chosen.sort(key=lambda e: e[:2])
    out, spans, at, size = [], [], 0, 0
    for start, end, new, kind, (low, high) in chosen:
        body = new.encode()
        out += [text[at:start], body]
        size += start - at
        spans.append((size + low, size + high, kind, "planted"))
        size += len(body)
        at = end
    return b"".join([*out, text[at:]]), spans


# --- the count ------------------------------------------------------------------------------------------------


def read(folders: list[Path], most: int, seed: int) -> dict[str, list[bytes]]:
    """Up to `most` distinct files of each language that parse, in an order that depends on names and the seed only."""
    files: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            language = EXTENSIONS.get(path.suffix)
            if language and path.is_file() and not path.is_symlink() and 40 < path.stat().st_size <= LARGEST:
                files[language].append(path)
    out: dict[str, list[bytes]] = {}
    for language, paths in sorted(files.items()):
        random.Random(seed).shuffle(paths)
        texts: dict[bytes, None] = {}
        for path in paths:
            body = path.read_bytes()
            if body not in texts and _is_utf8(body) and parses(language, body):
                texts[body] = None
            if len(texts) >= most:
                break
        out[language] = list(texts)
    return out


def _is_utf8(body: bytes) -> bool:
    try:
        return "\0" not in body.decode()
    except UnicodeDecodeError:
        return False


def planted(language: str, texts: list[bytes], replacement: Replacement, seed: int) -> Counter[str]:
    """`values`, `files` that parse with them, `kept`: those that parse redacted."""
    count: Counter[str] = Counter()
    for number, text in enumerate(texts):
        body, spans = plant(text, language, random.Random(f"{seed} {number}"))
        if spans and parses(language, body):
            count["files"] += 1
            count["values"] += len(spans)
            count["kept"] += parses(language, redact_one(body, spans, replacement)[0])
    return count


def found(language: str, texts: list[bytes], replacement: Replacement, _seed: int) -> Counter[str]:
    """The same for what the scan finds at `high`."""
    count: Counter[str] = Counter()
    for text in texts:
        spans = scan_one(text, Settings(replacement=replacement))
        count["files"] += 1
        count["values"] += len(spans)
        count["with"] += bool(spans)
        count["kept"] += not spans or parses(language, redact_one(text, spans, replacement)[0])
    return count


def main() -> int:
    """Print the table; 1 if too many files break."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    options.add_argument("--files", type=int, default=300)
    options.add_argument("--found", action="store_true")
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    texts = read(asked.folders or [Path(sysconfig.get_path("purelib"))], asked.files, asked.seed)
    print("| language | replacement | files that parse | values | parse redacted |\n|---|---|---|---|---|")
    total: Counter[str] = Counter()
    for language, bodies in texts.items():
        for replacement in get_args(Replacement):
            run = found if asked.found else planted
            count = run(language, bodies, replacement, asked.seed)
            total += count
            some = f" ({count['with']} with findings)" if asked.found else ""
            print(
                f"| {language} | {replacement} | {count['files']:,}{some} | {count['values']:,} | {count['kept']:,} |"
            )
    share = total["kept"] / max(1, total["files"])
    print(f"| all | | {total['files']:,} | {total['values']:,} | {total['kept']:,} ({share:.3%}) |")
    return int(share < 0.999)


if __name__ == "__main__":
    sys.exit(main())
