"""What kind of file a file is, beyond its language: documentation, minified code, a lock file, data, configuration.

A kind is a flag, a file can have several. What is `vendored` (vendored.py) and
`generated` (generated.py) has flags of its own in a release. The tables are our own.

| kind | when |
|---|---|
| `documentation` | a directory of `DOCUMENTATION_DIRECTORIES` above it, or a base name of `DOCUMENTATION_STEMS` |
| `minified` | the name says so (`.min.js`, `.js.map`), or JavaScript or CSS of more than `MINIFIED_LINE` characters per line |
| `lock` | a lock file or checksums of a dependency manager, by name |
| `configuration` | a language of `CONFIGURATION` |
| `data` | a language that Linguist calls data, and neither configuration nor a lock file |
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.content.generated_names import LOCK_NAMES, MINIFIED_SUFFIXES
from pipeline.content.names import base_names
from pipeline.content.taxonomy import LANGUAGES

KINDS = ("documentation", "minified", "lock", "configuration", "data")
"""In the order in which they become reasons."""

DOCUMENTATION_DIRECTORIES = (
    "doc", "docs", "Doc", "Docs", "documentation", "Documentation", "javadoc", "apidoc", "apidocs", "api-docs", "man",
    "manual", "manpages", "wiki",
)  # fmt: skip
"""Names of directories; case counts."""

DOCUMENTATION_STEMS = (
    "authors", "changelog", "changes", "code_of_conduct", "contributing", "contributors", "copying", "copyright", "faq",
    "history", "install", "licence", "license", "maintainers", "news", "notice", "readme", "release_notes", "security",
    "support", "upgrading",
)  # fmt: skip
"""Base names, lower-cased, alone or with one of `DOCUMENTATION_ENDS` behind."""

DOCUMENTATION_ENDS = (
    "adoc", "asciidoc", "html", "markdown", "md", "mdown", "mkd", "org", "pod", "rdoc", "rst", "textile", "txt",
)  # fmt: skip
"""Extensions of prose: `security.py` is code. A part between may name a language (`readme.de.md`)."""

MINIFIED_LINE = 110
"""Characters per line on average. The number is GitHub Linguist's."""

CONFIGURATION = frozenset(
    {
        "ApacheConf", "Browserslist", "CODEOWNERS", "Checksums", "Dotenv", "EditorConfig", "Git Attributes", "Git Config", "INI",
        "Ignore List", "JSON with Comments", "Java Properties", "NPM Config", "Nginx", "Pip Requirements", "Readline Config",
        "SSH Config", "TOML", "Wget Config", "YAML", "cURL Config",
    }
)  # fmt: skip
"""Languages in which programs are configured."""

_DATA = pa.array(
    [name for name, one in LANGUAGES.items() if one.kind == "data" and name not in CONFIGURATION], pa.string()
)
_CONFIGURATION = pa.array(sorted(CONFIGURATION & set(LANGUAGES)), pa.string())
_IN_DOCUMENTATION = f"(^|/)({'|'.join(DOCUMENTATION_DIRECTORIES)})/"
_DOCUMENT = (
    f"(?i)^({'|'.join(DOCUMENTATION_STEMS)})(([._-][a-z_]{{2,5}})?[.]({'|'.join(DOCUMENTATION_ENDS)}))?$"
)


def kinds(
    paths: pa.BinaryArray,
    name_classes: pa.BinaryArray,
    languages: pa.StringArray,
    avg_line_length: pa.FloatArray,
) -> dict[str, np.ndarray]:
    """Kind -> flag of every file. `name_classes` as names.name_class makes them; null language or length: not of that kind."""
    classes = name_classes.cast(pa.binary())
    lock = _in(classes, pa.array(sorted(LOCK_NAMES), pa.binary()))
    long = pc.fill_null(pc.greater(avg_line_length, MINIFIED_LINE), False).to_numpy(zero_copy_only=False)
    return {
        "documentation": _fits(paths, _IN_DOCUMENTATION) | _fits(base_names(paths), _DOCUMENT),
        "minified": _in(classes, pa.array(MINIFIED_SUFFIXES, pa.binary()))
        | (_in(languages, pa.array(["JavaScript", "CSS"])) & long),
        "lock": lock,
        "configuration": _in(languages, _CONFIGURATION) & ~lock,
        "data": _in(languages, _DATA) & ~lock,
    }


def _fits(values: pa.Array, pattern: str) -> np.ndarray:
    found = pc.match_substring_regex(values, pattern=pattern)
    return pc.fill_null(found, False).to_numpy(zero_copy_only=False)


def _in(values: pa.Array, known: pa.Array) -> np.ndarray:
    return pc.is_in(values, value_set=known).to_numpy(zero_copy_only=False)
