"""What the generators of planted secrets and of hard negatives share: stable draws, marked text, placing in hosts.

Part of what is frozen by digest (tests/benchmarks/test_secrets_sets.py). Nothing of `pii` is imported here.

A made-up text carries its labels as marks until it is placed: `mark("key", "github", value)`. Everything drawn
comes from `random.Random(text).random()`, whose sequence Python keeps between versions.
"""

# ruff: noqa: E501 (tables of forms: one kind a line)

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LOWER = "abcdefghijklmnopqrstuvwxyz"
UPPER = LOWER.upper()
DIGITS = "0123456789"
HEX = DIGITS + "abcdef"
HEX_UPPER = HEX.upper()
BASE62 = DIGITS + UPPER + LOWER
BASE36 = DIGITS + LOWER
BASE32 = UPPER + "234567"
BASE64 = UPPER + LOWER + DIGITS + "+/"
URL64 = UPPER + LOWER + DIGITS + "-_"

_MARK = re.compile("\x01([^\x02]*)\x02([^\x03]*)\x03(.*?)\x04", re.DOTALL)
_COMMENTS = {
    ".py": "# {}", ".pyi": "# {}", ".pyx": "# {}", ".sh": "# {}", ".toml": "# {}", ".cfg": "# {}", ".yaml": "# {}", ".yml": "# {}",
    ".rb": "# {}", ".js": "// {}", ".ts": "// {}", ".c": "// {}", ".h": "// {}", ".cpp": "// {}", ".hpp": "// {}", ".cu": "// {}",
    ".cuh": "// {}", ".rs": "// {}", ".go": "// {}", ".java": "// {}", ".proto": "// {}", ".css": "/* {} */", ".html": "<!-- {} -->",
    ".xml": "<!-- {} -->", ".md": "<!-- {} -->", ".rst": ".. {}", ".tex": "% {}", ".sql": "-- {}", ".lua": "-- {}", ".ini": "; {}",
}  # fmt: skip


class Draw:
    """Draws that depend on the seed only, in every version of Python."""

    def __init__(self, *seed: object) -> None:
        self._next = random.Random("|".join(map(str, seed))).random

    def below(self, limit: int) -> int:
        """Draw a number in [0, limit)."""
        return int(self._next() * limit)

    def between(self, low: int, high: int) -> int:
        """Draw a number in [low, high]."""
        return low + self.below(high - low + 1)

    def chance(self, share: float) -> bool:
        """Say yes that often."""
        return self._next() < share

    def pick(self, choices: Sequence[T]) -> T:
        """Draw one of them."""
        return choices[self.below(len(choices))]

    def text(self, alphabet: str, low: int, high: int | None = None) -> str:
        """Draw `low` (to `high`) characters."""
        return "".join(self.pick(alphabet) for _ in range(self.between(low, high or low)))

    def hex(self, low: int, high: int | None = None) -> str:
        """Draw lower-case hexadecimal digits."""
        return self.text(HEX, low, high)

    def a62(self, low: int, high: int | None = None) -> str:
        """Draw letters and digits."""
        return self.text(BASE62, low, high)

    def url64(self, low: int, high: int | None = None) -> str:
        """Draw characters of base64url."""
        return self.text(URL64, low, high)

    def digits(self, low: int, high: int | None = None) -> str:
        """Draw digits, the first not 0."""
        return (
            self.text(DIGITS[1:], 1) + self.text(DIGITS, low - 1, None if high is None else high - 1)
            if low > 1
            else self.text(DIGITS[1:], 1)
        )

    def bytes(self, count: int) -> bytes:
        """Draw bytes."""
        return bytes(self.below(256) for _ in range(count))

    def b64(self, count: int) -> str:
        """Draw the base64 text of `count` bytes."""
        return base64.b64encode(self.bytes(count)).decode()

    def uuid(self) -> str:
        """Draw a UUID of version 4."""
        h = self.hex(32)
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{self.pick('89ab')}{h[17:20]}-{h[20:]}"

    def word(self, low: int = 2, high: int = 3) -> str:
        """Draw a pronounceable word of syllables: names of hosts, users and people that nobody has."""
        return "".join(
            self.pick("bdfgklmnprstvz") + self.pick("aeiou") + self.pick(["", "", "n", "r", "l", "s"])
            for _ in range(self.between(low, high))
        )

    def host(self) -> str:
        """Draw a host name under a real top-level domain."""
        sub = self.pick(["", "", "api.", "db.", "mail.", "git.", "prod-1.", "eu."])
        return f"{sub}{self.word(2, 4)}{self.pick(['', '', '-' + self.word(1, 2)])}.{self.pick(['com', 'com', 'net', 'org', 'io', 'de', 'fr', 'co.uk', 'dev', 'app', 'cloud', 'it', 'com.br', 'jp'])}"

    def shuffled(self, items: Iterable[T]) -> list[T]:
        """Shuffle."""
        return [item for _, _, item in sorted((self._next(), i, item) for i, item in enumerate(items))]


