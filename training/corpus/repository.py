"""Repository context: which repositories are shown as whole, in what order their files come, and what they are called.

StarCoder 2 (Lozhkov et al. 2024, arXiv 2402.19173, section 5.1) trains on documents of several files of a repository,

    <repo_name>name<file_sep>path\\ncode<file_sep>path\\ncode ... <|endoftext|>      half of them: with metadata
    <file_sep>code<file_sep>code ... <|endoftext|>                                  the others: without

its files in random order. Here the order may also be by path, or by imports, so that a file comes after those that
it uses. All draws are hashes of (seed, epoch, origin or content id): the same for any number of processes.

Names and paths come from strangers. What cannot be seen in a line of text (control characters, line ends, lone
surrogates, marks that change the direction of writing) is written as an escape, and only the end of what is longer
than `MAX_NAME` characters is shown. Letters that spell a control token stay letters, as in all text.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from training.corpus.imports import clean, resolve, unpacked

MAX_NAME = 256
"""Characters of a name or path that are shown."""

Order = Literal["path", "dependency", "random"]


@dataclass(frozen=True, slots=True)
class File:
    """What the order of a repository's files depends on."""

    content_id: str
    path: str
    imports: bytes = b""
    """As `training.corpus.imports.packed` makes it."""


def _drawn(kind: str, name: str, *, seed: int, epoch: int, rate: float) -> bool:
    digest = hashlib.sha256(f"{kind}|{seed}|{epoch}|{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < rate * 2**64


def shown_whole(origin: str, *, seed: int, epoch: int, rate: float) -> bool:
    """Whether a repository is shown as documents of several files in this epoch; never one without an origin."""
    return bool(origin) and _drawn("repository", origin, seed=seed, epoch=epoch, rate=rate)


def with_metadata(origin: str, *, seed: int, epoch: int, rate: float) -> bool:
    """Whether the repository's name and the paths of its files are shown in this epoch."""
    return _drawn("metadata", origin, seed=seed, epoch=epoch, rate=rate)


def name_of(origin: str) -> str:
    """What a repository is called: `owner/name` of a URL, the name of a package URL, else the origin itself."""
    if origin.startswith("pkg:"):
        rest = origin.removeprefix("pkg:").partition("?")[0].partition("#")[0]
        return readable(rest.partition("/")[2].rpartition("@")[0] or rest)
    _, found, rest = origin.partition("://")
    path = rest.partition("/")[2].partition("?")[0].partition("#")[0].strip("/").removesuffix(".git")
    return readable(path if found and path else origin)


def readable(name: str) -> str:
    """A name in one line of visible text, at most `MAX_NAME` characters: the end, which says most."""
    shown = "".join(_visible(character) for character in name[-2 * MAX_NAME :])
    return shown if len(shown) <= MAX_NAME and len(name) <= 2 * MAX_NAME else "…" + shown[1 - MAX_NAME :]


def _visible(character: str) -> str:
    if unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def arrange(files: Sequence[File], order: Order, *, seed: int, epoch: int) -> list[int]:
    """Indices of the files in the order in which they are shown.

    path        by path
    dependency  a file after those that it imports, as far as `training.corpus.imports` knows them; else by path
    random      by a hash of (seed, epoch, content id)

    Files of equal path are in the order of their content ids, so the result does not depend on the order given.
    """
    by_path = sorted(range(len(files)), key=lambda i: (_bytes(clean(files[i].path)), files[i].content_id))
    if order == "path":
        return by_path
    if order == "random":
        return sorted(by_path, key=lambda i: _rank(files[i].content_id, seed, epoch))
    walked = [files[i] for i in by_path]
    needs = resolve([file.path for file in walked], [unpacked(file.imports) for file in walked])
    return [by_path[i] for i in needed_first(needs)]


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogatepass")


def _rank(content_id: str, seed: int, epoch: int) -> bytes:
    return hashlib.sha256(f"file|{seed}|{epoch}|{content_id}".encode()).digest()


def needed_first(needs: Sequence[Sequence[int]]) -> list[int]:
    """0, 1, ... in an order in which each comes after those that it needs, unless these need it, too.

    A walk in depth from 0, 1, ... in turn (Tarjan 1976): what is needed goes first; in a circle, what the walk met
    first goes last.
    """
    result: list[int] = []
    seen = [False] * len(needs)
    for start in range(len(needs)):
        stack = [] if seen[start] else [(start, iter(needs[start]))]
        seen[start] = True
        while stack:
            node, rest = stack[-1]
            following = next((other for other in rest if not seen[other]), None)
            if following is None:
                result.append(node)
                stack.pop()
            else:
                seen[following] = True
                stack.append((following, iter(needs[following])))
    return result
