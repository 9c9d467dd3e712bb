"""Explanations: why a value that looks like a secret is left as it is, by the names that findings carry in `spared`.

An explanation is decided per finding, from the value and a bounded part of the text around it.  The order is that of
`explanation`: the first that holds is recorded.
"""

from __future__ import annotations

from pii.boundaries import line_before
from pii.negatives import (
    counts_up,
    in_block,
    is_data,
    is_digest,
    is_encoded_text,
    is_identifier,
    is_placeholder,
    is_template,
    is_test_vector,
    is_uuid,
    is_words,
)
from pii.negatives_data import LONG
from pii.secret_names import name_before

#: name -> one sentence for reports.
EXPLANATIONS: dict[str, str] = {
    "code": "An expression, a reference or a type of code stands where a value would.",
    "counting": "The characters count up: an alphabet or a row of digits.",
    "digest": "A checksum, commit id or content hash: it names a content and opens nothing.",
    "embedded-data": "Embedded data in base64: an image, a font, an archive, a certificate or a public key.",
    "encoded-block": "One of several lines of encoded data.",
    "encoded-text": "Base64 of readable text that no secret's name stands in front of.",
    "format": "A date, a version, a character set or a regular expression.",
    "identifier": "A name for identifiers stands in front: the value names a thing and opens nothing.",
    "inside-run": "A part of a longer run of letters and digits.",
    "location": "A path, a file name or a URL without credentials.",
    "long-data": "Longer than any key: data.",
    "no-key-material": "The header of a key block without a key behind it.",
    "phrase": "A label, a sentence or the name of a constant.",
    "placeholder": "A placeholder: it stands for a secret.",
    "public-value": "The name says that the value is public: a public key, a cache key, a token for the next page.",
    "stock-password": "A password that documentation and test set-ups write, or a default that protects nothing.",
    "template": "A variable that is filled in later.",
    "test-vector": "A published test vector of a cryptographic algorithm.",
    "uuid": "A UUID: an identifier.",
    "words": "Words: an identifier, a path or a translation key.",
}

# Hex digits beyond which hex is data.
_HEX_MAX = 128


def explanation(body: bytes, start: int, end: int, *, hexadecimal: bool) -> str | None:
    """The name of what explains the random-looking body[start:end], a string of hex or base64; None for nothing."""
    value, before = body[start:end], line_before(body, start, 200)
    if is_template(value):
        return "template"
    if is_placeholder(value):
        return "placeholder"
    if is_uuid(value):
        return "uuid"
    if len(value) > (_HEX_MAX if hexadecimal else LONG) and not value.startswith(b"MI"):
        return "long-data"
    if counts_up(value):
        return "counting"
    name = name_before(before)
    if is_digest(value, before) or name.digest:
        return "digest"
    if is_test_vector(body, start, end):
        return "test-vector"
    if is_identifier(value, before):
        return "identifier"
    if name.public:
        return "public-value"
    if hexadecimal:
        return "encoded-block" if in_block(body, start, end, hexadecimal=True) else None
    if is_data(value, before):
        return "embedded-data"
    if is_words(value):
        return "words"
    if is_encoded_text(value) and not name.kind:
        return "encoded-text"
    if in_block(body, start, end):
        return "encoded-block"
    return None
