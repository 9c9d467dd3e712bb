"""The registry of verifiers: what a linear-time expression cannot say about a match.

A verifier gets the text and the matched span, reads a bounded number of bytes around it, and returns the span
of the finding (perhaps moved) or None.  It never keeps, logs or raises with the value.
"""

from __future__ import annotations

from collections.abc import Callable

from pii.addresses import email_span, ipv4_span, ipv6_span
from pii.pem import block_end, putty_block_end
from pii.verify_connections import connection_password, random_password
from pii.verify_generic import assigned_value, random_value, url_password
from pii.verify_personal import credit_card
from pii.verify_services import json_web_token
from pii.verify_tokens import (
    aws_key_id,
    azure_account_key,
    azure_key,
    blob,
    crc32_token,
    entra_secret,
    keyed_uuid,
    random_token,
    sas_signature,
    token,
)

Span = tuple[int, int]
Verifier = Callable[[bytes, int, int], Span | None]


def _pem_block(body: bytes, start: int, end: int) -> Span | None:
    stop = block_end(body, end)
    return None if stop is None else (start, stop)


def _putty_block(body: bytes, start: int, end: int) -> Span | None:
    stop = putty_block_end(body, end)
    return None if stop is None else (start, stop)


VERIFIERS: dict[str, Verifier] = {
    "token": token,
    "random_token": random_token,
    "blob": blob,
    "crc32_token": crc32_token,
    "aws_key_id": aws_key_id,
    "azure_account_key": azure_account_key,
    "azure_key": azure_key,
    "entra_secret": entra_secret,
    "sas_signature": sas_signature,
    "keyed_uuid": keyed_uuid,
    "connection_password": connection_password,
    "random_password": random_password,
    "json_web_token": json_web_token,
    "url_password": url_password,
    "credit_card": credit_card,
    "random_value": random_value,
    "assigned_value": assigned_value,
    "email": email_span,
    "ipv4": ipv4_span,
    "ipv6": ipv6_span,
    "pem_block": _pem_block,
    "putty_block": _putty_block,
}
