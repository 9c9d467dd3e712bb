"""The errors of this package, all of the `ValueError` family.

ValueError
└── ManifestsError          base of all below
    ├── CanonicalError      bytes that are not JSON as we accept it, or a value that JSON cannot hold
    ├── ChecksumError       a SHA256SUMS file that cannot be read
    ├── PathError           a path or language that must not stand in a release
    ├── ManifestError       a manifest that says something impossible; names the JSON path
    ├── ShardError          rows that cannot become a shard
    ├── SignatureError      a key, or a signature, that cannot be used or does not hold
    ├── VersionError        a version that does not fit what it names
    ├── RemovalsError       a removals.jsonl that cannot be used; names the line
    └── ReleaseError        a folder that is not a release, or a file in it that is not what it should be
"""

from __future__ import annotations


class ManifestsError(ValueError):
    """Base of the errors of `manifests`."""


class CanonicalError(ManifestsError):
    """Not acceptable JSON: not UTF-8, a key twice, NaN, too large, too deep, or not representable."""


class ChecksumError(ManifestsError):
    """A SHA256SUMS file with a malformed line, named by its number."""


class PathError(ManifestsError):
    """A path, language, name or version that must not stand in a release."""


class ManifestError(ManifestsError):
    """A manifest that cannot be true; `where` is the JSON path of the faulty value, such as
    `$.shards[3].rows`."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"manifest.json, {where}: {message}")
        self.where = where
        self.message = message


class ShardError(ManifestsError):
    """Rows that cannot become a shard: wrong schema, several languages, none at all."""


class SignatureError(ManifestsError):
    """A key that cannot be read, or an envelope that no trusted key has signed or that is of another manifest."""


class VersionError(ManifestsError):
    """A version that goes backwards, or promises more than the change between two releases keeps."""


class RemovalsError(ManifestsError):
    """A `removals.jsonl` with a line that is no tombstone, out of order, or too large."""


class ReleaseError(ManifestsError):
    """A folder that is not a release, a release of an unknown version, or a file that fails its checksum."""
