"""Identifiers: random-looking values that name a thing and open nothing."""

from __future__ import annotations

import re

from pii.secret_names import SECRET_WORD

_LAST_NAME = re.compile(
    rb"([A-Za-z_$][A-Za-z0-9_$.-]*)[\"'\]\\)]{0,3}[ \t]{0,8}(?::[ \t]*[A-Za-z]+[ \t]*)?(?:=>|:=|={1,3}|:|,|\()"
    rb"[ \t(]{0,8}[\"'\x60\\]{0,2}\Z"
)
_ID = re.compile(
    rb"(?:^|[a-z0-9_.$-])(?:I[dD]s?)\Z|(?:^|[_.$-])(?:ids?|ID|isbn|issn|doi|asin|sku|gtm|ga|slug|marker|cursor|continuation|sha|etag|oid|"
    rb"hash|digest|checksum|commit|rev|revision|version|nonce|trace|span|reactid|objectid|arn|handle|uid|guid|uuid|serial|build)\Z"
    rb"|(?:Slug|Marker|Cursor|Uid|Guid|Uuid|Hash|Digest|Checksum|ETag|Etag|Commit|Revision|Version|Arn|Handle|Serial|Fingerprint)\Z"
)
# Where a list goes on: opaque, and no credential.
_PAGE = re.compile(
    rb"(?:next|previous|prev|page|pagination|continuation|sync|cancel(?:lation)?|starting)[_-]?token\Z",
    re.IGNORECASE,
)
# The id of a key or a secret is neither.
_KEY_ID = re.compile(rb"(?:key|secret|token|credential)s?[_-]?(?:id|ID|Id)s?\Z", re.IGNORECASE)
_OBJECT_ID = re.compile(rb"[0-9a-f]{24}\Z")
_ANALYTICS = re.compile(
    rb"(?:UA-[0-9]{4,10}-[0-9]{1,4}|G-[A-Z0-9]{8,12}|GTM-[A-Z0-9]{5,9}|AW-[0-9]{8,12}|ca-pub-[0-9]{16})\Z"
)


def is_identifier(value: bytes, before: bytes) -> bool:
    """Whether a value is given to a name that ends in a word for identifiers (`user_id`, `VersionId`, `etag`)."""
    if _ANALYTICS.match(value):
        return True
    match = _LAST_NAME.search(before[-100:])
    if match is None:
        # 12 bytes in hex: a BSON ObjectId
        return bool(_OBJECT_ID.match(value)) and not SECRET_WORD.search(before[-100:])
    if _PAGE.search(match[1]):
        return True
    if _KEY_ID.search(match[1]):
        return True
    if SECRET_WORD.search(match[1]):
        return False
    return bool(_ID.search(match[1])) or bool(_OBJECT_ID.match(value))
