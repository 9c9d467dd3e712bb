"""Which files a file imports: a cheap scan of its text, enough to put a file after those that it uses.

Not a parser: an import inside a string or a comment is taken for one, and what a build system decides is not known.
Work is bounded: the first 64 K characters, 256 imports a file, patterns that cannot backtrack over more than a line
or two. Languages: Python, JavaScript and TypeScript, Java, Go, C and C++, Rust; others import nothing.

An import is a tuple of places, the likeliest first; the first one that a repository has is meant:

    /a/b.py    this path from the repository's root
    b/c.py     a path that ends like this, at a folder's border
    b/c/       all files of such a folder that have the importing file's extension
"""

from __future__ import annotations

import json
import posixpath
import re
import zlib
from collections.abc import Callable, Iterator, Sequence

Import = tuple[str, ...]

CHARACTERS = 65_536
IMPORTS = 256
SUFFIX_PARTS = 12
"""Folders of a path, from the file upwards, by which an import may find it."""
SAME_SUFFIX = 8
"""Files that end alike and are looked at for one import."""

_PYTHON = re.compile(
    r"^[ \t]{0,40}(?:from[ \t]{1,20}(\.{0,30})([\w.]{0,300})[ \t]{1,20}import[ \t]{0,20}"
    r"(?:\(([^()]{0,2000})\)|([^\n;(]{0,500}))|import[ \t]{1,20}([\w., \t]{1,500}))",
    re.MULTILINE,
)
_COMMENT = re.compile(r"#[^\n]*")
_SCRIPT = re.compile(
    r"""\b(?:from|import|require|export)[ \t]{0,20}\(?[ \t]{0,20}(["'])(\.{1,2}(?:/[^"'\n]{0,300})?)\1"""
)
_JAVA = re.compile(
    r"^[ \t]{0,40}import[ \t]{1,20}(static[ \t]{1,20})?([\w.]{1,300}?)(\.\*)?[ \t]{0,20};", re.MULTILINE
)
_GO = re.compile(
    r"""^[ \t]{0,40}(?:import[ \t]{1,20})?(?:[\w.]{1,80}[ \t]{1,20})?"([\w.~/-]{1,300})"[ \t]{0,20}(?://.*)?$""",
    re.MULTILINE,
)
_GO_BLOCK = re.compile(r"^import[ \t]{0,20}(?:\(([^()]{0,20000})\)|[^\n]{0,400})", re.MULTILINE)
_C = re.compile(r"""^[ \t]{0,40}#[ \t]{0,40}include[ \t]{0,40}([<"])([^>"\n]{1,300})[>"]""", re.MULTILINE)
_RUST = re.compile(
    r"^[ \t]{0,40}(?:pub(?:\([^()\n]{0,40}\))?[ \t]{1,20})?"
    r"(?:mod[ \t]{1,20}(\w{1,80})[ \t]{0,20};|use[ \t]{1,20}(crate|super)((?:::\w{1,80}){1,20}))",
    re.MULTILINE,
)
_SCRIPT_ENDS = (".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".d.ts")


def clean(path: str) -> str:
    """A path from the repository's root, without leading or doubled slashes and without `.` and `..`."""
    return posixpath.normpath("/" + path).lstrip("/")


def _join(folder: str, target: str) -> str:
    return "/" + clean(posixpath.join(folder, target))


def _python(text: str, folder: str) -> Iterator[Import]:
    for dots, module, block, line, plain in _PYTHON.findall(text):
        if plain:
            for name in plain.split(","):
                yield _absolute(name.split()[0].strip(".").replace(".", "/"), folder) if name.strip() else ()
            continue
        inner = module.strip(".").replace(".", "/")
        for name in _COMMENT.sub("", block or line).split(","):
            word = (name.split() or [""])[0]
            if word != "*" and not word.isidentifier():
                continue
            if dots:
                base = _join(folder, "/".join([".."] * (len(dots) - 1) + [inner]))
                yield _python_file("" if word == "*" else f"{base.rstrip('/')}/{word}") + _python_file(base)
            else:
                yield _absolute(inner if word == "*" else f"{inner}/{word}", folder)


def _python_file(place: str) -> Import:
    return (f"{place}.py", f"{place}/__init__.py") if place.strip("/") else ()


def _absolute(name: str, folder: str) -> Import:
    """Places of a module `a/b/c`, which may also be the name `c` in the module `a/b`."""
    above = posixpath.dirname(name)
    if above:
        return _python_file(name) + (_python_file(above) if "/" in above else _absolute(above, folder))
    # A name alone must not find any file of that name: `import os`.
    return tuple(end for place in (folder, "", "src") for end in _python_file(_join(place, name)))


def _script(text: str, folder: str) -> Iterator[Import]:
    for _, target in _SCRIPT.findall(text):
        base = _join(folder, target)
        stem = re.sub(r"\.[mc]?jsx?$", "", base)
        yield (
            base,
            *(f"{stem}{end}" for end in _SCRIPT_ENDS),
            *(f"{base.rstrip('/')}/index{end}" for end in _SCRIPT_ENDS),
        )


def _java(text: str, folder: str) -> Iterator[Import]:
    for static, name, star in _JAVA.findall(text):
        whole = name.replace(".", "/")
        above = posixpath.dirname(whole)
        if star and not static:
            yield (f"{whole}/",)
        else:
            yield (f"{whole}.java", *([f"{above}.java"] if above else []))


def _go(text: str, folder: str) -> Iterator[Import]:
    for block in _GO_BLOCK.finditer(text):
        for name in _GO.findall(block.group(1) or block.group(0)):
            parts = [part for part in name.split("/") if part]
            # `host/owner/repository/folder`: what is left of it must still name a folder of the repository, and the
            # standard library's short names are none.
            least = 1 if len(parts) > 3 else 2
            starts = range(min(8, len(parts) - least + 1))
            yield tuple("/".join(parts[first:]) + "/" for first in starts)


def _c(text: str, folder: str) -> Iterator[Import]:
    for quote, name in _C.findall(text):
        if quote == '"':
            yield (_join(folder, name), clean(name))
        elif "/" in name:
            yield (clean(name),)


def _rust(text: str, folder: str, stem: str) -> Iterator[Import]:
    own = folder if stem in {"mod", "lib", "main"} else posixpath.join(folder, stem)
    root, found, _ = f"/{folder}/".rpartition("/src/")
    crate = f"{root}/src" if found else "/src"
    for module, start, names in _RUST.findall(text):
        if module:
            inner = _join(own, module)
            yield (f"{inner}.rs", f"{inner}/mod.rs")
            continue
        parts = names.split("::")[1:]
        base = crate if start == "crate" else _join(own, "..")
        yield tuple(
            _join(base, "/".join(parts[:count])) + end
            for count in range(min(4, len(parts)), 0, -1)
            for end in (".rs", "/mod.rs")
        )


_SCANS: dict[str, Callable[[str, str], Iterator[Import]]] = {
    **dict.fromkeys(("Python", "Cython"), _python),
    **dict.fromkeys(("JavaScript", "TypeScript", "TSX", "JSX", "Vue", "Svelte"), _script),
    "Java": _java,
    "Go": _go,
    **dict.fromkeys(("C", "C++", "Cuda", "Objective-C", "Objective-C++"), _c),
}


def scan(text: str, path: str, language: str) -> tuple[Import, ...]:
    """What a file imports, in the order of its text, each once; at most `IMPORTS`."""
    path, text = clean(path), text[:CHARACTERS]
    folder, name = posixpath.split(path)
    if language == "Rust":
        found = _rust(text, folder, posixpath.splitext(name)[0])
    elif language in _SCANS:
        found = _SCANS[language](text, folder)
    else:
        return ()
    result: dict[Import, None] = {}
    for places in found:
        if places:
            result[places] = None
        if len(result) == IMPORTS:
            break
    return tuple(result)


def packed(imports: Sequence[Import]) -> bytes:
    """Imports in few bytes, for files that wait in memory for the others of their repository; empty for none."""
    return zlib.compress(json.dumps(imports).encode(), 1) if imports else b""


def unpacked(imports: bytes) -> list[Import]:
    """What `packed` was given."""
    return [tuple(places) for places in json.loads(zlib.decompress(imports))] if imports else []


def resolve(paths: Sequence[str], imports: Sequence[Sequence[Import]]) -> list[list[int]]:
    """The files (indices) that each file imports, among the files of one repository, sorted, never itself.

    Of several files that end alike, the one that shares the most leading folders with the importing file is meant,
    of equal ones the first by path.
    """
    cleaned = [clean(path) for path in paths]
    by_path = sorted(range(len(paths)), key=lambda index: (cleaned[index], index))
    files: dict[str, list[int]] = {}
    folders: dict[str, list[str]] = {}
    inside: dict[str, list[int]] = {}
    for index in by_path:
        folder = posixpath.dirname(cleaned[index])
        for suffix in _suffixes(cleaned[index]):
            if len(files.setdefault(suffix, [])) < SAME_SUFFIX:
                files[suffix].append(index)
        if folder and folder not in inside:
            for suffix in _suffixes(folder):
                if len(folders.setdefault(suffix, [])) < SAME_SUFFIX:
                    folders[suffix].append(folder)
        inside.setdefault(folder, []).append(index)
        files.setdefault("/" + cleaned[index], [index])
    return [_meant(index, cleaned, imports[index], files, folders, inside) for index in range(len(paths))]


def _suffixes(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[first:]) for first in range(max(0, len(parts) - SUFFIX_PARTS), len(parts))]