@dataclass(frozen=True)
class Label:
    """A marked span of a text: byte offsets, what it is, its type, how and where it stands."""

    start: int
    end: int
    kind: str
    type: str
    context: str


@dataclass(frozen=True)
class Document:
    """A text with its labels, in order."""

    name: str
    body: bytes
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Snippet:
    """A marked text that is to be placed: in lines of its own, in a comment, in a long line, or as a file."""

    text: str
    context: str
    places: tuple[str, ...] = ("lines", "lines", "comment", "first", "last", "long")


def mark(kind: str, type_: str, value: str) -> str:
    """Mark a value inside a text under construction."""
    return f"\x01{kind}\x02{type_}\x03{value}\x04"


def unmarked(text: str, context: str) -> tuple[bytes, list[Label]]:
    """Take the marks out of a text; labels in bytes of what is left."""
    out = bytearray()
    labels = []
    last = 0
    for found in _MARK.finditer(text):
        out += text[last : found.start()].encode()
        start = len(out)
        out += found[3].encode()
        labels.append(Label(start, len(out), found[1], found[2], context))
        last = found.end()
    out += text[last:].encode()
    return bytes(out), labels


def hosts(folder: Path, count: int, largest: int = 16_000) -> list[tuple[str, bytes]]:
    """Distinct UTF-8 files of 200 B to `largest` below a folder, in an order that depends on their names only."""
    files = sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()
    )
    files.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
    taken: dict[bytes, str] = {}
    for name in files:
        if len(taken) == count:
            break
        if "__pycache__" in name or not 200 <= (folder / name).stat().st_size <= largest:
            continue
        body = (folder / name).read_bytes()
        try:
            body.decode()
        except UnicodeDecodeError:
            continue
        if b"\0" not in body and body not in taken:
            taken[body] = name
    return [(name, body) for body, name in taken.items()]


def _filler(draw: Draw) -> str:
    """Code without line breaks, as bundlers write it."""
    parts = []
    for _ in range(draw.between(30, 120)):
        a, b = draw.pick(LOWER), draw.pick(LOWER)
        parts.append(
            draw.pick(
                [
                    f"var {a}={b}.length;",
                    f"if({a}&&!{b})return {a};",
                    f"{a}.push({b});",
                    f"for(;{a}<{b};{a}++)x+={a};",
                    f"{a}={b}?1:0;",
                ]
            )
        )
    return "".join(parts)


def place(draw: Draw, name: str, host: bytes, snippets: Sequence[Snippet]) -> Document:
    """Put snippets into a host file; where each stands goes into the context of its labels."""
    crlf = b"\r\n" in host
    lines = host.decode().replace("\r\n", "\n").split("\n")
    inserts: list[tuple[int, str, str]] = []  # before which line, text, context
    first = last = None
    for snippet in snippets:
        where = draw.pick(snippet.places)
        comment = _COMMENTS.get(Path(name).suffix, "{}")
        text = snippet.text
        if where == "comment" and "\n" not in text and comment != "{}":
            text = comment.replace("{}", text)
        elif where == "long" and "\n" not in text:
            text = f"{_filler(draw)} {text} {_filler(draw)}"
        elif where == "first" and first is None:
            first = (text, f"{snippet.context}, first byte")
            continue
        elif where == "last" and last is None:
            last = (text, f"{snippet.context}, last byte")
            continue
        else:
            where = "lines"
        at = draw.below(len(lines))
        if where == "lines" and at < len(lines) and draw.chance(0.5):
            indent = re.match(r"[ \t]*", lines[at])[0]  # type: ignore[index]
            text = "\n".join(indent + line if line else line for line in text.split("\n"))
        inserts.append((at, text, f"{snippet.context}, {where}"))
    pieces: list[tuple[str, str]] = []
    if first:
        pieces.append((first[0] + "\n", first[1]))
    for i in range(len(lines) + 1):
        pieces += [(text + "\n", context) for at, text, context in inserts if at == i]
        if i < len(lines):
            pieces.append((lines[i] + ("\n" if i + 1 < len(lines) else ""), ""))
    if last:
        pieces.append(("\n" + last[0], last[1]))
    body = bytearray()
    labels: list[Label] = []
    for piece, context in pieces:
        text = piece.replace("\r\n", "\n").replace("\n", "\r\n") if crlf else piece
        part, found = unmarked(text, context) if context else (text.encode(), [])
        labels += [replace(x, start=x.start + len(body), end=x.end + len(body)) for x in found]
        body += part
    return Document(name, bytes(body), tuple(labels))


def as_file(name: str, snippet: Snippet) -> Document:
    """Make a text a file of its own."""
    body, labels = unmarked(snippet.text, f"{snippet.context}, file")
    return Document(name, body, tuple(labels))


def digest(documents: Iterable[Document]) -> str:
    """SHA-256 over names, texts and labels."""
    out = hashlib.sha256()
    for document in documents:
        for part in (document.name.encode(), document.body, repr(document.labels).encode()):
            out.update(len(part).to_bytes(8, "big") + part)
    return out.hexdigest()


Maker = Callable[[Draw], str]
