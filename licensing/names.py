"""Which files are evidence about licenses, by base name alone: license-like texts and package manifests.

The set of license-like words is the published one of The Stack v2 (appendix A.3, which took it from
go-license-detector): the word stands alone between the name's ends or one of `- _ . space`, in any case. So
`LICENSE`, `License-MIT.txt`, `COPYING.LESSER`, `gpl-3.0.txt` and `README.md` match, `relicense` does not.

Two rules are ours. Instruments that stand beside a license and change what it permits (`PATENTS`, `ADDITIONAL-TERMS`,
`EULA`, as such or with the extension of a document) are license-like too. And fewer programs are: the published pattern
also takes program sources and binaries whose stem happens to be such a word (`license.py`, `copying.c`, `about.js`,
`notice.png`); a program about licenses is not a license, and what it quotes would be held against its whole directory.
So a name that ends in one of `PROGRAM_EXTENSIONS` or `BINARY_EXTENSIONS` is never license-like (its own header is still
read with the other sources). These are compared in lower case only, because `COPYING.LIB` and `LICENSE.TCL` are
licenses. Documents and data (`.html`, `.rst`, `.xml`, `.json`) stay in, as published.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

PROGRAM_EXTENSIONS = (
    "ada adb ads al asm awk bas bash bat c c++ cc cfm cjs clj cljs cls cmake cmd coffee cpp cr cs csh css cu "
    "cuh cxx d dart el elm erl ex exs f f03 f90 f95 fish for fs fsx go gradle groovy h h++ hbs hh hpp hrl "
    "hs hxx inc inl ipynb java jl js jsp jsx kt kts less lisp lua m mak mjs mk ml mli mm mts nim php "
    "phtml pl pm prolog proto ps1 psm1 py pyi pyw pyx qml r rb rkt rs s sass scala scm scss sh sol sql "
    "svelte swift tcl tf ts tsx v vb vba vhd vhdl vim vue wat xsl xslt zig zsh"
)
"""Extensions of programs, style sheets and templates, separated by spaces."""

BINARY_EXTENSIONS = (
    "a bmp bz2 class dll dylib eot exe gif gz ico jar jpeg jpg mo mp3 mp4 npy npz o otf parquet pkl png "
    "po pot pyc pyd pyo rar rule so svg tar tgz ttf wasm webp whl woff woff2 xz zip zst"
)
"""Extensions of images, fonts, archives, compiled code, translation catalogues and detection rules,
separated by spaces."""

_LICENSE_WORDS = (
    r"li[cs]en[cs]es?",
    r"unlicense",
    r"legal",
    r"copy(?:left|right|ing)",
    r"copyingv?[0-9]?",
    r"[al]?gpl[-_ v]?(?:[0-9]\.?[0-9]?)?",
    r"al[-_ v]?(?:[0-9]\.?[0-9])?",
    r"bsdl?",
    r"mitx?",
    r"apache",
    r"artistic",
    r"disclaimer",
    r"eupl",
    r"gfdl",
    r"[cm]pl",
    r"cc0",
    r"about",
    r"notice",
    r"readme",
    r"guidelines",
)

_LICENSE_LIKE = rf"(?i)(?:\A|[-_. ])(?:{'|'.join(_LICENSE_WORDS)})(?:\z|[-_. ])"
_EXTENSIONS = "|".join(re.escape(e) for e in f"{PROGRAM_EXTENSIONS} {BINARY_EXTENSIONS}".split())
_NOT_A_DOCUMENT = rf"\.(?:{_EXTENSIONS})\z"

_MANIFEST = (
    r"\A(?:PKG-INFO|METADATA|package\.json|composer\.json|bower\.json|Cargo\.toml|pyproject\.toml|setup\.cfg"
    r"|pom\.xml|REUSE\.toml|dep5|[^/]*\.(?:gemspec|nuspec))\z"
)
"""Exact case, as the package managers themselves read them."""

_LICENSE_TEXT = r"(?i)\A(?:li[cs]en[cs]es?|copying|unlicense|patents?|additional[-_ ]terms|eula)(?:\.(?:txt|md|rst|html?))?\z"

_VENDORED = frozenset(
    b"third_party third-party thirdparty 3rd_party 3rd-party 3rdparty vendor vendors vendored _vendor _vendored extern"
    b" node_modules bower_components jspm_packages".split()
)
"""Names of directories that hold the code of others, in lower case."""

_DOCUMENT = r"(?i)(?:\A|[-_. ])(?:about|notice|readme|guidelines)(?:\z|[-_. ])"


def license_like(names: pa.Array) -> pa.BooleanArray:
    """Whether each base name is one that usually holds a license (module docstring says which).

    `names`: Arrow binary, large_binary, string or large_string; a null gives False. Matching is RE2: linear
    in the name's length, on bytes (names need not be UTF-8).
    """
    named = pc.or_(_matches(names, _LICENSE_LIKE), _matches(names, _LICENSE_TEXT))
    return pc.and_not(named, _matches(names, _NOT_A_DOCUMENT))


def license_text(names: pa.Array) -> pa.BooleanArray:
    """Whether each base name is that of THE license of its directory, or of terms beside it: `LICENSE`, `COPYING.txt`,
    `PATENTS` and the like.

    Where such a file is not understood, its directory must not inherit the license of the directories above.
    """
    return _matches(names, _LICENSE_TEXT)


def speaks_of_more(names: pa.Array) -> pa.BooleanArray:
    """Whether each base name is that of a document on more than licenses: README, NOTICE, ABOUT,
    guidelines."""
    return _matches(names, _DOCUMENT)


def split(place: bytes) -> list[bytes]:
    """The components of a place (of licensing.attribution): of a directory, or of a file behind a slash."""
    return place.removeprefix(b"/").split(b"/")


def place_of(path: bytes) -> bytes:
    """The place of a file of which something is stated by its name."""
    return b"/" + path


def vendored_above(place: bytes) -> list[bytes]:
    """The directories at or above `place` (of licensing.attribution) whose own name says that others wrote what is in
    them, from the outermost."""
    directory = place[1:].rpartition(b"/")[0] if place.startswith(b"/") else place
    parts = directory.split(b"/")
    ends = [n for n, part in enumerate(parts, 1) if part.lower() in _VENDORED]
    return [b"/".join(parts[:end]) for end in ends]


def manifest_like(names: pa.Array) -> pa.BooleanArray:
    """Whether each base name is a package manifest whose declared license `declared.py` can read.

    `debian/copyright` is not here: its base name is license-like already.
    """
    return _matches(names, _MANIFEST)


def detection_class(names: pa.Array) -> pa.LargeBinaryArray:
    """What of a base name the detectors look at: same class and same bytes give the same detections.

    `LICENSE` (a license-like name), `README` (a license-like document on more than licenses), the name of a
    manifest (`.gemspec`, `.nuspec` for names that end so), or empty: not evidence. A class is its own class.
    """
    names = names.cast(pa.large_binary())
    manifest = pc.if_else(_matches(names, r"\.(?:gemspec|nuspec)\z"), pc.binary_slice(names, -7), names)
    manifest = pc.replace_with_mask(
        manifest, _matches(names, r"\.gemspec\z"), pa.scalar(b".gemspec", pa.large_binary())
    )
    text = pc.if_else(
        speaks_of_more(names),
        pa.scalar(b"README", pa.large_binary()),
        pa.scalar(b"LICENSE", pa.large_binary()),
    )
    nothing = pa.scalar(b"", pa.large_binary())
    return pc.if_else(manifest_like(names), manifest, pc.if_else(license_like(names), text, nothing))


def _matches(names: pa.Array, pattern: str) -> pa.BooleanArray:
    return pc.fill_null(pc.match_substring_regex(names, pattern), False)