def _meant(  # noqa: PLR0917
    index: int,
    paths: Sequence[str],
    imports: Sequence[Import],
    files: dict[str, list[int]],
    folders: dict[str, list[str]],
    inside: dict[str, list[int]],
) -> list[int]:
    own, end = posixpath.dirname(paths[index]), posixpath.splitext(paths[index])[1]
    result: set[int] = set()
    for places in imports:
        for place in places:
            if place.endswith("/"):
                near = _nearest(own, folders.get(place[:-1], ()))
                some = (
                    []
                    if near is None
                    else [
                        other
                        for other in inside[near]
                        if paths[other].endswith(end) and not paths[other].endswith(f"_test{end}")
                    ]
                )
            else:
                candidates = {paths[other]: other for other in reversed(files.get(place, ()))}
                near = _nearest(own, list(candidates)[::-1])
                some = [] if near is None else [candidates[near]]
            if some:
                result.update(some)
                break
    return sorted(result - {index})


def _nearest(folder: str, candidates: Sequence[str]) -> str | None:
    """The candidate that shares the most leading folders with `folder`; of equal ones the first."""

    def shared(path: str) -> int:
        count = 0
        for one, other in zip(folder.split("/"), path.split("/"), strict=False):
            if one != other:
                break
            count += 1
        return count

    return max(candidates, key=shared, default=None)
